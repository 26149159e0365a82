from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import pytest
from commands_kit import LANES, MAIL, MESS, UNREACHABLE

from queuewarden.application import by_hand
from queuewarden.engine.ledger import schema

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers
    from commands_kit import Called


@pytest.fixture
def swept(mail: Callable[..., Called], database: servers.Database) -> Callable[..., Called]:
    """A ledger with one sweep in it; calls commands there."""
    database.execute(schema.script())
    database.execute(MESS)
    assert mail("repair", "--no-grace", "--only", "dead_workers", "--only", "timestamps").code == 0
    return mail


def keys(called: Called) -> set[tuple[str, str]]:
    assert called.code == 0
    return {(one["event"], ",".join(one["key"])) for one in called.document}


RESET, OFFLINE, FILLED = ("jobs.reset", "1"), ("workers.offline", "dead"), ("timestamps.filled", "5")


@pytest.mark.versions
def test_a_table_for_people(swept: Callable) -> None:
    called = swept("history", "--env", "prod")
    assert called.code == 0
    lines = called.out.splitlines()
    assert len(lines) == 3
    (reset,) = [line for line in lines if "jobs.reset" in line]
    assert "prod/mail" in reset
    assert "status running→waiting" in reset
    assert "worker dead→NULL" in reset
    assert "(worker_dead)" in reset
    assert by_hand.caller() in reset
    assert lines[0].split()[0] == "3", "the newest first"


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ((), {RESET, OFFLINE, FILLED}),
        (("--queue", "mail"), {RESET, OFFLINE, FILLED}),
        (("--job", "1"), {RESET}),
        (("--job", "dead"), {OFFLINE}),
        (("--job", "77"), set()),
        (("--check", "timestamps"), {FILLED}),
        (("--check", "dead_workers", "--check", "timestamps"), {RESET, OFFLINE, FILLED}),
        (("--check", "positions"), set()),
        (("--since", "1h"), {RESET, OFFLINE, FILLED}),
        (("--sweep", "nosuch"), set()),
        (("--limit", "1"), {FILLED}),
    ],
)
def test_filters(swept: Callable, arguments: tuple[str, ...], found: set[tuple[str, str]]) -> None:
    assert keys(swept("history", "--json", *arguments)) == found


def test_by_sweep_and_by_time(swept: Callable, database: servers.Database) -> None:
    (sweep,) = {one["sweep"] for one in swept("history", "--json").document}
    assert len(keys(swept("history", "--json", "--sweep", sweep))) == 3
    database.execute("UPDATE queuewarden.changes SET at = at - interval '2 h'")
    assert keys(swept("history", "--json", "--since", "1h")) == set()


@pytest.mark.versions
def test_json_has_it_all(swept: Callable) -> None:
    (one,) = swept("history", "--json", "--job", "1").document
    assert one | {"at": "", "sweep": "", "before": {}, "after": {}} == {
        "id": 1,
        "at": "",
        "environment": "prod",
        "queue": "mail",
        "check": "dead_workers",
        "rule": one["rule"],
        "event": "jobs.reset",
        "reason": "worker_dead",
        "table": "public.jobs",
        "key": ["1"],
        "actor": by_hand.caller(),
        "epoch": None,
        "sweep": "",
        "undoes": None,
        "undone_by": None,
        "before": {},
        "after": {},
    }
    assert (one["before"]["status"], one["after"]["status"]) == ("running", "waiting")
    assert one["at"].endswith("+00:00") or one["at"].endswith("Z")


def rows(called: Called) -> list[dict[str, Any]]:
    assert called.code == 0
    return list(csv.DictReader(io.StringIO(called.out)))


