"""What it costs to be watched: metrics, the API and its listeners, the decision about alerts."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, LiteralString

import psycopg
from benchmarks import crowd
from benchmarks.daemon import Daemon, daemon, guarding
from benchmarks.jobs_table import HISTORY, built, variables
from benchmarks.table import Line, duration, tell

from queuewarden.engine.alerting.decide import AlertState, Policy, decide
from queuewarden.engine.alerting.notices import About, Observation
from queuewarden.engine.alerting.rules import AlertRule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from servers import OwnServer

SCRAPES = 500
ENVIRONMENTS = 100
RATE = 200
"""Requests a second."""

ROUNDS = 4
ROUND = 20.0
"""Seconds of each round with and without a crowd."""

WORK: LiteralString = """
INSERT INTO jobs (status, worker, label, enqueued_at, started_at, attempts)
SELECT 'running', 'worker-' || n % 50 + 1, 'work', now() - interval '2 h', now() - interval '1 h', 1
  FROM generate_series(1, {rows}) AS n"""
DONE: LiteralString = "DELETE FROM jobs WHERE label = 'work'"
ROWS = 2_000
"""Stuck jobs that each sweep finds."""

TARGETS = 10_000


def _listening() -> tuple[int, dict[str, str]]:
    """A port that is free, and the settings of an API that anybody here may read."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port, {
        "QUEUEWARDEN_HTTP": f"127.0.0.1:{port}",
        "QUEUEWARDEN_HTTP_OPEN_READ": "true",
        "QUEUEWARDEN_HTTP_RATE": "10000",
    }


def _asked(connection: http.client.HTTPConnection, path: str) -> float:
    """Seconds until the whole answer is here."""
    begun = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    taken = time.perf_counter() - begun
    if answer.status != 200:
        raise RuntimeError(f"{path} was answered with {answer.status}: this measures something else")
    return taken


