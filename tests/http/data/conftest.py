"""The API over real databases."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import kit
import pytest
from commands_kit import LANES, MAIL
from fresh_logging import restored_logging
from served import Served

from queuewarden.application.http.data.desk import Desk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import servers

PREFIX = "QUEUEWARDEN_"


@pytest.fixture(autouse=True)
def fresh_logging() -> Iterator[None]:
    with restored_logging():
        yield


@pytest.fixture
def database(databases: Callable[..., servers.Database]) -> servers.Database:
    return databases(kit.SCHEMA)


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    """Serves these settings."""
    with contextlib.ExitStack() as stack:

        def _serve(settings: dict[str, str], **rest: Any) -> Served:
            served = Served(settings, **rest)
            stack.callback(served.close)
            return served

        yield _serve


@pytest.fixture
def desk_of() -> Callable[[Served], Desk]:
    """The desk of an API that was asked nothing yet."""

    def _desk_of(served: Served) -> Desk:
        assert served.server._built is not None
        desk = served.server._built.app.state.desk = Desk()
        return desk

    return _desk_of


@pytest.fixture
def mail(database: servers.Database, serve: Callable[..., Served]) -> Callable[..., Served]:
    """Serves environment prod, which has queue mail, with other settings beside."""

    def _mail(*, lanes: bool = False, **settings: str) -> Served:
        own = MAIL | (LANES if lanes else {})
        named = {name.removeprefix(PREFIX): value for name, value in own.items()}
        return serve({"ENV__PROD__DSN": database.dsn} | named | settings)

    return _mail
