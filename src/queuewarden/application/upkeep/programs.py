"""The tasks that start other programs or need memory, by name: never run inside the daemon."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from queuewarden.application.upkeep import reports
from queuewarden.application.upkeep.backups import tasks as backups
from queuewarden.engine.upkeep.task import Done, Progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuewarden.adapters.db.session import Session
    from queuewarden.engine.upkeep.config import TaskName
    from queuewarden.queues.target import Target
    from queuewarden.settings.configuration import Configuration, EnvironmentConfig


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where a program works.

    Attributes:
        session: on the environment's database, for the ledger and short questions.
        targets: the queues, as they fit the catalog.
        tell: called now and then with how far it has come.
    """

    configuration: Configuration
    config: EnvironmentConfig
    session: Session
    targets: tuple[Target, ...]
    tell: Callable[[Progress], None]
    dry_run: bool = False


Program = Callable[[Workshop], Awaitable[Done]]

PROGRAMS: Mapping[TaskName, Program] = {
    "backup": backups.backup,
    "verify": backups.verify,
    "report": reports.report,
}
