"""The witness: compares what stands in the tables before and after each step with what the ledger says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from model.ledger import booked_since
from model.rightful import Scene, judge
from model.tables import snapshot

if TYPE_CHECKING:
    import datetime as dt

    import psycopg
    from model.ledger import Booked
    from model.tables import Place, Setup

UNDONE = "changes.undone"


class Witness:
    """Follows all rows from step to step.

    Attributes:
        base: the rows as they were when it looked last.
        history: all changes of the ledger so far.
        alone: rows that an undo put back: the version in which it left them.
    """

    def __init__(self, connection: psycopg.Connection[Any], setup: Setup) -> None:
        self.setup = setup
        self.history: list[Booked] = []
        self.alone: dict[Place, str] = {}
        self._connection = connection
        self._last = 0
        self._holders: dict[int, str] = {}
        self.base = snapshot(connection)

    def rebase(self) -> None:
        """Take in what the application did; the ledger must not speak of it."""
        self._contiguous([])
        self.base = snapshot(self._connection)

    def account(self) -> list[Booked]:
        """Take in what a guard did, which must be what it booked, and right; the changes.

        Beginning with the rows of the last look, each change is applied in turn: it must find its row as it
        says, and in the end all rows must be those that stand in the tables.
        """
        booked = booked_since(self._connection, self._last)
        seen = snapshot(self._connection)
        self._contiguous(booked)
        scene = Scene(self.setup, seen.now, dict(self.base.rows), self.left_alone, self.history)
        for change in booked:
            row = scene.rows.get(change.place)
            assert row is not None, f"the ledger speaks of a row that is not there: {change}"
            found = {name: row[name] for name in change.before}
            assert found == change.before, f"the row was not as the ledger says, but {found}: {change}"
            assert change.before != change.after, f"nothing changed: {change}"
            assert (change.event == UNDONE) == (change.undoes is not None)
            if change.undoes is None:
                judge(scene, change)
            self._one_holder(change)
            scene.rows[change.place] = row | change.after
            scene.alone.discard(change.place)
            self.history.append(change)
        changed = {
            place for place, version in self.base.versions.items() if seen.versions.get(place) != version
        } | (seen.versions.keys() - self.base.versions.keys())
        assert changed == {change.place for change in booked}, "rows were written that the ledger omits"
        assert scene.rows == seen.rows, "the rows are not what the ledger made of them"
        self.base = seen
        for change in booked:
            if change.undoes is not None:
                self.alone[change.place] = seen.versions[change.place]
        return booked

    @property
    def left_alone(self) -> set[Place]:
        """Rows that were put back and have not changed since."""
        return {place for place, version in self.alone.items() if self.base.versions.get(place) == version}

    def age(self, span: dt.timedelta) -> None:
        """Take in that time has passed: every row was rewritten, and is the same."""
        alone = self.left_alone
        self.history[:] = [replace(one, at=one.at - span) for one in self.history]
        self.rebase()
        self.alone = {place: self.base.versions[place] for place in alone}

    def _one_holder(self, change: Booked) -> None:
        """An epoch is one daemon's, and none comes back once there is a later one."""
        if change.epoch is None:
            return
        actor = self._holders.setdefault(change.epoch, change.actor)
        assert actor == change.actor, f"epoch {change.epoch} was that of {actor}: {change}"
        assert change.epoch == max(self._holders), f"there is a later epoch than {change}"

    def _contiguous(self, booked: list[Booked]) -> None:
        """Ids follow each other without a gap; the counter stands at the last."""
        ids = [change.id for change in booked]
        assert ids == list(range(self._last + 1, self._last + 1 + len(ids))), ids
        self._last += len(ids)
        row = self._connection.execute("SELECT last_id FROM queuewarden.counter").fetchone()
        assert row == (self._last,), f"the counter stands at {row}, the last change is {self._last}"
