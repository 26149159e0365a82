"""What all tests share: a real PostgreSQL, a database of their own, and a clean environment."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

import pytest
import servers
from hypothesis import HealthCheck, settings
from xdist.workermanage import NodeManager

from queuewarden.adapters import postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Examples take as long as they take: the machine has other work, too.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

# Processes that take longer to end are killed, and what they knew of coverage is lost.
NodeManager.EXIT_TIMEOUT = 120

_SCRUBBED = ("QUEUEWARDEN_", "PG")
_SYSTEMD = (
    "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM", "INVOCATION_ID",
    "CREDENTIALS_DIRECTORY", "RUNTIME_DIRECTORY", "STATE_DIRECTORY",
)  # fmt: skip
_EVERYWHERE = pytest.StashKey[tuple[servers.Source, ...]]()
_MARKED = pytest.StashKey[tuple[servers.Source, ...]]()
_STARTABLE = pytest.StashKey[servers.Source | None]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--pg",
        default="auto",
        help="PostgreSQL for the database tests: auto (the preferred server; tests marked `versions` on a "
        "second version, too), all, or a major version such as 18",
    )


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As a shell leaves it to what it starts in the background; our own programs would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    wanted = config.getoption("--pg")
    sources = servers.find_sources()
    everywhere, marked = servers.choose(sources, wanted)
    if not everywhere and wanted != "auto":
        there = ", ".join(map(str, sources)) or "none"
        raise pytest.UsageError(f"--pg {wanted}: no such PostgreSQL server here; there is: {there}")
    config.stash[_EVERYWHERE] = everywhere
    config.stash[_MARKED] = marked
    config.stash[_STARTABLE] = next(
        (source for source in (*marked, *servers.own_sources()) if source.binaries), None
    )


def pytest_report_header(config: pytest.Config) -> str:
    everywhere, marked = config.stash[_EVERYWHERE], config.stash[_MARKED]
    if not everywhere:
        return "database: none found; the tests that need one fail"
    line = "database: " + ", ".join(map(str, everywhere))
    further = [str(source) for source in marked if source not in everywhere]
    return line + (f"; tests marked `versions` also on {', '.join(further)}" if further else "")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server" not in metafunc.fixturenames:
        return
    is_marked = any(metafunc.definition.iter_markers("versions"))
    sources = metafunc.config.stash[_MARKED if is_marked else _EVERYWHERE] or (None,)
    ids = [f"pg{source.major}" if source else "none" for source in sources]
    metafunc.parametrize("server", sources, indirect=True, ids=ids)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine that the tests run on reaches a test."""
    for name in list(os.environ):
        if name.upper().startswith(_SCRUBBED) or name in _SYSTEMD:
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def running_servers() -> Iterator[Callable[[servers.Source], servers.TestServer]]:
    """Starts each server at most once a run (a run of one xdist worker), when a test first asks for it."""
    with contextlib.ExitStack() as stack:
        started: dict[servers.Source, servers.TestServer] = {}

        def start(source: servers.Source) -> servers.TestServer:
            if source not in started:
                started[source] = stack.enter_context(servers.running(source))
            return started[source]

        yield start


@pytest.fixture
def server(
    request: pytest.FixtureRequest, running_servers: Callable[[servers.Source], servers.TestServer]
) -> servers.TestServer:
    """The server that this test runs on; shared, so neither frozen nor restarted."""
    assert request.param is not None, f"no PostgreSQL server here: {postgres.REMEDY}"
    return running_servers(request.param)


@pytest.fixture
def databases(server: servers.TestServer) -> Iterator[Callable[..., servers.Database]]:
    """Makes fresh databases: ``databases()`` an empty one, ``databases(sql)`` one cloned from that schema."""
    with contextlib.ExitStack() as stack:
        yield lambda schema="": stack.enter_context(server.database(schema))


@pytest.fixture
def database(databases: Callable[..., servers.Database]) -> servers.Database:
    """A fresh, empty database."""
    return databases()


@pytest.fixture
def own_server(request: pytest.FixtureRequest) -> Iterator[servers.OwnServer]:
    """A server of this test alone, to be frozen, killed or restarted."""
    source = request.config.stash[_STARTABLE]
    if source is None:
        pytest.skip("no PostgreSQL binaries here that a test could start: install some, or the wheel")
    server = servers.start_own(source)
    try:
        yield server
    finally:
        server.close()
