"""The daemon as a process: how soon it is ready, what it costs at rest, whom a hanging database delays."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import servers
from benchmarks.jobs_table import HISTORY, built, variables
from benchmarks.table import Line, duration, tell

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from servers import OwnServer

STARTS = 7
INTERVAL = 2.0
"""Seconds between sweeps where databases hang: many sweeps in little time."""

IMPORTS = "import asyncio, psycopg, structlog, tenacity, sdnotify, click, pydantic_settings"


@dataclass
class Daemon:
    """A daemon that runs, with a notification socket that is ours."""

    process: subprocess.Popen[bytes]
    messages: socket.socket
    log: Path

    def wait_ready(self, seconds: float = 60) -> None:
        """Until it says READY=1."""
        self.messages.settimeout(seconds)
        while b"READY=1" not in self.messages.recv(65536):
            pass

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident(self) -> float:
        """Megabytes of memory, from VmRSS."""
        return resident(self.process.pid)

    def sweeps(self) -> dict[str, list[float]]:
        """For each environment, when its sweeps ended."""
        found: dict[str, list[float]] = {}
        for line in self.log.read_text().splitlines():
            event = json.loads(line)
            if event["event"] == "sweep.done":
                ended = datetime.fromisoformat(event["timestamp"]).timestamp()
                found.setdefault(event["environment"], []).append(ended)
        return found


def resident(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024 / 1e6


@contextlib.contextmanager
def daemon(server: OwnServer, settings: Mapping[str, str]) -> Iterator[Daemon]:
    """`queuewarden run`, ended afterwards, and with the server if this process is killed."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("QUEUEWARDEN_")}
    with tempfile.TemporaryDirectory(prefix="qw-bench-") as place:
        address, log = str(Path(place, "notify")), Path(place, "log")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as messages, log.open("wb") as sink:
            messages.bind(address)
            process = subprocess.Popen(
                [sys.executable, "-m", "queuewarden", "run"],
                env=inherited | {"NOTIFY_SOCKET": address, "QUEUEWARDEN_LOG_FORMAT": "json"} | dict(settings),
                stdout=subprocess.DEVNULL,
                stderr=sink,
                process_group=server.server.process_group,
            )
            try:
                yield Daemon(process, messages, log)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(10)


def guarding(tables: Mapping[str, str]) -> dict[str, str]:
    """Settings for environments by name and DSN, each with the same queue."""
    named = {f"QUEUEWARDEN_ENV__{name.upper()}__DSN": dsn for name, dsn in tables.items()}
    return variables(lanes=True) | named


def start(server: OwnServer, scale: int) -> Iterator[Line]:
    """From the start of the process to READY=1, against the bare imports of its libraries."""
    del scale
    ours, bare = [], []
    with built(server, HISTORY, rows=1000) as table:
        for _ in range(STARTS):
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-c", IMPORTS], check=True)
            bare.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            with daemon(server, guarding({"prod": table.dsn})) as running:
                running.wait_ready()
                ours.append(time.perf_counter() - begun)
    ratio = median(ours) / median(bare)
    what = "start to READY (bare: importing its libraries)"
    yield Line(what, duration(median(ours)), duration(median(bare)), ratio, "< 1 s", median(ours) < 1)


def memory(server: OwnServer, scale: int) -> Iterator[Line]:
    """Resident memory with three environments after some sweeps, against an interpreter that does nothing."""
    del scale
    idle = "print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", idle], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as interpreter:
        interpreter.stdout.readline()  # type: ignore[union-attr]
        bare = resident(interpreter.pid)
        interpreter.communicate(b"\n")
    with built(server, HISTORY, rows=10_000) as table:
        settings = guarding(dict.fromkeys(("dev", "staging", "prod"), table.dsn))
        with daemon(server, settings | {"QUEUEWARDEN_INTERVAL": "1s"}) as running:
            running.wait_ready()
            time.sleep(20)
            ours = running.resident()
    what = "resident memory, 3 environments (bare: the interpreter)"
    yield Line(what, f"{ours:.1f} MB", f"{bare:.1f} MB", ours / bare, "< 60 MB", ours < 60)


def rest(server: OwnServer, scale: int, seconds: float) -> Iterator[Line]:
    """Processor time with three environments at rest, at default settings."""
    rows = 1_000_000 // scale
    tell(f"rest: building 3 x {rows:,} jobs, then {seconds:.0f} s of watching")
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(built(server, HISTORY, rows=rows))
        tables = {"dev": first, "staging": stack.enter_context(first.clone())}
        tables["prod"] = stack.enter_context(first.clone())
        running = stack.enter_context(
            daemon(server, guarding({name: one.dsn for name, one in tables.items()}))
        )
        running.wait_ready()
        time.sleep(35)
        begun, spent = time.monotonic(), running.cpu()
        time.sleep(seconds)
        share = (running.cpu() - spent) / (time.monotonic() - begun) * 100
    what = f"processor time at rest, 3 environments of {rows:,} jobs, defaults, {seconds:.0f} s"
    yield Line(what, f"{share:.3f} % of a core", "", None, "< 0.2 %", share < 0.2)


def hang(server: OwnServer, scale: int) -> Iterator[Line]:
    """A hundred environments, of which one is frozen in mid-flight and two never answer at all."""
    tell("hang: 100 environments for about a minute")
    others, seconds = 97, 60 if scale == 1 else 30
    with contextlib.ExitStack() as stack:
        table = stack.enter_context(built(server, HISTORY, rows=10_000))
        frozen = stack.enter_context(contextlib.closing(servers.start_own(server.source)))
        victim = stack.enter_context(built(frozen, HISTORY, rows=1000))
        settings = guarding(
            {f"e{number}": table.dsn for number in range(others)}
            | {"frozen": victim.dsn}
            | {f"deaf{number}": stack.enter_context(_deaf()) for number in range(2)}
        )
        paced = {"QUEUEWARDEN_INTERVAL": f"{INTERVAL:.0f}s", "QUEUEWARDEN_LOG_LEVEL": "debug"}
        running = stack.enter_context(daemon(server, settings | paced))
        running.wait_ready()
        time.sleep(10)
        frozen.freeze()
        begun = time.time()
        time.sleep(seconds)
        ended = time.time()
        frozen.thaw()
        swept = running.sweeps()
    kept = {name: [at for at in times if begun <= at <= ended] for name, times in swept.items()}
    gaps = [
        later - earlier
        for name, times in kept.items()
        if name.startswith("e")
        for earlier, later in itertools.pairwise(times)
    ]
    guarded = sum(name.startswith("e") and len(times) > 1 for name, times in kept.items())
    worst = max(gaps)
    what = "100 environments, 3 hang: longest gap between sweeps of the other"
    yield Line(
        f"{what} {guarded} (bare: the interval)",
        duration(worst), duration(INTERVAL), worst / INTERVAL, "all 97 ≤ 1.25",
        guarded == others and worst <= INTERVAL * 1.25,
    )  # fmt: skip


@contextlib.contextmanager
def _deaf() -> Iterator[str]:
    """The DSN of a listener that takes every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield f"postgresql://nobody@127.0.0.1:{listener.getsockname()[1]}/nothing?sslmode=disable"
