"""`queuewarden report` on a real database."""

from __future__ import annotations

import asyncio
import math
import time
import tracemalloc
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import kit
import pytest
from commands_kit import MAIL, UNREACHABLE
from psycopg.conninfo import make_conninfo
from upkeep.reports import making

from queuewarden.application import by_hand
from queuewarden.application.upkeep.gathering import gather
from queuewarden.application.upkeep.sampling import Sampler
from queuewarden.engine.report import SweepReport
from queuewarden.engine.upkeep.samples import Sample, start
from queuewarden.settings import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from servers import Database

    from queuewarden.application.by_hand import Place

CHANGE = """
INSERT INTO queuewarden.changes (first_id, last_id, at, environment, queue, check_name, rule, event, reason,
       sweep, actor, part, table_schema, table_name, key_columns, columns, keys, before, after, undoes)
SELECT n * 10, n * 10 + {more}, now() - n * interval '2 h', '{environment}', '{queue}', 'dead_workers', 'r',
       'jobs.reset', '{reason}', 's', 'd', 'jobs', 'public', 'jobs', '{{id}}', '{{status}}', '{{1}}', '{{a}}',
       '{{b}}', {undoes} FROM generate_series({first}, {last}) AS n"""


def change(database: Database, **given: object) -> None:
    values = {
        "more": 0, "environment": "prod", "queue": "mail", "reason": "worker_dead", "undoes": "NULL",
        "first": 1, "last": 1,
    } | given  # fmt: skip
    database.execute(CHANGE.format(**values))


@pytest.mark.versions
def test_a_week_as_it_was(mail: Callable, ledger: Database) -> None:
    making.write(ledger, [*making.month(["mail", "gone"]), *making.days("mail")])
    change(ledger, last=4, more=2)
    change(ledger, first=5, last=5, reason="Bobby;DROP\x1b[31m")
    change(ledger, first=6, last=7, queue="old")
    change(ledger, first=8, last=9, environment="other")
    change(ledger, first=100, last=100)
    change(ledger, first=11, last=11, undoes="'{10}'")
    ledger.execute("""INSERT INTO jobs (status, error, finished_at)
        SELECT 'failed', 'no route to 10.0.0.' || n || ' password=hunter2', now() - n * interval '3 h'
          FROM generate_series(1, 100) AS n""")
    called = mail("report", "--json", "--period", "week")
    assert called.code == 0
    week = called.document["environments"]["prod"]
    assert week["error"] is None
    assert (week["totals"]["repaired"], week["totals"]["taken_back"]) == (12 + 1 + 2, 1)
    assert [(one["queue"], one["rows"], one["reason"]) for one in week["repairs"]] == [
        ("mail", 12, "worker_dead"),
        ("old", 2, "worker_dead"),
        ("mail", 1, "Bobby;DROP\\x1b[31m"),
    ]
    assert [one["queue"] for one in week["queues"]] == ["gone", "mail", "old"]
    assert {one["pattern"]: one["count"] for one in week["errors"]} == {"no route to <ip> password=***": 56}
    found = week["availability"]
    assert found["down_seconds"] == 1800
    assert found["unknown_seconds"] == pytest.approx(12 * 3600, abs=3900)
    assert 0.99 < found["share"] < 1
    (size,) = [one for one in week["growth"] if one["queue"] == "mail"]
    assert size["months"] > 0
    since, until = (datetime.fromisoformat(week[name]) for name in ("since", "until"))
    # A week, and what is over of the present hour, in steps of three.
    assert timedelta(days=7) <= until - since < timedelta(days=7, hours=1)
    assert len(week["steps"]) == math.ceil((until - since) / timedelta(hours=3))
    assert sum(one["repaired"] for one in week["steps"]) == 15
    assert {one["repaired"] for one in week["queues"][1]["steps"]} == {None}, "counted over all queues alone"
    assert any("not configured here any more" in lack for one in week["queues"] for lack in one["lacks"])


