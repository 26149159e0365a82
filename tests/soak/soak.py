"""One soak: a server with three databases, fleets at work in them, and the daemon that guards them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.daemon import daemon
from benchmarks.jobs_table import SCHEMA, variables
from benchmarks.table import tell
from soak.sampling import watch
from soak.verdict import Sample, Watched

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from servers import OwnServer
    from soak.verdict import Plan

TESTS = Path(__file__).resolve().parents[1]
ENVIRONMENTS = ("dev", "staging", "prod")
WORKERS = 50
SETTINGS = {
    # As many sweeps in half an hour as in fifteen hours of a daemon with the defaults.
    "INTERVAL": "1s",
    "DEAD_AFTER": "4s",
    "STUCK_AFTER": "6s",
    "STATUS_EVERY": "10s",
    "QUEUE__BENCH__POSITIONS__DENSE": "false",
}
WRONG = frozenset({"lease.lost", "rows.set_aside", "status_file.failed"})
"""Warnings that have no place in a soak, beside all errors: nothing is wrong with these databases."""
CHANGES = "SELECT coalesce(sum(last_id - first_id + 1), 0) FROM queuewarden.changes"


def soak(server: OwnServer, plan: Plan, folder: Path) -> Watched:
    """Watch the daemon at work.

    Args:
        server: a server of our own, for the daemon and the fleet to end with.
        plan: how long.
        folder: for the daemon's status file.
    """
    with contextlib.ExitStack() as stack:
        databases = {name: stack.enter_context(server.database(SCHEMA)) for name in ENVIRONMENTS}
        settings = environment({name: database.dsn for name, database in databases.items()}, folder)
        install(settings)
        usec = {"WATCHDOG_USEC": str(round(plan.watchdog * 1_000_000))}
        fleet = stack.enter_context(_fleet(server, [database.dsn for database in databases.values()]))
        pings: list[float] = []
        samples: list[Sample] = []
        with daemon(server, settings | usec) as running:
            running.wait_ready()
            for sample in watch(running.process, running.messages, plan.seconds, pings):
                samples.append(sample)
                if round(sample.at) % 60 == 0:
                    tell(f"soak: minute {sample.at / 60:.0f}: {sample.resident / 1e6:.1f} MB")
            log = [json.loads(line) for line in running.log.read_text().splitlines()]
        fleet.send_signal(signal.SIGTERM)
        tally = json.loads(fleet.communicate(timeout=30)[0])
        changes = {name: int(database.value(CHANGES)) for name, database in databases.items()}
    resets, quiet = resets_of(log)
    return Watched(
        samples,
        pings,
        plan.seconds,
        resets=resets,
        quiet=quiet,
        changes=changes,
        errors=[json.dumps(one) for one in log if one["level"] == "error" or one["event"] in WRONG],
        tally=tally,
        ended=running.process.returncode,
    )


def resets_of(log: Sequence[Mapping[str, Any]]) -> tuple[dict[str, int], float]:
    """Jobs that were put back, by environment; and for how long there was none at the end, at worst."""
    resets = dict.fromkeys(ENVIRONMENTS, 0)
    latest = dict.fromkeys(ENVIRONMENTS, log[0]["timestamp"])
    for event in log:
        if event["event"] == "jobs.reset":
            resets[event["environment"]] += event["count"]
            latest[event["environment"]] = event["timestamp"]
    quiet = datetime.fromisoformat(log[-1]["timestamp"]) - datetime.fromisoformat(min(latest.values()))
    return resets, quiet.total_seconds()


def environment(dsns: Mapping[str, str], folder: Path) -> dict[str, str]:
    """What the daemon and the commands find in their environment."""
    given = SETTINGS | {f"ENV__{name.upper()}__DSN": dsn for name, dsn in dsns.items()}
    given["STATUS_FILE"] = str(folder / "status.json")
    return variables(lanes=True) | {f"QUEUEWARDEN_{name}": value for name, value in given.items()}


def install(settings: Mapping[str, str]) -> None:
    """Give each database the schema with which it has a ledger and a lease."""
    for name in ENVIRONMENTS:
        command = [sys.executable, "-m", "queuewarden", "install", "--env", name]
        subprocess.run(command, env={**os.environ, **settings}, check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def _fleet(server: OwnServer, dsns: list[str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "soak.fleet", str(WORKERS), *dsns],
        cwd=TESTS,
        stdout=subprocess.PIPE,
        text=True,
        process_group=server.server.process_group,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
