"""From a queue's section to its mapping, with all that is half mapped or contradicts itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from queuewarden.queues.conditions import condition
from queuewarden.queues.mapping import Alive, Jobs, Mapping, Positions, Starts, States, TableName, Workers
from queuewarden.settings import types
from queuewarden.settings.names import nearest, variable
from queuewarden.settings.sections import Settings
from queuewarden.settings.sources import Given

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from collections.abc import Mapping as MappingOf

    from queuewarden.queues.presets import Preset
    from queuewarden.settings.queue_sections import QueueSection
    from queuewarden.settings.sources import VariablePath

_STATES = ("waiting", "running", "done", "failed", "cancelled")
_REQUIRED = (
    ("jobs", "table"),
    ("jobs", "id"),
    ("states", "waiting"),
    ("states", "running"),
)


def preset_values(name: str, preset: Preset) -> dict[VariablePath, Given]:
    """What a preset gives a queue, by path, to be overridden by the user's own."""
    paths = {("queue", name, *below): text for below, text in preset.mapping.items()}
    return {path: Given(variable(path), text, f"preset {preset.name}") for path, text in paths.items()}


def preset_mapping(preset: Preset, schema: str | None = None) -> Mapping:
    """The mapping of a preset whose tables were recognised, under the preset's own name.

    Args:
        preset: one with a fingerprint.
        schema: where they were recognised.
    """
    given = preset_values(preset.name, preset)
    section = Settings(given=given).queue[preset.name]
    mapping = build(preset.name, section.model_copy(update={"preset": preset.name}))
    if schema is None:
        return mapping

    def placed(table: TableName) -> TableName:
        return table if table.schema else replace(table, schema=schema)

    workers, starts, row_lock = mapping.workers, mapping.starts, mapping.alive.row_lock
    return replace(
        mapping,
        jobs=replace(mapping.jobs, table=placed(mapping.jobs.table)),
        workers=workers and replace(workers, table=placed(workers.table)),
        starts=starts and replace(starts, table=placed(starts.table)),
        alive=replace(mapping.alive, row_lock=row_lock and replace(row_lock, table=placed(row_lock.table))),
        references=tuple(replace(one, parent=placed(one.parent)) for one in mapping.references),
    )


def faults(
    name: str, section: QueueSection, given: MappingOf[VariablePath, Given], bad: Collection[VariablePath]
) -> list[str]:
    """What keeps a section from being a mapping, a line each.

    Args:
        name: the queue's name.
        section: what is right of its settings.
        given: all that is given, the preset's values included.
        bad: paths whose value was refused: given, and therefore not missing.
    """
    return [
        *_missing(name, given, {*given, *bad}, told=_conditional(section)),
        *_in_two_states(name, section, given),
        *_unknown_timestamps(name, section, given),
    ]


def _conditional(section: QueueSection) -> bool:
    """Whether the states are told by conditions on columns, rather than by values of one."""
    texts = [text for state in _STATES for text in getattr(section.states, state) or ()]
    try:
        return section.jobs.status is None and bool([condition(text) for text in texts])
    except ValueError:
        return False


def build(name: str, section: QueueSection) -> Mapping:
    """The mapping of a section without faults."""
    jobs, states = section.jobs, section.states
    worked = section.workers.table is not None
    every = {value for state in _STATES for value in getattr(states, state) or ()}
    values = {field: value for field, value in jobs if value is not None}
    return Mapping(
        name=name,
        jobs=Jobs(**values),
        states=States(**{state: value for state, value in states if value is not None}),
        workers=_workers(section) if worked else None,
        positions=_positions(section),
        references=section.references or (),
        # A preset's pairs for states that the user has mapped otherwise are of no use.
        timestamps=tuple(pair for pair in _timestamps(section) if pair[0] in every),
        alive=Alive(**dict(section.alive)),
        starts=Starts(**dict(section.starts)) if section.starts.table is not None else None,
        spare=section.spare or (),
        requeue=section.requeue or (),
        fail=section.fail or (),
        preset=section.preset,
    )


