"""What was composed for a target, kept for as long as the target is the same.

Composing the SQL of a sweep takes longer than asking the server, and a target seldom changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from queuewarden.queues.target import Target

T = TypeVar("T")


class Composed:
    """Rules and queries of one queue, by name."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[Target, Any]] = {}

    def of(self, target: Target, name: Hashable, compose: Callable[[], T]) -> T:
        """What ``compose`` makes of the target: from memory where it was the same target before.

        Args:
            target: all that the result may depend on, the name excepted.
            name: what is composed.
            compose: called where it is new, or the target is another.
        """
        known = self._kept.get(name)
        if known is None or known[0] != target:
            known = self._kept[name] = (target, compose())
        result: T = known[1]
        return result