@contextlib.contextmanager
def _client(port: int, within: float = 30) -> Iterator[http.client.HTTPConnection]:
    """A connection that is kept, to a server that begins to listen soon."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    until = time.monotonic() + within
    while True:
        try:
            connection.connect()
            break
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
    with contextlib.closing(connection):
        yield connection


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)]


def scrape(server: OwnServer, scale: int) -> Iterator[Line]:
    """Metrics of a hundred environments, asked for while all are swept, against the smallest answer."""
    del scale
    tell(f"scrape: {ENVIRONMENTS} environments")
    port, listening = _listening()
    with built(server, HISTORY, rows=10_000) as table:
        settings = guarding({f"e{number}": table.dsn for number in range(ENVIRONMENTS)})
        with daemon(server, settings | listening) as running:
            running.wait_ready()
            time.sleep(15)
            with _client(port) as client:
                ours, bare = [], []
                for _ in range(SCRAPES):
                    ours.append(_asked(client, "/metrics"))
                    bare.append(_asked(client, "/health/live"))
                    time.sleep(0.05)
    p99, alive = _percentile(ours, 0.99), _percentile(bare, 0.99)
    yield Line(
        f"/metrics of {ENVIRONMENTS} environments, p99 (bare: /health/live)",
        duration(p99), duration(alive), p99 / alive, "< 10 ms", p99 < 0.01,
    )  # fmt: skip
    yield Line(
        f"/metrics of {ENVIRONMENTS} environments, p50",
        duration(median(ours)), duration(median(bare)), median(ours) / median(bare),
    )  # fmt: skip


def watched_memory(server: OwnServer, scale: int) -> Iterator[Line]:
    """Resident memory with three environments and the API, once each of its answers has been asked for."""
    del scale
    memory: dict[str, float] = {}
    with built(server, HISTORY, rows=10_000) as table:
        three = guarding(dict.fromkeys(("dev", "staging", "prod"), table.dsn))
        for name in ("off", "on"):
            port, listening = _listening()
            asked = listening if name == "on" else {}
            with daemon(server, three | asked | {"QUEUEWARDEN_INTERVAL": "1s"}) as running:
                running.wait_ready()
                if name == "on":
                    with _client(port) as client, _crowd(port, rate=20):
                        for path in (*crowd.PATHS, "/", "/api/openapi.json", "/api/jobs", "/api/workers"):
                            _asked(client, path)
                        time.sleep(20)
                else:
                    time.sleep(20)
                memory[name] = running.resident()
    what = "resident memory, 3 environments, API asked and 50 listeners (bare: no API)"
    ours, bare = memory["on"], memory["off"]
    yield Line(what, f"{ours:.1f} MB", f"{bare:.1f} MB", ours / bare, "< 85 MB", ours < 85)


@contextlib.contextmanager
def _crowd(port: int, rate: float = RATE) -> Iterator[list[float]]:
    """Fifty listeners and so many requests a second, for as long as the block lasts; how many were served."""
    served: list[float] = []
    program = [sys.executable, str(Path(crowd.__file__)), str(port), "--rate", str(rate)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield served
        said, _ = process.communicate()
    found = json.loads(said)
    if set(found["answers"]) != {"200"} or not found["events"]:
        raise RuntimeError(f"the crowd was not served: {found}")
    served.append(found["rate"])
    tell(f"  crowd: {found['rate']:.0f} requests/s, p99 {duration(found['p99'])}, {found['events']} events")


def crowded(server: OwnServer, scale: int) -> Iterator[Line]:
    """Sweeps that reset stuck jobs, with and without a crowd at the API, in turn."""
    del scale
    tell(f"crowded: {2 * ROUNDS} rounds of {ROUND:.0f} s")
    port, listening = _listening()
    settings = {
        # A server that has only just started would hold repairs back for two minutes.
        "QUEUEWARDEN_DEAD_AFTER": "1s",
        "QUEUEWARDEN_INTERVAL": "1s",
        "QUEUEWARDEN_LOG_LEVEL": "debug",
        "QUEUEWARDEN_BRAKE_ROWS": "1000000",
    }
    times: dict[bool, list[float]] = {True: [], False: []}
    rates: list[float] = []
    with contextlib.ExitStack() as stack:
        table = stack.enter_context(built(server, HISTORY, rows=100_000))
        settings |= variables() | listening | {"QUEUEWARDEN_ENV__PROD__DSN": table.dsn}
        running = stack.enter_context(daemon(server, settings))
        running.wait_ready()
        with _client(port):
            pass
        client = stack.enter_context(psycopg.connect(table.dsn, autocommit=True))
        _work(running, client, 5)
        for _ in range(ROUNDS):
            times[False] += _work(running, client, ROUND)
            spent, begun = running.cpu(), time.monotonic()
            with _crowd(port) as served:
                time.sleep(1)
                times[True] += _work(running, client, ROUND)
            share = (running.cpu() - spent) / (time.monotonic() - begun)
            tell(f"  daemon: {share:.0%} of a core; sweeps so far: {_medians(times)}")
            rates += served
    ours, bare, rate = median(times[True]), median(times[False]), median(rates)
    what = f"sweep that resets {ROWS:,} jobs, 50 listeners and {rate:.0f} requests/s (bare: nobody)"
    met = ours / bare <= 1.1 and rate >= RATE * 0.95
    yield Line(what, duration(ours), duration(bare), ours / bare, f"ratio ≤ 1.1 at {RATE}", met)


def _medians(times: Mapping[bool, Sequence[float]]) -> str:
    return " with, ".join(duration(median(times[crowded])) for crowded in (True, False)) + " without"


def _work(running: Daemon, client: psycopg.Connection, seconds: float) -> list[float]:
    """Make work for one sweep after the other; how long those took that did it."""
    took = []
    client.execute("VACUUM jobs")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        seen = running.log.stat().st_size
        client.execute(DONE)
        client.execute(WORK.format(rows=ROWS))
        took += _next_sweep(running.log, seen)
    return took


def _next_sweep(log: Path, seen: int) -> list[float]:
    """Seconds of the sweep that reset all jobs; none where it took more than one, which is not compared."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with log.open("rb") as file:
            file.seek(seen)
            lines = file.read().splitlines(keepends=True)
        events = [json.loads(line) for line in lines if line.endswith(b"\n")]
        reset = {one["sweep"]: one["count"] for one in events if one["event"] == "jobs.reset"}
        done = {one["sweep"]: float(one["seconds"]) for one in events if one["event"] == "sweep.done"}
        if sum(count for sweep, count in reset.items() if sweep in done) >= ROWS:
            return [done[sweep] for sweep, count in reset.items() if count == ROWS]
        time.sleep(0.02)
    raise RuntimeError(f"no sweep reset the jobs: {b''.join(lines[-5:]).decode()}")


def alerts(server: OwnServer, scale: int) -> Iterator[Line]:
    """Deciding on ten thousand targets: nothing new, and where one of a hundred begins to fire."""
    del server, scale
    rule = AlertRule(
        "waiting", "waiting_jobs", "above", 100, "warning", "{environment}/{queue}: {value} jobs wait"
    )
    policy = Policy((rule,))

    def seen(bad: int) -> Observation:
        values = {
            About("prod", f"queue{number}"): 500.0 if number < bad else 5.0 for number in range(TARGETS)
        }
        return Observation("prod", {"waiting_jobs": values}, frozenset({"waiting_jobs"}))

    steady, firing = [], []
    some, more = TARGETS // 100, TARGETS // 50
    state, _ = decide(AlertState(), seen(some), 0.0, policy)
    for number in range(1, 31):
        same, worse = seen(some), seen(more)
        begun = time.perf_counter()
        state, _ = decide(state, same, float(number), policy)
        steady.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        _, notices = decide(state, worse, number + 0.5, policy)
        firing.append(time.perf_counter() - begun)
        if len(notices) != more - some:
            raise RuntimeError(f"{len(notices)} alerts were told of: this measures something else")
    for what, taken in (("nothing new", median(steady)), ("1 of 100 begins to fire", median(firing))):
        yield Line(
            f"decision about {TARGETS:,} targets, {what}", duration(taken), "", None, "< 50 ms", taken < 0.05
        )