def test_csv_has_the_same(swept: Callable) -> None:
    told = rows(swept("history", "--csv"))
    assert [one["id"] for one in told] == ["3", "2", "1"]
    assert told[2]["key"] == '["1"]'
    assert '"status": "running"' in told[2]["before"]
    assert told[2]["undone_by"] == ""
    document = swept("history", "--json").document
    assert list(told[0]) == [
        "id", "at", "environment", "queue", "check", "rule", "event", "reason", "table", "key", "actor",
        "epoch", "sweep", "undoes", "undone_by", "before", "after",
    ]  # fmt: skip
    assert set(told[0]) == set(document[0])


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_csv_is_a_formula_to_a_spreadsheet(
    swept: Callable, database: servers.Database, start: str
) -> None:
    formula = f'{start}HYPERLINK("http://x")'
    database.execute("UPDATE queuewarden.changes SET actor = %s, reason = %s", [formula, formula])
    for one in rows(swept("history", "--csv")):
        assert "HYPERLINK" in one["actor"]
        for cell in one.values():
            assert cell[:1] not in ("=", "+", "-", "@", "\t", "\r")


def test_line_ends_quotes_and_escapes_of_a_row(swept: Callable, database: servers.Database) -> None:
    database.execute(
        "INSERT INTO jobs (id, status, worker, started_at, label)"
        " VALUES (50, 'running', 'dead', now() - interval '1 h', E'a\"b,c\\nd\\x1b[31m')"
    )
    swept("reset", "--env", "prod", "--job", "50")
    (one,) = [one for one in rows(swept("history", "--csv")) if one["key"] == '["50"]']
    assert "\\n" in one["before"]
    assert "\x1b" not in swept("history").out
    assert "\x1b" not in swept("history", "--csv").out


def test_a_long_ledger_is_cut_to_a_limit(swept: Callable, database: servers.Database) -> None:
    database.execute(
        "INSERT INTO jobs (id, status, worker, started_at)"
        " SELECT 100 + n, 'running', 'dead', now() - interval '1 h' FROM generate_series(1, 150) AS n"
    )
    swept("reset", "--env", "prod", "--worker", "dead")
    assert len(swept("history", "--json").document) == 100
    assert len(swept("history", "--json", "--limit", "1000").document) == 153
    ids = [one["id"] for one in swept("history", "--json", "--limit", "7").document]
    assert ids == list(range(153, 146, -1))


def test_each_environment_sees_its_own_changes(
    swept: Callable, database: servers.Database, databases: Callable
) -> None:
    """Two configured names may lead to one database."""
    named = {"QUEUEWARDEN_ENV__LIVE__DSN": database.dsn}
    assert swept("history", "--env", "live", "--json", **named).document == []
    assert len(swept("history", "--env", "prod", "--json", **named).document) == 3


def test_a_job_moved_in_its_lane(swept: Callable) -> None:
    swept("repair", "--no-grace", "--only", "positions", **LANES)
    assert any(
        "position NULL→1" in line for line in swept("history", "--check", "positions").out.splitlines()
    )


def test_what_was_undone_is_shown_as_such(swept: Callable) -> None:
    swept("undo", "--env", "prod", "--id", "3")
    out = swept("history").out
    assert "undone by 4" in out
    assert "changes.undone" in out


def test_nothing_was_changed(mail: Callable, database: servers.Database) -> None:
    database.execute(schema.script())
    called = mail("history")
    assert (called.code, called.out) == (0, "nothing was changed\n")
    assert mail("history", "--json").document == []


def test_exit_codes(mail: Callable, call: Callable, database: servers.Database) -> None:
    called = mail("history")
    assert called.code == 69
    assert "no ledger there: run `queuewarden install --env prod`" in called.err
    assert mail("history", "--json", "--csv").code == 2
    assert mail("history", "--check", "nonsense").code == 2
    assert mail("history", "--limit", "0").code == 2
    assert mail("history", "--since", "soon").code == 2
    assert mail("history", "--queue", "mial").code == 2
    lost = call("history", **({"QUEUEWARDEN_ENV__PROD__DSN": UNREACHABLE} | MAIL))
    assert lost.code == 69
    assert "geheim" not in lost.out + lost.err
