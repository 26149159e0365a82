"""`make conformance`: what each preset shows with the real library, as a table; 1 on a failure."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the helpers of the tests, and this package

import servers  # noqa: E402 -- found by the line above

from conformance import libraries  # noqa: E402 -- as above
from conformance.proof import SCENARIOS, Result, prove  # noqa: E402 -- as above

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from conformance.library import Library

DOCUMENTED = Path(__file__).parent / "documented"
WORDS = {True: "passed", False: "FAILED", None: "not here"}


def main() -> int:
    """Prove what was asked for; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [*libraries.known()]
    parser.add_argument("--only", action="append", choices=names, help="may be given several times")
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="may be given several times")
    parser.add_argument("--pg", help="a major version of PostgreSQL (default: the first that is found)")
    options = parser.parse_args()
    sources = [one for one in servers.find_sources() if options.pg in (None, str(one.major))]
    if not sources:
        parser.error("no PostgreSQL server here, and no binaries that one could be started with")
    for name in [name for name in os.environ if name.startswith("QUEUEWARDEN_")]:
        del os.environ[name]
    scenarios = options.scenario or [*SCENARIOS]
    failed = False
    table = [("library", "version", "server", *scenarios, "remarks")]
    with servers.running(sources[0]) as server:
        for name in options.only or names:
            library = libraries.library(name)
            missing = library.missing()
            results = [] if missing else prove(library, server, scenarios)
            failed |= any(result.passed is False for result in results)
            for result in results:
                how = f"{WORDS[result.passed]}, {result.seconds:.1f} s: {result.detail}"
                tell(f"{name}, {result.scenario}: {how}")
            table.append(_row(library, server.version, scenarios, results, missing))
    if not options.only:
        table += _documented(len(scenarios), {row[0] for row in table})
    print(_rendered(table))  # noqa: T201 -- the table is what it is for
    return 1 if failed else 0


def tell(text: str) -> None:
    """Say how far it is."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 -- what it is for


def _row(
    library: Library, server: str, scenarios: Sequence[str], results: Sequence[Result], missing: str | None
) -> tuple[str, ...]:
    if missing:
        return (library.name, "", "", *(WORDS[None] for _ in scenarios), missing)
    remarks = [f"{one.scenario}: {one.detail.splitlines()[0]}" for one in results if not one.passed]
    words = (WORDS[one.passed] for one in results)
    return (library.name, library.version(), server, *words, "; ".join(remarks))


def _documented(scenarios: int, proven: Collection[str]) -> Iterator[tuple[str, ...]]:
    """Libraries that cannot run here: their preset is only tried on the schema that they document."""
    for path in sorted(DOCUMENTED.glob("*.sql")):
        if path.stem not in proven:
            yield (path.stem, "", "", *("" for _ in range(scenarios)), "documented schema only")


def _rendered(table: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )


if __name__ == "__main__":
    sys.exit(main())
