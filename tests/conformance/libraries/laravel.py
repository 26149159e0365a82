"""Laravel's database queue: schema by its own migration, jobs by its own calls, its worker as a process."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import psycopg

from conformance.libraries.debian import Packaged

if TYPE_CHECKING:
    from conformance.library import State


class Laravel(Packaged):
    """The library as Debian packages it. It deletes finished jobs; its maximum of attempts is in no column.

    A time is cut to whole seconds: the limit must be more than a second above what a job takes.
    """

    name = "laravel"
    preset: str | None = "laravel"
    settings: ClassVar[dict[str, str]] = {"STUCK_AFTER": "8s"}
    program = ("php", "php/laravel.php")
    packages = (
        "php-illuminate-queue",
        "php-illuminate-database",
        "php-illuminate-events",
        "php-illuminate-bus",
        "php-cli",
        "php-pgsql",
    )

    def state(self, dsn: str, job: str) -> State:
        with psycopg.connect(dsn) as connection:
            found = connection.execute("SELECT reserved_at FROM jobs WHERE id = %s", [job]).fetchone()
        if found is None:
            return "gone"
        return "waiting" if found[0] is None else "running"

    def exhaust(self, dsn: str, job: str) -> bool:  # noqa: ARG002 -- the protocol's
        return False
