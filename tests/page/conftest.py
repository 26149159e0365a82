"""A daemon with its page, and a browser that looks at it."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

import kit
import pytest
import servers
from daemons import QUEUE, Daemon
from page.viewer import READ, WRITE, Viewer
from ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

QUEUES = {
    "QUEUE__MAIL__JOBS__LABEL": "label",
    "QUEUE__MAIL__JOBS__ENQUEUED_AT": "enqueued_at",
    "QUEUE__MAIL__JOBS__FINISHED_AT": "finished_at",
    "QUEUE__MAIL__STATES__DONE": "done",
    "QUEUE__MAIL__POSITIONS__COLUMN": "position",
    "QUEUE__MAIL__POSITIONS__LANE": "lane",
    "QUEUE__MAIL__POSITIONS__ORDER_BY": "id",
}
SCHEMA = kit.SCHEMA + "INSERT INTO workers (id, heartbeat) VALUES ('w1', now() + interval '1 day');"


_FIGURE = "page: "


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Figures that the tests measured, beneath their results."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties if report.when == "call" else ():
            if name.startswith(_FIGURE):
                terminalreporter.write_line(f"{name}: {value}")


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str, object], None]:
    """Keeps a figure for the summary."""
    return lambda name, value: request.node.user_properties.append((_FIGURE + name, value))


class Place:
    """A daemon that guards `prod` each second and `staging` only when it is told to; `gone` is down."""

    def __init__(self, prod: servers.Database, staging: servers.Database, folder: Path) -> None:
        self.prod, self.staging = prod, staging
        self.port, nowhere = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self._settings = QUEUE | QUEUES | {
            "STATUS_FILE": str(folder / "status.json"),
            "ENV__PROD__DSN": prod.dsn,
            "ENV__STAGING__DSN": staging.dsn,
            "ENV__STAGING__INTERVAL": "1h",
            # A server that pauses is not what these tests are about.
            "STATEMENT_TIMEOUT": "20s",
            "CONNECT_TIMEOUT": "10s",
            "ENV__GONE__DSN": f"host=127.0.0.1 port={nowhere} user=nobody",
            "RULE__ENVIRONMENT_DOWN__FOR": "100ms",
            "HTTP": f"127.0.0.1:{self.port}",
            "HTTP_READ_TOKEN": READ,
            "HTTP_WRITE_TOKEN": WRITE,
        }  # fmt: skip
        self._daemon: Daemon | None = None

    @property
    def daemon(self) -> Daemon:
        assert self._daemon is not None, "it is started first"
        return self._daemon

    def start(self) -> None:
        """Start the daemon; once more on the same port, where it has been killed."""
        self._daemon = Daemon(self._settings)
        self.daemon.wait_for("http.listening")
        self.daemon.wait_for("environment.up", environment="prod")
        self.daemon.wait_for("environment.up", environment="staging")
        self.daemon.wait_for("environment.down", environment="gone")

    def close(self) -> None:
        if self._daemon is not None:
            self._daemon.close()

    def kill(self) -> None:
        self.daemon.process.kill()
        self.daemon.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium: of the module, since its driver keeps a loop running that other tests must not meet."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no chromium here: apt-get install chromium")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="no playwright here: make test installs it"
    )
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def places(
    request: pytest.FixtureRequest,
    running_servers: Callable[[servers.Source], servers.TestServer],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[], Place]]:
    """The module's daemon, started by the first test that asks for it: in that test's clean environment."""
    found, _ = servers.choose(servers.find_sources(), request.config.getoption("--pg"))
    with contextlib.ExitStack() as stack:
        kept: list[Place] = []

        def place() -> Place:
            if not kept:
                server = running_servers(found[0])
                databases = [stack.enter_context(server.database(SCHEMA)) for _ in range(2)]
                kept.append(Place(*databases, tmp_path_factory.mktemp("daemon")))
                stack.callback(kept[0].close)
                kept[0].start()
            return kept[0]

        yield place


@pytest.fixture
def place(browser: Browser, places: Callable[[], Place]) -> Place:
    """Where to look; the browser is asked for first, so that nothing is started where there is none."""
    return places()


@pytest.fixture
def visit(browser: Browser, place: Place) -> Iterator[Callable[..., Viewer]]:
    """Opens the page, as somebody who has the read token unless told otherwise; nothing forbidden happens."""
    with contextlib.ExitStack() as stack:
        viewers: list[Viewer] = []

        def opened(**options: object) -> Viewer:
            viewer = Viewer(browser, place.url, **options)
            stack.callback(viewer.context.close)
            viewers.append(viewer)
            return viewer

        yield opened
        for viewer in viewers:
            viewer.require_harmless()
