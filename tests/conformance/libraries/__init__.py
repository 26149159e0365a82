"""The libraries that the suite knows, and where the driver of each stands."""

from __future__ import annotations

from importlib import import_module, util
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.library import Library

DRIVERS = {
    "procrastinate": "Procrastinate",
    "pgqueuer": "PgQueuer",
    "chancy": "Chancy",
    "pg_boss": "PgBoss",
    "graphile_worker": "GraphileWorker",
    "symfony_messenger": "SymfonyMessenger",
    "laravel": "Laravel",
    "delayed_job": "DelayedJob",
}
"""Module of this package to class."""


def library(name: str) -> Library:
    """The driver of one library."""
    module = import_module(f"{__name__}.{name}")
    return cast("Library", getattr(module, DRIVERS[name])())


def known() -> Iterator[str]:
    """The names of all libraries that have a driver."""
    return (name for name in DRIVERS if util.find_spec(f"{__name__}.{name}"))
