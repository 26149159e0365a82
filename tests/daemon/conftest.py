"""Daemons, databases for them, and somebody who listens as systemd does."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import kit
import pytest
from daemons import Daemon, Systemd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import servers


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Starts daemons; their status file is ``status.json`` in the test's directory."""
    with contextlib.ExitStack() as stack:

        def start(settings: Mapping[str, str], *arguments: str, **rest: Any) -> Daemon:
            everything = {"STATUS_FILE": str(tmp_path / "status.json")} | settings
            daemon = Daemon(everything, *arguments, **rest)
            stack.callback(daemon.close)
            return daemon

        yield start


@pytest.fixture
def prod(databases: Callable[..., servers.Database]) -> servers.Database:
    """A database with a queue on the server that all tests share."""
    return databases(kit.SCHEMA)


@pytest.fixture
def staging(own_server: servers.OwnServer) -> Iterator[servers.Database]:
    """Another one, on a server that the test may freeze and end."""
    with own_server.database(kit.SCHEMA) as database:
        yield database


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    listening = Systemd(tmp_path / "notify")
    yield listening
    listening.close(listening.environ["NOTIFY_SOCKET"])
