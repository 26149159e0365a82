"""A diagnosis of the queues of an environment: mapping, rights, indexes, mode and jobs of each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from queuewarden.application.diagnosis.remark import Remark
from queuewarden.application.status import brief
from queuewarden.engine.advice import recommended_indexes
from queuewarden.engine.inspection import inspected, statements
from queuewarden.queues.presets import library_of
from queuewarden.settings.names import variable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuewarden.application.by_hand import Place
    from queuewarden.engine.report import QueueReport
    from queuewarden.engine.resolve import Resolution
    from queuewarden.model import Counts
    from queuewarden.queues.target import Target

_STATEMENT = re.compile(r"(?:, or)?: ((?:GRANT|ALTER ROLE) .*)\Z")
"""The statement that a fault about rights ends in."""


def mapping_remarks(environment: str, queue: str, resolution: Resolution) -> Iterator[Remark]:
    """Whether a queue fits the database, and what the role may not do there."""
    if not resolution.faults:
        yield Remark("mapping", "ok", "fits the database", queue)
        yield Remark("rights", "ok", "all that the checks need", queue)
    left = "the queue is only observed" if resolution.target else "nothing of this queue is read"
    for fault in resolution.faults:
        if found := _STATEMENT.search(fault):
            yield Remark("rights", "wrong", fault[: found.start()], queue, (f"{found[1]};",))
        elif fault == resolution.fit.fault:
            remedy = (
                "another version of queuewarden may know this one; until it fits, the queue is only observed"
            )
            yield Remark("mapping", "wrong", fault.removesuffix(": only observed"), queue, (remedy,))
        else:
            lacking: tuple[str, ...] = ()
            if fault.startswith("table ") and resolution.target is None:
                name = variable(("env", environment, "queues"))
                lacking = (f"if {environment} has no such queue: set {name} to those that it has",)
            yield Remark("mapping", "wrong", fault, queue, (f"until it fits, {left}", *lacking))
    for note in resolution.notes:
        yield Remark("mapping", "info", note, queue)


async def index_remarks(place: Place, target: Target) -> list[Remark]:
    """Which of the recommended indexes are missing.

    Raises:
        psycopg.Error: the connection was lost.
    """
    queue = target.queue
    if not target.jobs.leaves:
        return []
    if place.resolutions[queue].faults:
        return [Remark("indexes", "info", "looked at once mapping and rights fit", queue)]
    seen = await inspected(place.session, target)
    library = library_of(target.mapping.preset)
    # The library's migrations neither bring nor drop it.
    theirs = f": it would be an index of yours on the table of {library.name}" if library is not None else ""
    found = []
    for index in seen.missing:
        lines = await statements(place.session, target, index)
        text = f"none serves {index.purpose}{theirs}"
        found.append(Remark("indexes", "advice", text, queue, lines, (("missing", True),)))
    found += [
        Remark("indexes", "info", f"could not be looked at: the one for {index.purpose}", queue)
        for index in seen.unseen
    ]
    if library is not None and seen.serving:
        serving = ", ".join(seen.serving)
        found.append(Remark("indexes", "ok", f"already there: {serving}", queue))
    if found:
        return found
    count = len(recommended_indexes(target))
    text = f"all {count} recommended ones are there" if count else "none is needed"
    return [Remark("indexes", "ok", text, queue)]


def count_remarks(report: QueueReport, *, fits: bool) -> Iterator[Remark]:
    """How many jobs and workers there are."""
    counts = report.counts
    if counts is None:
        why = "see indexes; a count that takes longer than STATEMENT_TIMEOUT is cut off"
        remedy = why if fits else "what mapping and rights say comes first"
        yield Remark("jobs", "wrong", "could not be counted", report.queue, (remedy,))
        return
    workers = _known(counts, live_workers="live", silent_workers="silent", registered_workers="registered")
    if workers:
        yield Remark(
            "workers", "ok" if counts.live_workers else "info", _listed(workers), report.queue, (), workers
        )
    jobs = _known(
        counts,
        waiting="waiting",
        running="running",
        failed="failed",
        failed_last_hour="failed in the last hour",
    )
    text = _listed(jobs)
    if counts.oldest_waiting is not None:
        text += f"; the oldest has waited {brief(counts.oldest_waiting)}"
    yield Remark("jobs", "ok", text, report.queue, (), jobs)


def _known(counts: Counts, **words: str) -> tuple[tuple[str, int], ...]:
    values = ((word, getattr(counts, name)) for name, word in words.items())
    return tuple((word, value) for word, value in values if value is not None)


def _listed(values: tuple[tuple[str, int], ...]) -> str:
    return ", ".join(f"{value} {word}" for word, value in values)
