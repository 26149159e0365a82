"""Delayed::Job: its schema by its own migration, its jobs by its own calls, its worker as a process."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import psycopg

from conformance.libraries.debian import Packaged

if TYPE_CHECKING:
    from conformance.library import State

MAX_ATTEMPTS = 25


class DelayedJob(Packaged):
    """The library as Debian packages it. It deletes finished jobs; its maximum of attempts stands in code."""

    name = "delayed_job"
    preset: str | None = "delayed_job"
    settings: ClassVar[dict[str, str]] = {"STUCK_AFTER": "8s"}
    program = ("ruby", "ruby/delayed_job.rb")
    packages = ("ruby-delayed-job-active-record", "ruby-delayed-job", "ruby-activerecord", "ruby-pg", "ruby")

    def state(self, dsn: str, job: str) -> State:
        with psycopg.connect(dsn) as connection:
            found = connection.execute(
                "SELECT locked_at, failed_at FROM delayed_jobs WHERE id = %s", [job]
            ).fetchone()
        if found is None:
            return "gone"
        locked, failed = found
        if failed is not None:
            return "failed"
        return "waiting" if locked is None else "running"

    def exhaust(self, dsn: str, job: str) -> bool:
        with psycopg.connect(dsn) as connection:
            connection.execute("UPDATE delayed_jobs SET attempts = %s WHERE id = %s", [MAX_ATTEMPTS - 1, job])
        return True
