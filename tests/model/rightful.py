"""Whether a change was right, by the rows as they were just before it: the rules told a second time.

The rows are looked at a moment after the guard did: by then all ages are a little greater, and what was too
old for it is too old here, too.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model.ledger import BY_HAND
from model.tables import BUDGET, DEAD_AFTER, ORPHAN_AFTER, STUCK_AFTER, latest, moment, older

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.ledger import Booked
    from model.tables import Place, Row, Setup

DAY = dt.timedelta(days=1)
SKEW = dt.timedelta(seconds=5)
SLACK = dt.timedelta(minutes=1)


@dataclass(frozen=True)
class Scene:
    """The rows just before a change.

    Attributes:
        alone: rows that an undo put back and that have not changed since.
        history: the changes before it.
    """

    setup: Setup
    now: dt.datetime
    rows: dict[Place, Row]
    alone: set[Place]
    history: Sequence[Booked]

    def since(self, job: Row) -> str | None:
        """From when on a running job counts."""
        return latest(job["started_at"], job["heartbeat"] if self.setup.beats else None)

    def worker_of(self, job: Row) -> Row | None:
        """The worker that a job names, if it has a row."""
        return self.rows.get(("workers", job["worker"] or ""))

    def is_silent(self, worker: Row) -> bool:
        return older(latest(worker["heartbeat"]) or worker["started_at"], DEAD_AFTER, self.now)

    def rescues(self, place: Place, span: dt.timedelta) -> int:
        """How often a job was reset by checks lately; what was taken back does not count."""
        undone = {one.undoes for one in self.history}
        return sum(
            one.place == place and one.is_rescue and one.id not in undone and self.now - one.at < span
            for one in self.history
        )

    def has_no_attempt_left(self, job: Row) -> bool:
        most = int(job["max_attempts"] or 0)
        return 0 < most <= int(job["attempts"] or 0) + self.setup.at_finish

    def jobs_in_lane(self, lane: str | None) -> list[tuple[Place, Row]]:
        """The waiting jobs of a lane, in the order in which they shall be numbered."""
        found = [
            (place, row)
            for place, row in self.rows.items()
            if place[0] == "jobs" and row["status"] == "waiting" and row["lane"] == lane
        ]
        return sorted(
            found,
            key=lambda one: (-int(one[1]["priority"] or 0), moment(one[1]["enqueued_at"]), int(one[0][1])),
        )


def judge(scene: Scene, change: Booked) -> None:
    """A change by a check, or by hand."""
    row = scene.rows[change.place]
    if change.reason != BY_HAND:
        assert change.place not in scene.alone, f"put back by an undo, and not left alone: {change}"
    kept = ("attempts",) if change.event != "jobs.retried" else ()
    for name in kept:
        if name in change.before:
            _attempts(scene, change)
    {
        "jobs.reset": _released,
        "jobs.failed": _released,
        "jobs.retried": _retried,
        "workers.offline": _offline,
        "orphans.cancelled": _orphan,
        "timestamps.filled": _filled,
        "positions.repaired": _numbered,
    }[change.event](scene, change, row)


def _attempts(scene: Scene, change: Booked) -> None:
    ended = change.event in {"jobs.reset", "jobs.failed"} and scene.setup.at_finish
    had, has = (int(image["attempts"] or 0) for image in (change.before, change.after))
    assert has == had + ended, f"attempts are lost, or made up: {change}"


def _released(scene: Scene, change: Booked, job: Row) -> None:
    assert job["status"] == "running", f"nobody ran it: {change}"
    assert change.after["status"] == ("waiting" if change.event == "jobs.reset" else "failed")
    if change.event == "jobs.reset":
        assert change.after["worker"] is None
        assert change.after["started_at"] is None
    if change.reason == BY_HAND:
        return
    worker = scene.worker_of(job)
    if change.reason == "stuck":
        assert older(scene.since(job), STUCK_AFTER, scene.now), f"it has just begun: {change}"
        if scene.setup.spare:
            assert worker is None or scene.is_silent(worker), f"its worker is alive: {change}"
    else:
        assert change.reason == "worker_dead"
        absent = worker is None and older(job["started_at"], DEAD_AFTER, scene.now)
        silent = worker is not None and scene.is_silent(worker)
        assert absent or silent or _is_reborn(worker, job), f"its worker is alive: {change}"
    if change.event == "jobs.reset":
        assert scene.rescues(change.place, DAY) < BUDGET, f"rescued beyond its budget: {change}"
        assert not scene.has_no_attempt_left(job), f"no attempt was left: {change}"
    else:
        spent = scene.rescues(change.place, DAY + SLACK) >= BUDGET
        assert spent or scene.has_no_attempt_left(job), f"failed too early: {change}"


def _is_reborn(worker: Row | None, job: Row) -> bool:
    return worker is not None and moment(worker["started_at"]) > moment(job["started_at"]) + SKEW


def _retried(scene: Scene, change: Booked, job: Row) -> None:
    assert job["status"] == "failed"
    assert change.after["status"] == "waiting"


def _offline(scene: Scene, change: Booked, worker: Row) -> None:
    assert scene.is_silent(worker), f"it beats: {change}"
    assert change.after["status"] == "offline"
    held = [
        place
        for place, row in scene.rows.items()
        if place[0] == "jobs" and row["status"] == "running" and row["worker"] == worker["id"]
    ]
    assert not held, f"it still has running jobs, {held}: {change}"


def _orphan(scene: Scene, change: Booked, job: Row) -> None:
    assert (job["status"], change.after["status"]) == ("waiting", "cancelled")
    assert job["parent"] not in {None, "1"}, f"its parent is there: {change}"
    assert older(job["enqueued_at"], ORPHAN_AFTER, scene.now)


def _filled(scene: Scene, change: Booked, job: Row) -> None:
    (column,) = (name for name, text in change.after.items() if text != change.before[name])
    assert (job["status"], column) in {("running", "started_at"), ("done", "finished_at")}
    assert job[column] is None, f"a time was there: {change}"


def _numbered(scene: Scene, change: Booked, job: Row) -> None:
    assert job["status"] == "waiting", f"it does not wait: {change}"
    (column,) = (name for name, text in change.after.items() if text != change.before[name])
    assert column == "position"
    members = scene.jobs_in_lane(job["lane"])
    assert not scene.alone & {place for place, _ in members}, f"its lane was to be left alone: {change}"
    place = [member for member, _ in members].index(change.place) + 1
    assert change.after["position"] == str(place), f"it is number {place} of its lane: {change}"
