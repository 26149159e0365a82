"""PostgreSQL servers for the tests: which there are, one of each kind a run, a fresh database a test."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psycopg
from eventually import eventually
from psycopg import sql
from psycopg.conninfo import make_conninfo

from queuewarden.adapters import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

IMAGE = os.environ.get("QW_TEST_IMAGE", "postgres:17-alpine")
PULL_SECONDS = 60
MAINTENANCE = "postgres"
DEFAULTS = {"max_connections": "200", "log_min_messages": "warning", "autovacuum_naptime": "1d"}
"""Autovacuum is on, as a check looks at it, and sleeps: what it did is not taken for what we did."""


@dataclass(frozen=True)
class Source:
    """Where a server comes from: found before any test runs, started when one asks for it."""

    kind: Literal["dsn", "container", "machine", "wheel"]
    version: str
    binaries: postgres.Binaries | None = None

    @property
    def major(self) -> int:
        return int(re.split(r"\D", self.version, maxsplit=1)[0])

    def __str__(self) -> str:
        return f"PostgreSQL {self.version} ({self.kind})"


def find_sources() -> tuple[Source, ...]:
    """All servers that can be had, in the order of preference, one for each major version."""
    sources: list[Source] = []
    if dsn := os.environ.get("QW_TEST_DSN"):
        with psycopg.connect(dsn, connect_timeout=5) as connection:
            return (Source("dsn", server_version(connection)),)
    if container_is_possible():
        sources.append(Source("container", IMAGE.partition(":")[2]))
    sources += own_sources()
    return tuple({source.major: source for source in reversed(sources)}.values())[::-1]


def own_sources() -> tuple[Source, ...]:
    """The servers that a test can start, freeze and end by itself."""
    return tuple(Source(found.source, found.version, found) for found in postgres.find_binaries())


def container_is_possible() -> bool:
    """Whether a container engine answers at once, and the image is there or arrives within a minute.

    The answer is kept in the environment, so that xdist's workers do not ask again.
    """
    known = os.environ.get("QW_TEST_CONTAINER")
    if known is None:
        known = os.environ["QW_TEST_CONTAINER"] = "yes" if _probe_engine() else "no"
    return known == "yes"


def _probe_engine() -> bool:
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if host.startswith("unix://") and not Path(host.removeprefix("unix://")).exists():
        return False
    probe = (
        "import docker, sys\n"
        "images = docker.from_env(timeout=3).images\n"
        "if not images.list(sys.argv[1]):\n"
        f"    docker.from_env(timeout={PULL_SECONDS}).images.pull(sys.argv[1])\n"
    )
    try:
        subprocess.run(
            [sys.executable, "-c", probe, IMAGE], capture_output=True, timeout=PULL_SECONDS, check=True
        )
    except subprocess.SubprocessError:
        return False
    return True


def server_version(connection: psycopg.Connection[Any]) -> str:
    row = connection.execute("SHOW server_version").fetchone()
    assert row is not None
    return str(row[0]).split()[0]


class Database:
    """A database of one test."""

    def __init__(self, dsn: str, name: str) -> None:
        self.dsn = dsn
        self.name = name

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        """A connection of the caller's own, in autocommit unless told otherwise."""
        return psycopg.connect(self.dsn, **({"autocommit": True} | options))

    def execute(self, statement: Any, params: Any = None) -> int:
        """Run one statement (or, without parameters, several); the number of rows of the last one."""
        with self.connect() as connection:
            return connection.execute(statement, params).rowcount

    def rows(self, query: Any, params: Any = None) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            return connection.execute(query, params).fetchall()

    def value(self, query: Any, params: Any = None) -> Any:
        rows = self.rows(query, params)
        assert len(rows) == 1, f"one row expected, not {len(rows)}: {query}"
        return rows[0][0]


