"""A diagnosis of queues of known libraries: which version, whose rescue comes first, and what MODE means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from queuewarden.adapters.db.session import Query
from queuewarden.application.diagnosis.remark import Remark
from queuewarden.queues.presets import presets
from queuewarden.queues.sqltext import Name
from queuewarden.settings.names import variable
from queuewarden.settings.types import duration, spelled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from queuewarden.application.by_hand import Place
    from queuewarden.model import Mode
    from queuewarden.queues.presets import Library, Preset
    from queuewarden.queues.target import Target

_RESCUES = sql.SQL("WHERE task_name ~* 'stalled|retry' GROUP BY 1 ORDER BY 1 LIMIT 5")
_RECENT = 1000
"""So many of the newest jobs are asked for their task."""


async def library_remarks(place: Place, target: Target) -> list[Remark]:
    """What a person should know of a queue whose tables are a library's; nothing of any other.

    Raises:
        psycopg.Error: the connection was lost.
    """
    remarks = [*_mode(place, target)]
    preset = presets().get(target.mapping.preset or "")
    if preset is None or preset.library is None:
        return remarks
    library, queue = preset.library, target.queue
    fit = place.resolutions[queue].fit
    told = f", version {fit.version}" if fit.version is not None else ""
    text = f"{library.name}{told}: read against versions {library.versions}, {proof(library)}"
    remarks.append(Remark("preset", "ok" if not fit.fault else "info", text, queue))
    remarks += _rescues(target, library)
    if preset.name == "procrastinate":
        remarks += await _tasks(place, target)
    return remarks


def proof(library: Library) -> str:
    """How well a preset is known to do what it says."""
    if library.tested:
        return f"proven on {library.tested} with workers of its own"
    return "by its documented schema alone"


def reports_only(library: Library | None) -> bool:
    """Whether the jobs of a library are never repaired, whatever MODE says."""
    return library is not None and library.never.startswith("writes")


def mode_told(preset: Preset, library: Library, mode: Mode) -> str:
    """The mode of a library's queue: what it does, or why it does nothing."""
    if reports_only(library):
        return f"nothing is repaired, whatever MODE says; it {library.does}"
    if mode == "repair":
        effects = f"; side effects: {library.effects}" if library.effects else ""
        return f"MODE=repair: {library.does}{effects}"
    if preset.guard.get("mode") == "observe":
        return f"MODE=observe, the preset's own ({proof(library)}): nothing is repaired"
    return "MODE=observe: nothing is repaired"


def _mode(place: Place, target: Target) -> Iterator[Remark]:
    preset = presets().get(target.mapping.preset or "")
    library, mode = (preset.library if preset is not None else None), target.limits.mode
    if preset is not None and library is not None:
        text = mode_told(preset, library, mode)
    elif mode == "observe":
        text = "MODE=observe: nothing is repaired"
    else:
        return
    remedy = f"to have it repaired, set {_variable(target, 'mode')}=repair"
    if place.config.discover:
        remedy = "until it is named, as mapping says, it is not repaired"
    asked = mode == "observe" and not reports_only(library)
    yield Remark(
        "brakes", "info" if mode == "observe" else "ok", text, target.queue, (remedy,) if asked else ()
    )


def _rescues(target: Target, library: Library) -> Iterator[Remark]:
    """Two that rescue the same jobs: who comes first, and whether that is safe."""
    queue = target.queue
    if not library.rescue_after:
        if library.rescuer:
            yield Remark("preset", "ok", f"{library.name}'s own remedy: {library.rescuer}", queue)
        return
    theirs = duration(library.rescue_after)
    earlier = {name: span for name, span in _spans(target).items() if span < theirs}
    after = f"{library.name}'s own remedy acts after {library.rescue_after}"
    if not earlier:
        text = f"{after}, before ours, which finds what that left over: {library.rescuer}"
        yield Remark("preset", "ok", text, queue)
        return
    ours = ", ".join(f"{name.upper()}={spelled(span)}" for name, span in earlier.items())
    if _gives_signs(target):
        yield Remark("preset", "info", f"{ours} comes first: {after}", queue)
        return
    yield Remark(
        "preset",
        "advice",
        f"{ours} comes first ({after}), and nothing tells whether a job is still run: one that takes longer"
        " is put back while it runs",
        queue,
        tuple(
            f"set {_variable(target, name)} above your longest job, or above {library.rescue_after}"
            for name in earlier
        ),
    )


def _spans(target: Target) -> dict[str, timedelta]:
    """After how long our own checks act."""
    limits = target.limits
    spans = {"stuck_after": limits.stuck_after} if "stuck_jobs" in limits.checks else {}
    if "dead_workers" in limits.checks and target.mapping.workers is not None:
        spans["dead_after"] = limits.dead_after
    return spans


def _gives_signs(target: Target) -> bool:
    """Whether anything but its start tells of a running job."""
    mapping = target.mapping
    alive = mapping.alive
    signs = (mapping.workers, mapping.jobs.heartbeat, alive.advisory_lock, alive.row_lock, alive.backend)
    return any(one is not None for one in signs)


async def _tasks(place: Place, target: Target) -> list[Remark]:
    """Tasks of the application that look like a rescue of their own; what may not be read is not told."""
    schema = target.jobs.schema
    jobs = sql.SQL("SELECT task_name FROM {} ORDER BY id DESC LIMIT {}").format(
        Name(schema, target.jobs.name), sql.Literal(_RECENT)
    )
    queries = [
        sql.SQL("SELECT task_name::text FROM {} {}").format(source, _RESCUES)
        for source in (Name(schema, "procrastinate_periodic_defers"), sql.SQL("({}) AS j").format(jobs))
    ]
    found: dict[str, None] = {}
    for answer in await place.session.read([Query(query.as_bytes(None), {}) for query in queries]):
        if not isinstance(answer, psycopg.Error):
            found |= dict.fromkeys(name for (name,) in answer)
    if not found:
        return []
    text = (
        f"the application runs {', '.join(found)}, by its name a rescue of its own: both act, and whoever"
        " comes second finds the job no longer running"
    )
    return [Remark("preset", "info", text, target.queue, facts=(("tasks", list(found)),))]


def _variable(target: Target, name: str) -> str:
    return variable(("env", target.environment, "queue", target.queue, name))
