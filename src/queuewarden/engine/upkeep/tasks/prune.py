"""``prune``: jobs that ended long ago are deleted.

Does: deletes jobs in the states that were named, older than was said, in the order of their keys, a few at a
time, each batch in a short transaction that skips what anybody has locked. A dry run counts them.

Never: a job that any row refers to, though a foreign key would delete that row with it; a job of a library
that deletes its own; a job of a queue that is only observed; a job whose end nobody noted.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg

from queuewarden.engine.upkeep.pruning import (
    Pruning,
    deletion,
    ended_at,
    keys_of,
    listing,
    rights_of,
    ripe,
    sharing,
)
from queuewarden.engine.upkeep.referrers import referrers
from queuewarden.engine.upkeep.steps import Steps, Verb, words
from queuewarden.engine.upkeep.task import Progress
from queuewarden.engine.violations import TRANSIENT, violates
from queuewarden.errors import QueuewardenError, UnavailableError
from queuewarden.queues.presets import library_of

if TYPE_CHECKING:
    from queuewarden.adapters.db.session import Session
    from queuewarden.engine.upkeep.config import Prunable, TaskName
    from queuewarden.engine.upkeep.task import Done, Place
    from queuewarden.model import Key
    from queuewarden.queues.target import Target

NAME: TaskName = "prune"

BATCH = 500
"""Jobs that one transaction deletes at most."""

LISTED = 50 * BATCH
"""Jobs that one look lists at most."""

SHORT = timedelta(seconds=0.4)
"""Of each of a batch's two statements: so long a writer may have to wait for one of its jobs."""

BREATH = 0.01
"""Seconds between batches."""

MOST_ASIDE = 50
"""Jobs of a queue whose deletion fails before it is given up."""

WAITS = 10
"""Lock timeouts of a queue before it is given up: somebody has its whole table."""

_VERB = Verb("deleted", "delete")
_TIMEOUT = "57014"
_OTHER_KEYS = "foreign keys on its jobs have come or gone meanwhile: the next run goes by them"


async def run(place: Place) -> Done:
    """See above.

    Raises:
        psycopg.Error, UnavailableError: nothing could be done at all.
    """
    steps = Steps(place)
    for target in place.targets:
        begun = time.monotonic()
        try:
            found = await _pruning(place, target)
            if isinstance(found, str):
                steps.skip(_subject(target), _VERB, found)
                continue
            await _Pruner(steps, found).prune()
        except (QueuewardenError, psycopg.Error) as error:
            steps.failed(_subject(target), _VERB, error, begun)
            if not place.connection.usable:
                break
    return steps.done


def _why_not(place: Place, target: Target) -> str | None:
    """Why nothing may be deleted of a queue, as it and its neighbours were set up."""
    library = library_of(target.mapping.preset)
    if library is not None and not library.prunable:
        return f"{library.name} has a way of its own to delete jobs: set that up"
    if target.hold is not None or target.limits.mode != "repair":
        return f"only observed: {target.hold or 'MODE is observe'}"
    for one in sharing(target, place.targets):
        if one.hold is not None or one.limits.mode != "repair":
            return f"queue {one.queue} has its jobs in the same table, and is only observed"
    for unread in place.unread:
        if target.jobs.name in {unread.jobs.table.name, *(one.parent.name for one in unread.references)}:
            return f"queue {unread.name} cannot be read, whose jobs are in the same table or refer to it"
    return None


async def _pruning(place: Place, target: Target) -> Pruning | str:
    """What may be deleted of a queue, or why nothing may."""
    if (why := _why_not(place, target)) is not None:
        return why
    states: list[Prunable] = [
        state for state in place.upkeep.prune_states if getattr(target.mapping.states, state)
    ]
    if not states:
        return f"no job has the state {' or '.join(place.upkeep.prune_states)}, as the queue is mapped"
    if unknown := [state for state in states if ended_at(target, state) is None]:
        return f"nothing tells when a job was {' or '.join(unknown)}: map FINISHED_AT"
    rights = await place.connection.session.rows(rights_of(target))
    if not rights or rights[0][2]:
        return "its jobs are a view, or a rule stands before each DELETE"
    ((may, path, _),) = rights
    if not may:
        return f"rights missing: GRANT DELETE, SELECT (xmax) ON {target.jobs}"
    ((keys,),) = await place.connection.session.rows(keys_of(target))
    found = await referrers(place.connection.session, target, place.targets)
    if hidden := [str(one) for one in found if not one.readable]:
        return f"rights missing: GRANT SELECT ON what refers to its jobs: {', '.join(hidden)}"
    return Pruning(
        replace(target, jobs=replace(target.jobs, role_path=path)),
        ripe(target, place.upkeep, sharing(target, place.targets)),
        tuple(found),
        tuple(keys),
    )


