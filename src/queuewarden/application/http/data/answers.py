"""What came of the environments that a request asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from queuewarden.application.http.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from queuewarden.application.by_hand import Visit

T = TypeVar("T")

RETRY = {"retry-after": "2"}


@dataclass(slots=True)
class Answers(Generic[T]):
    """What came of the environments that were asked.

    Attributes:
        results: by environment.
        errors: why the others gave none.
    """

    results: dict[str, T] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def take(self, visits: Iterable[Visit[T]]) -> None:
        """Take in what came of some environments."""
        for visit in visits:
            if visit.error is not None:
                self.errors[visit.environment] = visit.error
            elif visit.result is not None:
                self.results[visit.environment] = visit.result

    def require_any(self) -> None:
        """Return where there is anything to tell.

        Raises:
            Problem: every environment failed; says why.
        """
        if self.errors and not self.results:
            told = "; ".join(f"environment {name}: {why}" for name, why in self.errors.items())
            raise Problem(503, told, RETRY)
