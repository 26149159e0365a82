"""What a kind of fault is, and the list of those that there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.world import World


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
        inject: does the harm and, where it lasts for a while, waits for its end. Who has died by it is
            replaced afterwards.
        lacking: why it is not possible here; None where it is.
        freezes: a daemon may stand still with its changes made and not committed. No daemon can let go of
            rows then; what frees them is the server's idle timeout for its transactions.
    """

    name: str
    inject: Callable[[World], None]
    lacking: Callable[[World], str | None]
    freezes: bool


KINDS: dict[str, Kind] = {}


def fault(
    name: str, *, lacking: Callable[[World], str | None] = lambda _: None, freezes: bool = False
) -> Callable[[Callable[[World], None]], Callable[[World], None]]:
    """Make a function a kind of fault."""

    def register(inject: Callable[[World], None]) -> Callable[[World], None]:
        KINDS[name] = Kind(name, inject, lacking, freezes)
        return inject

    return register