@dataclass(slots=True)
class _Pruner:
    """Prunes one queue.

    Attributes:
        size: jobs of a batch; less where batches took too long.
        deleted, referred, busy, kept: how many were; were left, since a row refers to them; were locked, or
            have changed; were kept by a trigger.
        aside: how many could not be deleted each by itself, and why the first of them could not.
    """

    steps: Steps
    pruning: Pruning
    size: int = BATCH
    deleted: int = 0
    referred: int = 0
    busy: int = 0
    kept: int = 0
    aside: int = 0
    waits: int = 0
    why: str = ""
    session: Session = field(init=False)

    def __post_init__(self) -> None:
        self.session = self.steps.place.connection.within(SHORT)

    async def prune(self) -> None:
        """All of it; what was done before a failure, or before somebody ends it, is told, too."""
        begun = time.monotonic()
        try:
            await self._walk()
        except asyncio.CancelledError:
            self._tell(begun, "and perhaps a batch that was under way")
            raise
        except (QueuewardenError, psycopg.Error) as error:
            if not self.deleted:
                raise
            subject = _subject(self.pruning.target)
            self.steps.note(subject, "not all deleted", "failed", words(error))
        self._tell(begun)

    def _tell(self, begun: float, doubt: str = "") -> None:
        subject, dry = _subject(self.pruning.target), self.steps.place.dry_run
        if dry:
            self.steps.note(subject, f"would {_VERB.plain}", "skipped", amount=self.deleted, since=begun)
        else:
            self.steps.note(subject, _VERB.past, "done", doubt, amount=self.deleted, since=begun)
        for count, left, why in (
            (self.referred, "left", "a row refers to them"),
            (self.busy, "left", "locked, or changed meanwhile"),
            (self.kept, "left", "a trigger keeps them"),
        ):
            if count:
                self.steps.note(subject, left, "skipped", why, amount=count)
        if self.aside:
            self.steps.note(subject, "set aside", "failed", self.why, amount=self.aside)

    async def _walk(self) -> None:
        place = self.steps.place
        after: Key = ()
        while self.aside < MOST_ASIDE:
            rows = await place.connection.session.rows(listing(self.pruning, after, LISTED))
            keys = [tuple(key) for key, kept in rows if not kept]
            self.referred += len(rows) - len(keys)
            if place.dry_run:
                self.deleted += len(keys)
            else:
                await self._delete(keys)
            if len(rows) < LISTED:
                return
            after = tuple(rows[-1][0])

    async def _delete(self, keys: list[Key]) -> None:
        """In batches; one that fails is halved until the job at fault stands alone."""
        parts = deque(_parts(keys, self.size))
        while parts and self.aside < MOST_ASIDE:
            part = parts.popleft()
            if len(part) > self.size:
                parts.extendleft(reversed(_parts(part, self.size)))
                continue
            try:
                locked, ((free, gone, known),) = await self.session.together(deletion(self.pruning, part))
            except psycopg.Error as error:
                self.waits += error.sqlstate in TRANSIENT
                if not self.session.usable or not _divides(error) or self.waits > WAITS:
                    raise
                if error.sqlstate == _TIMEOUT:
                    self.size = max(1, len(part) // 2)
                if len(part) > 1:
                    parts.extendleft(reversed(_parts(part, (len(part) + 1) // 2)))
                elif error.sqlstate in TRANSIENT:
                    self.busy += 1
                else:
                    self.aside += 1
                    self.why = self.why or words(error)
            else:
                if not known:
                    raise UnavailableError(_OTHER_KEYS)
                self.deleted += gone
                self.kept += free - gone
                self.referred += len(locked) - free
                self.busy += len(part) - len(locked)
                subject = _subject(self.pruning.target)
                self.steps.place.tell(Progress(subject, "deleting", self.deleted, 0))
            await asyncio.sleep(BREATH)


def _divides(error: psycopg.Error) -> bool:
    """Whether fewer jobs at once may go, or tell which of them it is."""
    return violates(error) or error.sqlstate == _TIMEOUT or error.sqlstate in TRANSIENT


def _parts(keys: list[Key], size: int) -> list[list[Key]]:
    return [keys[at : at + size] for at in range(0, len(keys), size)]


def _subject(target: Target) -> str:
    return f"{target.queue}: {target.jobs}"
