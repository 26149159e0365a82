"""Which backups are kept."""

from __future__ import annotations

import fcntl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from queuewarden.application.upkeep.backups.backup import DUMP
from queuewarden.application.upkeep.backups.keeping import Keep
from queuewarden.application.upkeep.backups.manifest import (
    Manifest,
    ManifestError,
    Rows,
    Verification,
    parse,
)
from queuewarden.errors import BusyError

if TYPE_CHECKING:
    from queuewarden.application.upkeep.backups.backup import Backup
    from queuewarden.application.upkeep.backups.shelf import Shelf

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def manifest(at: datetime, *, ok: bool | None = None) -> Manifest:
    verification = None if ok is None else Verification(at, ok, 1.0)
    return Manifest(
        environment="prod",
        database="app",
        server_version="15.1",
        tool_version="15.1",
        taken_at=at,
        seconds=1.0,
        size=1,
        sha256="",
        database_size=1,
        locale={"encoding": "UTF8"},
        tables=(Rows("public", "jobs", 3),),
        verified_at=at if ok else None,
        verification=verification,
    )


def kept(backups: list[Manifest], keep: Keep | None = None) -> list[datetime]:
    gone = (keep or Keep(UTC)).superfluous(backups, lambda one: one)
    return sorted((one.taken_at for one in backups if one not in gone), reverse=True)


def test_seven_days_four_weeks_six_months() -> None:
    daily = [manifest(NOON - DAY * number) for number in range(400)]
    days = [NOON - DAY * number for number in range(7)]
    # 1 July 2026 is a Wednesday: weeks end on Sundays, months on their last day.
    weeks = [NOON] + [datetime(2026, 6, day, 12, tzinfo=UTC) for day in (28, 21, 14)]
    months = [NOON] + [
        datetime(2026, month, day, 12, tzinfo=UTC)
        for month, day in ((6, 30), (5, 31), (4, 30), (3, 31), (2, 28))
    ]
    assert kept(daily) == sorted({*days, *weeks, *months}, reverse=True)
    assert len(kept(daily)) == 13


def test_days_without_any_do_not_count() -> None:
    rare = [manifest(NOON - 10 * DAY * number) for number in range(7)]
    assert len(kept(rare)) == 7


def test_the_newest_of_a_day_by_the_clock_of_its_place() -> None:
    late, early = datetime(2026, 6, 30, 23, tzinfo=UTC), datetime(2026, 6, 30, 20, tzinfo=UTC)
    two = [manifest(late), manifest(early)]
    assert kept(two, Keep(UTC, 2, 0, 0)) == [late]
    assert kept(two, Keep(ZoneInfo("Europe/Berlin"), 2, 0, 0)) == [late, early]


def test_what_is_broken_does_not_push_out_what_is_good() -> None:
    good, bad = manifest(NOON, ok=True), manifest(NOON + timedelta(hours=1), ok=False)
    # The newest stays in any case: nobody looked at it twice.
    assert kept([good, bad], Keep(UTC, 1, 0, 0)) == [bad.taken_at, good.taken_at]
    newest = manifest(NOON + timedelta(hours=2))
    assert kept([good, bad, newest], Keep(UTC, 1, 0, 0)) == [newest.taken_at, good.taken_at]


def test_the_newest_that_was_proven_stays_however_old() -> None:
    old = manifest(NOON - 900 * DAY, ok=True)
    new = [manifest(NOON - DAY * number) for number in range(30)]
    assert old.taken_at in kept([*new, old], Keep(UTC, 1, 0, 0))
    newer = replace(new[20], verified_at=NOON)
    assert kept([*new, newer, old], Keep(UTC, 1, 0, 0)) == [NOON, newer.taken_at]


def test_a_manifest_comes_back_as_it_was() -> None:
    for one in (manifest(NOON), manifest(NOON, ok=True), manifest(NOON, ok=False)):
        assert parse(one.text()) == one
    for text in ("", "[]", "null", "{}", '{"format": 1, "verification": 7}', "\x00", b"\xff"):
        with pytest.raises(ManifestError):
            parse(text)


def put(shelf: Shelf, at: datetime, *, ok: bool | None = None) -> Backup:
    with shelf.draft() as draft:
        draft.write(b"dump")
        one = manifest(at, ok=ok)
        draft.settle(one)
    return shelf.publish(one)


def test_what_somebody_reads_is_not_tidied_away(shelf: Shelf) -> None:
    with shelf.locked():
        old, older, newest = (put(shelf, NOON - DAY * number) for number in (1, 2, 0))
        again = put(shelf, NOON - DAY)
        assert (old.name, again.name) == ("20260630T120000Z", "20260630T120000Z-2")
        (again.folder / DUMP).unlink()
        with (old.folder / DUMP).open("rb") as reading:
            fcntl.flock(reading, fcntl.LOCK_SH)
            gone = shelf.tidy(Keep(UTC, 1, 0, 0))
            assert {one.name for one in gone} == {older.name, again.name}
            assert {one.name for one in shelf.look()[0]} == {newest.name, old.name}
        assert [one.name for one in shelf.tidy(Keep(UTC, 1, 0, 0))] == [old.name]
        with pytest.raises(BusyError), shelf.locked():
            pass


def test_the_one_just_taken_stays_though_the_clock_went_back(shelf: Shelf) -> None:
    with shelf.locked():
        put(shelf, NOON)
        new = put(shelf, NOON - timedelta(hours=1))
        assert shelf.tidy(Keep(UTC, 1, 0, 0), new) == []
        assert len(shelf.look()[0]) == 2
