"""`make faults`: a long campaign; prints what it has shown, and fails where an invariant was violated."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the helpers of the tests, and this package

import servers  # noqa: E402 -- found by the line above
from faults.campaign import Campaign  # noqa: E402 -- as above
from faults.kinds.catalog import KINDS  # noqa: E402 -- as above
from faults.report import rendered  # noqa: E402 -- as above
from faults.world import World  # noqa: E402 -- as above


def main() -> int:
    """Run a campaign; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, metavar="N", help="how many (default: each kind once)")
    parser.add_argument("--seed", type=int, default=1, help="decides on the order of faults (default: 1)")
    parser.add_argument("--only", action="append", choices=sorted(KINDS), help="may be given several times")
    parser.add_argument("--pg", help="a major version of PostgreSQL (default: the first that is found)")
    parser.add_argument("--log", type=Path, help="where to leave what the daemons said")
    options = parser.parse_args()
    sources = [one for one in servers.own_sources() if options.pg in (None, str(one.major))]
    if not sources:
        parser.error("no PostgreSQL binaries here that a server could be started with")
    # As Ctrl-C: what has been seen so far is told, and all processes end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    kinds = [KINDS[name] for name in options.only or KINDS]
    with contextlib.closing(World(sources[0])) as made:
        campaign = Campaign(made, kinds, options.seed)
        try:
            campaign.run(options.faults, tell)
        except KeyboardInterrupt:
            tell("ended early")
        if options.log:
            options.log.write_text("".join(made.guards.said()))
        print(f"{rendered(campaign)}\n\n{sources[0]}")  # noqa: T201 -- the tables are what it is for
    return 1 if campaign.troubles else 0


def tell(text: str) -> None:
    """Say how far it is."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 -- what it is for


if __name__ == "__main__":
    sys.exit(main())
