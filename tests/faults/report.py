"""What a campaign has shown, as tables for people."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

from faults.campaign import STANDSTILL
from faults.sampler import LIMIT
from faults.world import REPAIR_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from faults.campaign import Campaign, Fault


def rendered(campaign: Campaign) -> str:
    """The faults by kind, and totals."""
    return "\n\n".join([_table(_kinds(campaign)), _table(_totals(campaign))])


def _kinds(campaign: Campaign) -> list[tuple[str, ...]]:
    rows = [("fault", "how many", "survived", "from fault to repaired: median", "p99")]
    faults = campaign.faults
    rows += [
        _row(name, [fault for fault in faults if fault.kind.name == name])
        for name in sorted({fault.kind.name for fault in faults})
    ]
    rows += [(f"{name}: not here ({reason})", "0", "", "", "") for name, reason in campaign.skipped.items()]
    return [*rows, _row("all", faults)]


def _row(name: str, faults: Sequence[Fault]) -> tuple[str, ...]:
    survived = sum(not fault.troubles for fault in faults)
    seconds = [fault.seconds for fault in faults]
    return (
        name,
        str(len(faults)),
        str(survived),
        f"{median(seconds):.1f} s",
        f"{percentile(seconds, 0.99):.1f} s",
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that so great a share of all do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def _totals(campaign: Campaign) -> list[tuple[str, ...]]:
    value, faults = campaign.world.database.value, campaign.faults
    frozen = [entry.ours for fault in faults if fault.kind.freezes for entry in fault.entries]
    others = [entry.ours for fault in faults if not fault.kind.freezes for entry in fault.entries]
    violated = _counted(campaign)
    rows = [
        ("in all", str(len(faults)) + f" faults, seed {campaign.seed}"),
        ("jobs processed", str(value("SELECT count(*) FROM campaign.finishes"))),
        ("jobs put back by the guard", str(value(_PUT_BACK))),
        ("jobs lost", violated("lost")),
        (f"jobs left by the dead for more than {REPAIR_SECONDS:.0f} s", violated("running, but")),
        ("jobs finished twice", violated("finished", "changed after")),
        ("jobs run again that nobody had lost", violated("run again", "taken from")),
        (
            "application transactions that were victims of a deadlock with the guard",
            violated("the application was"),
        ),
        (f"that waited more than {LIMIT:.1f} s for the guard", str(sum(wait > LIMIT for wait in others))),
        (
            f"the same while a daemon stood still amid a repair (at most {STANDSTILL:.1f} s)",
            f"{sum(wait > LIMIT for wait in frozen)}, the longest {max(frozen, default=0):.1f} s",
        ),
        ("changes by the guard, each compared with the ledger", _ledger(campaign)),
        ("invariants violated", str(len(campaign.troubles))),
    ]
    return [("total", ""), *rows]


_PUT_BACK = """
SELECT count(*) FROM campaign.audit
 WHERE part = 'jobs' AND who LIKE 'queuewarden/%' AND new ->> 'status' = 'waiting'"""


def _counted(campaign: Campaign) -> Callable[..., str]:
    troubles = [trouble for fault in campaign.faults for trouble in fault.troubles]
    return lambda *starts: str(sum(trouble.startswith(starts) for trouble in troubles))


def _ledger(campaign: Campaign) -> str:
    audit = campaign.world.database.value(
        "SELECT count(*) FROM campaign.audit WHERE who LIKE 'queuewarden/%'"
    )
    rows = campaign.world.database.value("SELECT sum(cardinality(keys)) FROM queuewarden.changes")
    return f"{audit} / {rows}"


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table that is a table in a terminal, too."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    drawn = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    drawn.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(drawn)
