"""`make soak`: prints what was seen beside what is allowed; exits with 1 where something is not met."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the helpers of the tests, and this package

import servers  # noqa: E402 -- found by the line above
from benchmarks.table import machine, tell  # noqa: E402 -- as above
from soak.soak import soak  # noqa: E402 -- as above
from soak.verdict import Plan, judge, rendered  # noqa: E402 -- as above


def main() -> int:
    """Soak for as long as was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="at least 3 (default: %(default)s)")
    parser.add_argument("--pg", help="a major version of PostgreSQL (default: the first that is found)")
    options = parser.parse_args()
    if options.minutes < 3:
        parser.error("the first minute does not count, and two more are the least that shows a growth")
    sources = [one for one in servers.own_sources() if options.pg in (None, str(one.major))]
    if not sources:
        parser.error("no PostgreSQL binaries here that a server could be started with")
    plan = Plan(seconds=options.minutes * 60)
    with (
        tempfile.TemporaryDirectory(prefix="qw-soak-") as folder,
        contextlib.closing(servers.start_own(sources[0])) as server,
    ):
        where = machine(server)
        watched = soak(server, plan, Path(folder))
    rows = judge(plan, watched)
    print(f"{rendered(rows)}\n\n{options.minutes:g} minutes; {where}")  # noqa: T201 -- what it is for
    for line in watched.errors[:20]:
        tell(line)
    return 0 if all(row.met is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