def test_what_was_repaired_is_unknown_without_a_ledger_that_can_be_read(
    mail: Callable, ledger: Database
) -> None:
    ledger.execute("UPDATE queuewarden.schema_version SET version = 99")
    day = mail("report", "--json", "--period", "day").document["environments"]["prod"]
    assert (day["totals"]["repaired"], day["totals"]["taken_back"]) == (None, None)
    assert {one["repaired"] for one in (*day["queues"], *day["steps"], *day["queues"][0]["steps"])} == {None}


@pytest.mark.parametrize("columns", ["80", "160"])
@pytest.mark.parametrize("period", ["day", "month"])
def test_on_a_terminal_nothing_is_wider(mail: Callable, ledger: Database, columns: str, period: str) -> None:
    making.write(ledger, [*making.month(["mail"]), *making.days("mail")])
    change(ledger, last=9, reason="x" * 200)
    called = mail("report", "--period", period, COLUMNS=columns)
    assert called.code == 0
    lines = called.out.splitlines()
    assert max(map(len, lines)) <= int(columns)
    assert {"Queues", "Repaired", "Growth"} <= set(lines)
    assert ("oldest" in called.out) == (columns == "160")


def test_five_minutes_stand_where_hours_are_not_gathered_yet(mail: Callable, ledger: Database) -> None:
    now = start(time.time(), "5m")
    hours = [making.hour(start(now, "1h") - number * 3600, "mail") for number in range(3, 1, -1)]
    own = [making.environment(one.at) for one in hours]
    fives = [
        Sample(queue, at, "5m", part)
        for at in range(start(now, "1h") - 3 * 3600, now, 300)
        for queue, part in (
            ("mail", making.hour(at, "mail", done=1, failed=0).readings),
            ("", making.environment(at, up=300).readings),
        )
    ]
    making.write(ledger, [*hours, *own, *fives])
    day = mail("report", "--json", "--period", "day").document["environments"]["prod"]
    since_hour = (now - start(now, "1h")) // 300
    assert day["totals"]["done"] == 2 * 100 + 12 + since_hour
    assert day["availability"]["up_seconds"] == 3 * 3600 + since_hour * 300


def test_an_empty_ledger_and_none(
    mail: Callable, ledger: Database, call: Callable, databases: Callable
) -> None:
    called = mail("report")
    assert called.code == 0
    assert "availability unknown" in called.out
    assert "no samples yet" in called.out
    bare = databases(kit.SCHEMA)
    called = call("report", QUEUEWARDEN_ENV__PROD__DSN=bare.dsn)
    assert called.code == 0
    assert "run `queuewarden install --env prod`" in called.out
    ledger.execute("DROP TABLE queuewarden.samples; UPDATE queuewarden.schema_version SET version = 3")
    called = mail("report", COLUMNS="200")
    assert called.code == 0
    assert "no samples are kept: run `queuewarden install --env prod`" in called.out


def test_a_database_that_is_down_does_not_hide_the_others(mail: Callable, tmp_path: object) -> None:
    called = mail("report", "--json", QUEUEWARDEN_ENV__GONE__DSN=UNREACHABLE)
    assert called.code == 69
    assert "environment gone" in called.err
    found = called.document["environments"]
    assert found["gone"]["error"]
    assert found["prod"]["error"] is None
    page = f"{tmp_path}/r.html"
    called = mail("report", "--html", page, QUEUEWARDEN_ENV__GONE__DSN=UNREACHABLE)
    assert called.code == 69
    with open(page) as file:  # noqa: PTH123
        assert "Nothing is known" in file.read()


def test_failures_that_cannot_be_read_are_noted(mail: Callable, ledger: Database) -> None:
    with ledger.connect() as other:
        other.execute("BEGIN; LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        called = mail("report")
        other.execute("ROLLBACK")
    assert called.code == 0
    assert "the failures of mail cannot be read: " in called.out


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--json", "--html", "x.html"), "exclude each other"),
        (("--period", "year"), "year"),
        (("--size-limit", "a lot"), "500MB or 20GB"),
        (("--env", "nosuch"), "unknown environment"),
    ],
)
def test_what_is_not_understood(mail: Callable, arguments: tuple[str, ...], why: str) -> None:
    called = mail("report", *arguments)
    assert called.code == 2
    assert why in called.err


