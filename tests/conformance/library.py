"""What the suite asks of a queue library: its own schema, its own worker, its own word on a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

State = Literal["waiting", "running", "done", "failed", "gone"]
"""How a library speaks of a job, in our words; ``gone`` where it deletes finished jobs."""

DONE = """
CREATE TABLE IF NOT EXISTS conformance_done (
    id text NOT NULL, pid int NOT NULL, at timestamptz DEFAULT now())"""
"""Where the jobs of the suite note that they ran to their end; `Library.create` makes it."""


@dataclass(frozen=True)
class Collision:
    """Two jobs of which only one may wait: a running one, whose release would violate a unique key.

    Attributes:
        stuck: the job that cannot be put back.
        others: running jobs under the same dead worker that can.
    """

    stuck: str
    others: tuple[str, ...]


class Library(Protocol):
    """One queue library, as it comes from its registry.

    Ids are keys as the daemon reports them: the mapped key columns as text, joined by a comma.
    """

    name: str
    preset: str | None
    """None: no preset knows it; see `Mapped`."""
    settings: dict[str, str]
    """Settings of the daemon (without prefix) that make its limits short enough for a test."""

    def missing(self) -> str | None:
        """Why it cannot run here; None where it can."""
        ...

    def version(self) -> str:
        """The version that runs here."""
        ...

    def create(self, dsn: str) -> None:
        """Make the library's schema by its own migration, and ``conformance_done``."""
        ...

    def enqueue(self, dsn: str, seconds: Sequence[float]) -> list[str]:
        """Enqueue, by the library's own call, a job for each of ``seconds``: it sleeps, then notes its id."""
        ...

    def worker(self, dsn: str) -> subprocess.Popen[bytes]:
        """Start the library's own worker as a process; its jobs sleep, and note their end."""
        ...

    def state(self, dsn: str, job: str) -> State:
        """What the library says of a job, read back by its own interface where it has one."""
        ...

    def exhaust(self, dsn: str, job: str) -> bool:
        """Have a waiting job run at its last attempt next; False where the library has no maximum."""
        ...

    def collide(self, dsn: str) -> Collision | None:
        """Arrange, under a dead worker, a job that cannot be put back; None where nothing can collide."""
        ...


@runtime_checkable
class Mapped(Protocol):
    """A library without a preset.

    Attributes:
        mapping: the variables of its queue, without prefix, as a person finds them by ``queuewarden adopt``.
    """

    mapping: dict[str, str]


@runtime_checkable
class Steered(Protocol):
    """A library that lets a person cancel and retry jobs; without it, that part is not proven."""

    def cancel(self, dsn: str, job: str) -> bool:
        """Cancel, by the library's own call, a waiting job; whether the library says that it did."""
        ...

    def retry(self, dsn: str, job: str) -> None:
        """Put a failed job back, by the library's own call."""
        ...
