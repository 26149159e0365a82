"""Probes: what one cheap look tells of each rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg

from queuewarden.adapters.db.reasons import primary_message
from queuewarden.engine.lane_runner import found_lanes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from queuewarden.adapters.db.session import Row
    from queuewarden.engine.lanes import Lane
    from queuewarden.model import Rule


@dataclass(frozen=True, slots=True)
class Probe:
    """How many rows one rule finds (``lanes`` for rules about lanes), or why that is unknown."""

    count: int = 0
    lanes: Mapping[Lane, tuple[int, int]] = field(default_factory=dict)
    error: str | None = None
    failure: str | None = None


def probes_of(rules: Sequence[Rule], result: list[Row] | psycopg.Error) -> dict[str, Probe]:
    """A probe for each rule, by its code, from what their common query returned."""
    if isinstance(result, psycopg.Error):
        failed = Probe(error=result.sqlstate or "unknown", failure=primary_message(result))
        return {rule.code: failed for rule in rules}
    if rules[0].rank is not None:
        found = found_lanes(result)
        return {rules[0].code: Probe(sum(faulty for faulty, _ in found.values()), found)}
    return {rule.code: Probe(count) for rule, count in zip(rules, result[0], strict=True)}