def test_a_ledger_that_is_kept_for_less_than_the_period_says_so(mail: Callable) -> None:
    def told(period: str) -> bool:
        called = mail("report", "--json", "--period", period, QUEUEWARDEN_LEDGER_KEEP="7d")
        notes = called.document["environments"]["prod"]["notes"]
        return any("the ledger is kept for 7 d" in note for note in notes)

    assert [told(period) for period in ("day", "month")] == [False, True]


def test_a_limit_to_the_size(mail: Callable, ledger: Database) -> None:
    making.write(ledger, making.days("mail", slope=2**20))
    called = mail("report", "--json", "--size-limit", "1GB")
    (size,) = called.document["environments"]["prod"]["growth"]
    assert (size["limit"], size["limit_is"]) == (2**30, "the limit")
    assert size["months"] == pytest.approx((2**30 - size["now"]) / 2**20 / 30.4, rel=0.05)


def test_what_is_kept_of_a_queue_is_small(mail: Callable, ledger: Database) -> None:
    """A month of a hundred queues is measured by the benchmarks; here it shows that memory is bounded."""

    async def peak(count: int) -> float:
        async with kit.session(ledger.dsn) as session:
            tracemalloc.start()
            made = await gather(session, f"e{count}", [], "week")
            found = tracemalloc.get_traced_memory()[1] / 2**20
            tracemalloc.stop()
            assert len(made.queues) == count
            return found

    for count in (2, 4):
        making.write(ledger, making.month([f"q{n}" for n in range(count)], length=7), f"e{count}")
    few, many = (asyncio.run(peak(count)) for count in (2, 4))
    assert many < few + 0.3, f"{few:.1f} MB of two queues, {many:.1f} MB of four"


def test_samples_that_somebody_spoilt_are_passed_over(mail: Callable, ledger: Database) -> None:
    making.write(ledger, making.month(["mail"]))
    ledger.execute("""UPDATE queuewarden.samples SET readings = (ARRAY['[]', '"x"', '{"n": -1}',
        '{"n": 1, "sums": {"up": 1e999, "done": -5, "x": 1}}', '{"gauges": {"size": [0, 1, 2]}}']::jsonb[])
        [1 + (extract(epoch FROM at)::bigint / 3600) % 5]""")
    called = mail("report", "--json", "--period", "month")
    assert called.code == 0
    assert called.document["environments"]["prod"]["availability"]["up_seconds"] == 0


@pytest.fixture
def role(ledger: Database) -> Iterator[str]:
    """The name of a role that is dropped in the end."""
    name = f"{ledger.name}_reader"
    yield name
    ledger.execute(f'DROP OWNED BY "{name}"; DROP ROLE "{name}"')


def test_the_role_that_grants_prints_may_sample_and_report(
    mail: Callable, ledger: Database, role: str
) -> None:
    ledger.execute(mail("grants", "--env", "prod", "--role", role).out)
    ledger.execute(f"""ALTER ROLE "{role}" PASSWORD 'role'; INSERT INTO jobs (status, finished_at)
        SELECT 'done', now() - interval '3 m' FROM generate_series(1, 3)""")
    dsn = make_conninfo(ledger.dsn, user=role, password="role")

    async def work(place: Place) -> None:
        sampler = Sampler("prod")
        for ago in (600, 0):
            server = await place.server()
            moment = server.now - timedelta(seconds=ago)
            sampler.swept(SweepReport("prod", "s", replace(server, now=moment), (), (), (), 0, 0), 3600)
        await sampler.keep(place.session, place.schema, place.targets, ours=True)

    environ = {**MAIL, "QUEUEWARDEN_ENV__PROD__DSN": dsn}
    loaded = load.load(environ, None)
    (visited,) = by_hand.visit(loaded, loaded.environments, None, work)
    assert visited.error is None
    called = mail("report", "--json", "--period", "day", QUEUEWARDEN_ENV__PROD__DSN=dsn)
    assert called.code == 0, called.err
    (queue,) = called.document["environments"]["prod"]["queues"]
    assert queue["done"] in (0, 3), "the present five minutes are not over"
    assert queue["failed"] == 0
    sizes = "SELECT count(readings -> 'gauges' -> 'size') FROM queuewarden.samples WHERE span = '5m'"
    assert ledger.value(sizes) == 1