class TestServer:
    """A running server, and the databases that tests have in it."""

    __test__ = False

    def __init__(self, source: Source, dsn: str, version: str) -> None:
        self.source = source
        self.version = version
        self._dsn = dsn
        self._templates: dict[str, str] = {}

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])

    def dsn(self, database: str = MAINTENANCE) -> str:
        return make_conninfo(self._dsn, dbname=database)

    @contextlib.contextmanager
    def database(self, schema: str = "") -> Iterator[Database]:
        """A fresh database, with ``schema`` (SQL) in it: cloned from a template made once a run."""
        name = f"qw_{uuid.uuid4().hex[:12]}"
        self._create(name, template=self._template(schema) if schema else "template0")
        try:
            yield Database(self.dsn(name), name)
        finally:
            self.drop(name)

    def drop(self, name: str) -> None:
        self._maintain(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def close(self) -> None:
        for name in self._templates.values():
            self.drop(name)

    def _template(self, schema: str) -> str:
        digest = hashlib.sha256(schema.encode()).hexdigest()[:12]
        if digest not in self._templates:
            name = f"qw_template_{digest}_{uuid.uuid4().hex[:6]}"
            self._create(name, template="template0")
            self._templates[digest] = name
            Database(self.dsn(name), name).execute(schema)
        return self._templates[digest]

    def _create(self, name: str, template: str) -> None:
        self._maintain(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )

    def _maintain(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(statement)


class OwnServer(TestServer):
    """A server that is a child of this process, so that tests can freeze, kill and restart it."""

    def __init__(self, source: Source, server: postgres.Server) -> None:
        assert source.binaries is not None
        super().__init__(source, server.dsn(), source.binaries.version)
        self.server = server

    @property
    def pid(self) -> int:
        return self.server.pid

    def freeze(self) -> None:
        """Stop all its processes where they are: nothing answers, no connection is refused or lost."""
        os.kill(self.pid, signal.SIGSTOP)
        self._signal_children(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._signal_children(signal.SIGCONT)
        os.kill(self.pid, signal.SIGCONT)

    def halt(self) -> None:
        """Shut it down, keeping its data; connections are refused from now on."""
        self.thaw()
        self.server.halt()

    def launch(self) -> None:
        """Start it again after ``halt``."""
        self.server.launch()

    def restart(self) -> None:
        self.halt()
        self.launch()

    def reload(self) -> None:
        """Have it read its files anew; returns once each new connection is by what they say."""
        database = Database(self.dsn(), MAINTENANCE)
        before = database.value("SELECT pg_conf_load_time()")
        database.execute("SELECT pg_reload_conf()")
        # New sessions have it from the postmaster, which reads all of its files before it goes on.
        eventually(lambda: database.value("SELECT pg_conf_load_time()") > before, what="it has read them")

    def close(self) -> None:
        if self.server.is_running():
            self.thaw()
        self.server.stop()

    def _signal_children(self, number: signal.Signals) -> None:
        for child in children_of(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)


def children_of(pid: int) -> list[int]:
    """The direct children of a process."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


@contextlib.contextmanager
def running(source: Source, **settings: str) -> Iterator[TestServer]:
    """The server of a source, for as long as the block lasts."""
    if source.kind == "container":
        with _container(source) as server:
            yield server
        return
    server = _given(source) if source.kind == "dsn" else start_own(source, **settings)
    try:
        yield server
    finally:
        server.close()


def start_own(source: Source, **settings: str) -> OwnServer:
    assert source.binaries is not None, f"{source} cannot be started by us"
    return OwnServer(source, postgres.Server(source.binaries, settings=DEFAULTS | settings).start())


def _given(source: Source) -> TestServer:
    return TestServer(source, os.environ["QW_TEST_DSN"], source.version)


@contextlib.contextmanager
def _container(source: Source) -> Iterator[TestServer]:
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")  # a second image, which may not be there
    from testcontainers.postgres import PostgresContainer

    options = " ".join(f"-c {name}={value}" for name, value in ({"fsync": "off"} | DEFAULTS).items())
    container = PostgresContainer(IMAGE, driver=None).with_command(options)
    with container:
        dsn = container.get_connection_url()
        with psycopg.connect(dsn) as connection:
            version = server_version(connection)
        server = TestServer(source, dsn, version)
        yield server
        server.close()


def choose(sources: Sequence[Source], wanted: str) -> tuple[tuple[Source, ...], tuple[Source, ...]]:
    """Where all database tests run, and where those marked ``versions`` run, for the option ``--pg``.

    ``auto``: all on the preferred server; the marked ones also on one other version, the newest.
    ``all``: everything everywhere. A number: only that major version.
    """
    if wanted == "all":
        return tuple(sources), tuple(sources)
    if wanted == "auto":
        others = sorted(sources[1:], key=lambda source: source.major, reverse=True)
        return tuple(sources[:1]), (*sources[:1], *others[:1])
    only = tuple(source for source in sources if str(source.major) == wanted)
    return only, only
