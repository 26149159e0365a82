from __future__ import annotations

import datetime as dt
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from queuewarden.engine.reading.failures import Failure
from queuewarden.engine.reading.patterns import normalised, patterns

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers
    from served import Served


@pytest.mark.parametrize(
    ("some", "other"),
    [
        ("timeout after 30 s", "timeout after 31.5 s"),
        ("user 4f1c3c52-7e0b-4a3e-9d0e-2f4f6b1d7a11 gone", "user 0f1c3c52-7e0b-4a3e-9d0e-2f4f6b1d7a12 gone"),
        ("no mail to anna@example.com", "no mail to bob.b+x@mail.example.org"),
        ("connect to 10.0.0.1:5432 refused", "connect to 192.168.17.4:1 refused"),
        ("connect to fe80::1 refused", "connect to 2001:db8::17 refused"),
        ("open /var/lib/a.txt: denied", "open /tmp/b/c: denied"),
        ("key 'abc' is missing", "key 'x y z' is missing"),
        ('key "abc" is missing', 'key "x \\" y" is missing'),
        ("at 0xdeadbeef", "at 0x1"),
        ("digest a94a8fe5ccb19ba61c4c differs", "digest de9f2c7fd25e1b3afad3 differs"),
        ("GET https://a.example/x?y=1 failed", "GET http://b.example failed"),
        ("at 2031-01-02T03:04:05Z late", "at 2031-07-02 13:04:05.5+01:00 late"),
        ("job17 failed", "job4 failed"),
        ("first\nsecond 1", "first\nother"),
        ("Traceback (most recent call last):\n  File x\nKeyError: 7", "Traceback (…):\n  y\nKeyError: 8"),
    ],
)
def test_what_is_one_failures_own_is_no_part_of_its_pattern(some: str, other: str) -> None:
    assert normalised(some) == normalised(other)


@pytest.mark.parametrize(
    ("some", "other"),
    [("disk full", "disk broken"), ("can't read it", "can't write it"), ("", "no"), ("face", "dead")],
)
def test_what_differs_in_words_is_another_pattern(some: str, other: str) -> None:
    assert normalised(some) != normalised(other)


def found(*errors: str | None) -> list[tuple[str, int]]:
    failures = [("prod", "mail", Failure(str(n), None, error)) for n, error in enumerate(errors)]
    return [(one.pattern, one.count) for one in patterns(failures)]


def test_patterns_that_differ_in_a_word_or_two_are_one() -> None:
    errors = [f"could not deliver to queue {name} of the broker" for name in ("red", "green", "blue")]
    assert found(*errors, "disk full", None, "  ") == [
        ("could not deliver to queue <*> of the broker", 3),
        ("(no text)", 2),
        ("disk full", 1),
    ]


def test_first_last_and_example_are_those_of_the_times() -> None:
    failures = [
        ("prod", "mail", Failure("3", "2031-01-03T00:00:00Z", "boom 1")),
        ("prod", "mail", Failure("2", "2031-01-02T00:00:00Z", "boom 2")),
        ("prod", "mail", Failure("1", "2031-01-01T00:00:00Z", "boom 3")),
    ]
    (pattern,) = patterns(failures)
    assert (pattern.first, pattern.last) == ("2031-01-01T00:00:00Z", "2031-01-03T00:00:00Z")
    assert pattern.example_id == "3"


def test_hostile_texts_take_no_time() -> None:
    texts = ["'" * 1000, "a@" * 500, "/" * 1000, ":" * 1000, "0x" * 500, "\\" * 999, "1." * 500]
    failures = [("e", "q", Failure(str(n), None, texts[n % len(texts)] + str(n))) for n in range(2000)]
    failures += [("e", "q", Failure("x", None, f"word{'x' * (n % 40)} b c d e f{n}")) for n in range(2000)]
    begun = time.thread_time()
    patterns(failures)
    assert time.thread_time() - begun < 10  # a few tenths of a second, usually


def ended_in(database: servers.Database, status: str, hours: list[dt.datetime]) -> list[int]:
    """Jobs that ended with a status in each of these hours."""
    count = (
        "SELECT count(*) FROM jobs WHERE status = %s AND finished_at >= %s"
        " AND finished_at < %s + interval '1 hour'"
    )
    return [database.value(count, (status, hour, hour)) for hour in hours]


