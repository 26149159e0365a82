"""A preset held against one environment: where it is used, or would be, and what differs there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from queuewarden.application.diagnosis.libraries import mode_told
from queuewarden.application.discovery import recognise
from queuewarden.engine.resolve import resolve

if TYPE_CHECKING:
    from queuewarden.application.by_hand import Place
    from queuewarden.engine.resolve import Resolution
    from queuewarden.model import Mode
    from queuewarden.queues.mapping import Mapping
    from queuewarden.queues.presets import Preset


@dataclass(frozen=True, slots=True)
class PresetFit:
    """One queue of a preset.

    Attributes:
        queue: its name; None where its tables are there and no queue is.
        version: what the schema says of the library's version.
        mode: what is done with it, and why.
        differs: what the preset knows otherwise.
        faults: what else keeps it from being repaired, rights among it.
        notes: what was added to its tables and takes part in a repair.
    """

    queue: str | None
    table: str
    version: str | None
    mode: str
    differs: tuple[str, ...]
    faults: tuple[str, ...]
    notes: tuple[str, ...]


async def preset_fits(place: Place, preset: Preset) -> list[PresetFit]:
    """All queues of a preset in an environment; else its tables, where they are recognised.

    Raises:
        psycopg.Error: the catalog could not be read, or the connection was lost.
    """
    config = place.config
    mappings = {one.name: one for one in config.queues}
    mappings |= {one.queue: one.mapping for one in place.targets}
    found = [
        _fit(
            name, mapping, place.resolutions[name], config.queue_limits.get(name, config.limits).mode, preset
        )
        for name, mapping in mappings.items()
        if mapping.preset == preset.name and name in place.resolutions
    ]
    if found:
        return found
    return [
        _fit(
            None,
            one.mapping,
            await resolve(place.session, config.name, one.mapping, config.limits),
            "observe",
            preset,
        )
        for one in await recognise(place.session)
        if one.preset == preset.name
    ]


def _fit(
    queue: str | None, mapping: Mapping, resolution: Resolution, mode: Mode, preset: Preset
) -> PresetFit:
    target, fit = resolution.target, resolution.fit
    if queue is None:
        told = "no queue is mapped to it: nothing is guarded"
    elif preset.library is not None:
        told = mode_told(preset, preset.library, target.limits.mode if target is not None else mode)
    else:
        told = f"MODE={mode}"
    return PresetFit(
        queue,
        str(target.jobs if target is not None else mapping.jobs.table),
        fit.version,
        told,
        fit.differences,
        tuple(one for one in resolution.faults if one != fit.fault),
        resolution.notes,
    )
