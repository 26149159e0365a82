"""What a preset has to show with the real library: scenarios about killed workers, and their results."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conformance.library import Steered
from conformance.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from servers import TestServer

    from conformance.library import Library
    from conformance.stage import Warden

NAP = 4.0
"""Seconds that a job sleeps which is interrupted, and runs to its end in its second life: long enough to be
interrupted on a busy machine, shorter than any limit of a library whose jobs show no life."""

FOREVER = 600
"""Seconds that a job sleeps which is never to end."""


class NotHereError(Exception):
    """A scenario has nothing to show with this library; the message says why."""


@dataclass(frozen=True)
class Result:
    """How a scenario went; ``passed`` is None where it has nothing to show."""

    scenario: str
    passed: bool | None
    seconds: float
    detail: str


def rescue(stage: Stage) -> str:
    """A worker is killed amid its jobs: another one ends each of them, once; nothing else is touched."""
    warden = stage.guard()
    first = stage.worker()
    (short,) = stage.enqueue(0)
    stage.wait_for_end(short)
    stage.wait_for(short, "done", "gone")
    naps = stage.enqueue(NAP, NAP, NAP)
    stage.wait_for(naps[0], "running")
    time.sleep(0.2)  # a worker that runs several at once takes the others, too
    stage.kill(first)
    stuck = [job for job in naps if stage.state(job) == "running"]
    assert stuck, "the worker was killed too late"
    finished = stage.row(short)
    stage.worker()
    live = stage.enqueue(stage.limit + 1) if stage.shows_life else []
    jobs = [short, *naps, *live]
    warden.wait_until_named("jobs.reset", stuck)
    stage.wait_for_end(*jobs)
    for job in jobs:
        stage.wait_for(job, "done", "gone")
    warden.sweep(2)
    assert stage.ends() == Counter(jobs), f"ends: {stage.ends()}"
    assert not stage.processes(short) & stage.processes(*naps, *live), "ended by the worker that was killed"
    assert warden.named("jobs.reset") == Counter(stuck), f"put back: {warden.named('jobs.reset')}"
    assert not warden.events("jobs.failed"), "a job was given up"
    assert stage.booked() == Counter(stuck), f"in the ledger: {stage.booked()}"
    assert stage.row(short) in {finished, None}, "a finished job was touched"
    spared = "a job in good hands was spared" if live else "no sign of life that could spare one"
    return f"{len(stuck)} put back; {spared}"


def last_attempt(stage: Stage) -> str:
    """A worker is killed amid a job's last attempt: the job ends as failed, and does not run again."""
    warden = stage.guard(RESCUE_BUDGET="1")
    (job,) = stage.enqueue(FOREVER)
    how = _spend(stage, warden, job)
    stage.worker()
    (after,) = stage.enqueue(0)
    stage.wait_for_end(after)
    warden.sweep(2)
    assert stage.state(job) == "failed", f"the library says {stage.state(job)}"
    assert warden.named("jobs.failed") == Counter([job]), f"given up: {warden.named('jobs.failed')}"
    return how


def collision(stage: Stage) -> str:
    """A unique key forbids to put a job back: it is set aside, and told once; the others are put back."""
    warden = stage.guard()
    arranged = stage.library.collide(stage.database.dsn)
    if arranged is None:
        raise NotHereError("no unique key that a release could violate")
    warden.wait_until_named("jobs.reset", arranged.others)
    warden.wait_until_named("rows.set_aside", [arranged.stuck])
    warden.sweep(3)
    aside, reset = warden.named("rows.set_aside"), warden.named("jobs.reset")
    assert aside == Counter([arranged.stuck]), f"set aside: {aside}"
    assert reset == Counter(arranged.others), f"put back: {reset}"
    assert stage.state(arranged.stuck) == "running", f"the library says {stage.state(arranged.stuck)}"
    for job in arranged.others:
        assert stage.state(job) == "waiting", f"the library says {stage.state(job)} of {job}"
    return f"{len(arranged.others)} put back, one set aside"


def own_hand(stage: Stage) -> str:
    """The library's own calls work on rows that we wrote: it cancels one put back, and retries one failed."""
    library, dsn = stage.library, stage.database.dsn
    if not isinstance(library, Steered):
        raise NotHereError("its driver knows no such calls")
    warden = stage.guard(RESCUE_BUDGET="1")
    (dropped,) = stage.enqueue(NAP)
    stage.let_die(dropped)
    warden.wait_until_named("jobs.reset", [dropped])
    assert stage.state(dropped) == "waiting", f"the library says {stage.state(dropped)}"
    assert library.cancel(dsn, dropped), "its cancel had no effect"
    (kept,) = stage.enqueue(NAP)
    _spend(stage, warden, kept)
    library.retry(dsn, kept)
    assert stage.state(kept) == "waiting", f"after its retry the library says {stage.state(kept)}"
    stage.worker()
    stage.wait_for_end(kept)
    stage.wait_for(kept, "done", "gone")
    assert stage.ends() == Counter([kept]), f"ends: {stage.ends()}"
    return "cancelled one, retried one"


def observed(stage: Stage) -> str:
    """With ``MODE=observe`` a dead worker's job is found, and nothing is written."""
    warden = stage.guard(MODE="observe")
    (job,) = stage.enqueue(FOREVER)
    stage.let_die(job)
    before = stage.image()
    warden.wait_for("check.held", held="observe", seconds=30)
    warden.sweep(2)
    assert stage.image() == before, "something was written"
    assert stage.state(job) == "running", f"the library says {stage.state(job)}"
    return "found, nothing written"


SCENARIOS: Mapping[str, Callable[[Stage], str]] = {
    "rescue": rescue,
    "last attempt": last_attempt,
    "collision": collision,
    "own hand": own_hand,
    "observe": observed,
}


def prove(library: Library, server: TestServer, scenarios: Iterable[str] = SCENARIOS) -> list[Result]:
    """Play scenarios, each in a database of its own."""
    return [_played(library, server, name) for name in scenarios]


def _played(library: Library, server: TestServer, name: str) -> Result:
    begun = time.monotonic()
    passed: bool | None = True
    with server.database() as database, contextlib.ExitStack() as stack:
        wardens: list[Warden] = []
        try:
            stage = stack.enter_context(contextlib.closing(Stage(library, database)))
            wardens = stage.wardens
            detail = SCENARIOS[name](stage)
        except NotHereError as reason:
            passed, detail = None, str(reason)
        except Exception as error:  # noqa: BLE001 -- whatever goes wrong, the other scenarios are played
            said = "".join(f"\n    {line.rstrip()}" for one in wardens for line in one.said())
            passed, detail = False, f"{type(error).__name__}: {error}{said}"
    return Result(name, passed, time.monotonic() - begun, detail)


def _spend(stage: Stage, warden: Warden, job: str) -> str:
    """Have a job die until it is given up; by what limit."""
    if not stage.mapping.states.failed:
        raise NotHereError("its failed jobs stand elsewhere: one that is spent is only reported")
    limited = stage.library.exhaust(stage.database.dsn, job)
    if not limited:
        stage.let_die(job)
        warden.wait_until_named("jobs.reset", [job])
    stage.let_die(job)
    warden.wait_until_named("jobs.failed", [job])
    stage.wait_for(job, "failed")
    return "by the library's own maximum" if limited else "by the rescue budget: its schema has no maximum"