def test_the_timeline_has_each_hour_and_the_share_what_ended(
    mail: Callable[..., Served], database: servers.Database
) -> None:
    served = mail(MODE="observe")
    database.execute(
        "INSERT INTO jobs (id, status, finished_at, error)"
        " SELECT n + 100, 'failed', now() - n * interval '1 hour', 'no answer from 10.0.0.' || n"
        " FROM generate_series(0, 9) AS n"
    )
    database.execute(
        "INSERT INTO jobs (status, finished_at) VALUES ('done', now()), ('done', now()),"
        " ('done', 'infinity'), ('failed', NULL), ('cancelled', now())"
    )
    document = served.json("/api/errors", hours=5)
    timeline = document["timeline"]
    assert len(timeline) == 5
    times = [dt.datetime.fromisoformat(one["hour"]) for one in timeline]
    assert {b - a for a, b in pairwise(times)} == {dt.timedelta(hours=1)}
    # Another hour may have begun since the rows were written.
    failed, done = (ended_in(database, status, times) for status in ("failed", "done"))
    assert [one["failed"] for one in timeline] == failed
    assert [one["done"] for one in timeline] == done
    assert sum(failed) >= 4
    assert document["total"] == sum(failed)
    assert document["share"] == round(sum(failed) / (sum(failed) + 2), 4)
    (pattern,) = document["patterns"]
    assert (pattern["pattern"], pattern["count"]) == ("no answer from <ip>", sum(failed))
    assert pattern["example_id"] == "100"
    assert len(served.json("/api/errors")["timeline"]) == 24
    assert served.get("/api/errors", hours=169).status == 422


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Los_Angeles"])
def test_naive_times_are_read_by_their_zone(
    databases: Callable[..., servers.Database], serve: Callable[..., Served], zone: str
) -> None:
    database = databases("CREATE TABLE j (id int PRIMARY KEY, s text, f timestamp, e text);")
    database.execute(
        f"INSERT INTO j SELECT n, 'f', now() AT TIME ZONE '{zone}' - n * interval '3 hours', 'boom'"
        " FROM generate_series(0, 3) AS n"
    )
    served = serve({"ENV__PROD__DSN": database.dsn, "QUEUE__Q__JOBS__TIME_ZONE": zone} | FULL)
    document = served.json("/api/errors", hours=2)
    assert sum(one["failed"] for one in document["timeline"]) == document["total"] == 1
    (pattern,) = document["patterns"]
    assert (pattern["count"], pattern["example_id"]) == (1, "0")
    assert pattern["last"] >= document["timeline"][0]["hour"]


PLAIN = {
    f"QUEUE__Q__{name}": value
    for name, value in {
        "JOBS__TABLE": "j",
        "JOBS__ID": "id",
        "JOBS__STATUS": "s",
        "STATES__WAITING": "w",
        "STATES__RUNNING": "r",
        "STATES__FAILED": "f",
    }.items()
}
FULL = PLAIN | {"QUEUE__Q__JOBS__FINISHED_AT": "f", "QUEUE__Q__JOBS__ERROR": "e"}


def test_without_times_and_texts_it_says_what_is_missing(
    databases: Callable[..., servers.Database], serve: Callable[..., Served]
) -> None:
    database = databases("CREATE TABLE j (id int PRIMARY KEY, s text);")
    database.execute("INSERT INTO j VALUES (1, 'f'), (2, 'f'), (3, 'w')")
    document = serve({"ENV__PROD__DSN": database.dsn} | PLAIN).json("/api/errors")
    assert (document["timeline"], document["total"], document["share"]) == ([], None, None)
    assert [(one["pattern"], one["count"]) for one in document["patterns"]] == [("(no text)", 2)]
    assert [note.partition(":")[0] for note in document["notes"]] == [
        "prod/q maps no FINISHED_AT",
        "prod/q maps no ERROR",
    ]


def test_of_a_long_traceback_the_end_tells(mail: Callable[..., Served], database: servers.Database) -> None:
    served = mail(MODE="observe")
    trace = "Traceback (most recent call last):\n" + '  File "a.py", line 7\n' * 9000
    database.execute(
        "INSERT INTO jobs (status, finished_at, error) VALUES ('failed', now(), %s), ('failed', now(), %s),"
        " ('failed', now(), %s)",
        (f"{trace}KeyError: 7\n", f"{trace}\nKeyError: 8", f"disk full\n{trace}"),
    )
    document = served.json("/api/errors")
    assert [(one["pattern"], one["count"]) for one in document["patterns"]] == [
        ("KeyError: <n>", 2),
        ("disk full", 1),
    ]


def test_no_more_than_the_latest_2000_are_looked_at(
    mail: Callable[..., Served], database: servers.Database
) -> None:
    served = mail(MODE="observe")
    database.execute(
        "INSERT INTO jobs (status, finished_at, error) SELECT 'failed', now() - n * interval '1 second',"
        " CASE WHEN n < 2000 THEN 'new' ELSE 'old' END FROM generate_series(0, 2999) AS n"
    )
    document = served.json("/api/errors")
    assert document["total"] == 3000
    assert [(one["pattern"], one["count"]) for one in document["patterns"]] == [("new", 2000)]


def test_the_daemons_own_failures_are_told(mail: Callable[..., Served], database: servers.Database) -> None:
    served = mail()
    database.execute("ALTER TABLE jobs RENAME COLUMN started_at TO begun")
    database.execute("INSERT INTO jobs (status, worker) VALUES ('running', 'w')")
    served.sweep()
    checks = served.json("/api/errors")["checks"]
    assert ("mail", "42703") in {(one["queue"], one["sqlstate"]) for one in checks}