def _workers(section: QueueSection) -> Workers:
    values = {field: value for field, value in section.workers if value is not None}
    if section.workers.status is None:
        del values["offline_value"]
    return Workers(**values)


def _positions(section: QueueSection) -> Positions | None:
    positions = section.positions
    if positions.column is None and positions.max_running is None:
        return None
    values = {field: value for field, value in positions if value is not None}
    if positions.max_running is None:
        values["max_running"] = 1
    return Positions(**values)


def _timestamps(section: QueueSection) -> Iterable[tuple[str, str]]:
    if section.timestamps is not None:
        return section.timestamps
    if section.jobs.status is None:
        return ()
    jobs, states = section.jobs, section.states
    columns = ((states.running, jobs.started_at), (states.done, jobs.finished_at))
    return [(value, column) for values, column in columns if column for value in values or ()]


def _missing(
    name: str, given: MappingOf[VariablePath, Given], there: Collection[VariablePath], *, told: bool
) -> list[str]:
    """What a half-mapped queue lacks; ``told``: its states are conditions, which need no status column."""

    def absent(*needed: tuple[str, str]) -> str:
        paths = (("queue", name, *below) for below in needed)
        return ", ".join(variable(path) for path in paths if path not in there)

    def asked_for(part: str) -> Given | None:
        own = (one for path, one in given.items() if path[:3] == ("queue", name, part))
        return next((one for one in own if not one.origin.startswith("preset ")), None)

    queue = ("queue", name)
    lines = []
    required = _REQUIRED if told else (*_REQUIRED[:2], ("jobs", "status"), *_REQUIRED[2:])
    if needed := absent(*required):
        preset = "" if (*queue, "preset") in there else f" (or {variable((*queue, 'preset'))})"
        lines.append(f"{variable(queue)}: half mapped; also set {needed}{preset}")
    table = (*queue, "workers", "table")
    workers = given.get(table) or asked_for("workers")
    if workers and (
        needed := absent(*(("workers", field) for field in ("table", "id", "heartbeat")), ("jobs", "worker"))
    ):
        lines.append(f"{workers}: half mapped; also set {needed}")
    starts = given.get((*queue, "starts", "table")) or asked_for("starts")
    if starts and (needed := absent(*(("starts", field) for field in ("table", "job", "at")))):
        lines.append(f"{starts}: half mapped; also set {needed}")
    column, limit = (*queue, "positions", "column"), (*queue, "positions", "max_running")
    if column in there:
        if needed := absent(("positions", "order_by")):
            lines.append(f"{given.get(column, variable(column))}: half mapped; also set {needed}")
    elif limit not in there and (positions := asked_for("positions")):
        lines.append(f"{positions}: half mapped; also set {variable(column)} or {variable(limit)}")
    return lines


def _in_two_states(name: str, section: QueueSection, given: MappingOf[VariablePath, Given]) -> list[str]:
    lines, first = list[str](), dict[str, str]()
    if section.jobs.status is None:
        return lines
    for state in _STATES:
        for value in getattr(section.states, state) or ():
            before = first.setdefault(value, state)
            if before != state:
                one = given["queue", name, "states", state]
                lines.append(
                    f"{one}: {types.shown(value)} is also in {before.upper()}; a value has one state"
                )
    return lines


def _unknown_timestamps(name: str, section: QueueSection, given: MappingOf[VariablePath, Given]) -> list[str]:
    every = {value for state in _STATES for value in getattr(section.states, state) or ()}
    one = given.get(("queue", name, "timestamps"))
    if one is None or one.origin.startswith("preset "):
        return []
    return [
        f"{one}: no state has the value {types.shown(status)}; {nearest(status, every)}"
        for status, _ in section.timestamps or ()
        if status not in every
    ]
