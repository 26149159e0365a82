"""Symfony Messenger on Doctrine: its schema by its own setup, its own sender, its worker as a process."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import psycopg

from conformance.libraries.debian import Packaged

if TYPE_CHECKING:
    from conformance.library import State


class SymfonyMessenger(Packaged):
    """The library as Debian packages it. It deletes handled messages; attempts are in no column.

    A time is cut to whole seconds: the limit must be more than a second above what a job takes.
    """

    name = "symfony_messenger"
    preset: str | None = "symfony_messenger"
    settings: ClassVar[dict[str, str]] = {"STUCK_AFTER": "8s"}
    program = ("php", "php/symfony_messenger.php")
    packages = (
        "php-symfony-doctrine-messenger",
        "php-symfony-messenger",
        "php-symfony-event-dispatcher",
        "php-doctrine-dbal",
        "php-cli",
        "php-pgsql",
    )

    def state(self, dsn: str, job: str) -> State:
        with psycopg.connect(dsn) as connection:
            found = connection.execute(
                "SELECT queue_name, delivered_at FROM messenger_messages WHERE id = %s", [job]
            ).fetchone()
        if found is None:
            return "gone"
        queue, delivered = found
        if queue == "failed":
            return "failed"
        return "waiting" if delivered is None else "running"

    def exhaust(self, dsn: str, job: str) -> bool:  # noqa: ARG002 -- the protocol's
        return False
