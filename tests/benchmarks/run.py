"""`make bench`: prints one table, ours against bare SQL in the same run. Never fails on time."""

from __future__ import annotations

import argparse
import contextlib
import functools
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the helpers of the tests, and this package

import servers  # noqa: E402 -- found by the line above
from benchmarks import daemon, repairs, reports, rescues, sweeps, watching  # noqa: E402 -- as above
from benchmarks.table import Line, machine, rendered, tell  # noqa: E402 -- as above

SCENARIOS = (
    "start", "memory", "hang", "rest", "idle", "reset", "positions", "rescue",
    "scrape", "crowded", "watched-memory", "alerts", "report",
)  # fmt: skip

# Durable, as a server in use: what a commit costs is part of the comparison. Autovacuum would come at random.
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "autovacuum": "off",
    "max_connections": "250",
}


def main() -> None:
    """Run the scenarios that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    parser.add_argument("--only", action="append", choices=SCENARIOS, help="may be given several times")
    parser.add_argument("--pg", help="a major version of PostgreSQL (default: the first that is found)")
    parser.add_argument(
        "--rest", type=float, default=120, metavar="SECONDS", help="how long to watch the daemon at rest"
    )
    options = parser.parse_args()
    sources = [one for one in servers.own_sources() if options.pg in (None, str(one.major))]
    if not sources:
        parser.error("no PostgreSQL binaries here that a server could be started with")
    scenarios = {
        "start": daemon.start,
        "memory": daemon.memory,
        "hang": daemon.hang,
        "rest": functools.partial(daemon.rest, seconds=options.rest),
        "idle": sweeps.idle,
        "reset": repairs.reset,
        "positions": repairs.positions,
        "rescue": rescues.rescue,
        "scrape": watching.scrape,
        "crowded": watching.crowded,
        "watched-memory": watching.watched_memory,
        "alerts": watching.alerts,
        "report": reports.report,
    }
    lines: list[Line] = []
    with contextlib.closing(servers.start_own(sources[0], **SETTINGS)) as server:
        for name in options.only or SCENARIOS:
            for line in scenarios[name](server, 10 if options.quick else 1):
                tell(" | ".join(line.cells()))
                lines.append(line)
        where = machine(server)
    durable = "durable (fsync and synchronous_commit on), shared_buffers 1 GB, autovacuum off"
    print(f"{rendered(lines)}\n\n{where}, {durable}")  # noqa: T201 -- the table is what it is for


if __name__ == "__main__":
    main()
