"""The campaign: fault after fault, each repaired before the next, and what was seen of it."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg
from faults.sampler import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from faults.kinds.kind import Kind
    from faults.sampler import Entry
    from faults.world import World

STANDSTILL = 2.6
"""Seconds that rows may be held by a daemon that stands still amid a repair: the server ends its transaction
two seconds after the last of its statements."""

SLOW = 8.0
"""Seconds from which one wants to know what took so long."""


@dataclass
class Fault:
    """One fault that was injected.

    Attributes:
        seconds: from the fault until all was repaired.
        last: what was repaired last.
        troubles: what was violated, or not repaired.
        entries: transactions of the application that were slow or failed meanwhile.
    """

    kind: Kind
    seconds: float
    last: str
    troubles: list[str]
    entries: list[Entry]

    @property
    def limit(self) -> float:
        """How long the application may wait because of the guard, on a machine that does nothing else."""
        return STANDSTILL if self.kind.freezes else LIMIT


@dataclass
class Campaign:
    """Injects faults of some kinds, each kind once a round.

    The seed alone decides on their order, and with the number of a fault on how it goes.

    Attributes:
        busy: the machine does other work, too, so that a daemon may stand still amid any repair.
    """

    world: World
    kinds: Sequence[Kind]
    seed: int
    busy: bool = False
    faults: list[Fault] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    _known: set[str] = field(default_factory=set)

    def run(self, count: int | None, tell: Callable[[str], None]) -> None:
        """Inject so many faults; each kind once by default."""
        order = self._order()
        count = count or len(self.kinds) - len(self.skipped)
        for number in range(1, count + 1):
            self.world.chance = random.Random(f"{self.seed}/{number}")
            fault = self._one(next(order))
            self.faults.append(fault)
            slow = f", last: {fault.last}" if fault.seconds > SLOW else ""
            tell(f"{number}/{count} {fault.kind.name}: {fault.seconds:.1f} s{slow}")
            for trouble in fault.troubles:
                tell(f"  VIOLATED {trouble}")

    @property
    def troubles(self) -> list[str]:
        """All that went wrong."""
        return [f"{fault.kind.name}: {trouble}" for fault in self.faults for trouble in fault.troubles]

    def _order(self) -> Iterator[Kind]:
        reasons = {kind.name: kind.lacking(self.world) for kind in self.kinds}
        self.skipped = {name: reason for name, reason in reasons.items() if reason}
        return self._rounds([kind for kind in self.kinds if kind.name not in self.skipped])

    def _rounds(self, possible: Sequence[Kind]) -> Iterator[Kind]:
        chance = random.Random(self.seed)
        while True:
            yield from chance.sample(possible, len(possible))

    def _one(self, kind: Kind) -> Fault:
        begun = time.monotonic()
        troubles, last = [], ""
        try:
            kind.inject(self.world)
        except (AssertionError, psycopg.Error) as error:
            troubles.append(f"the fault itself went wrong: {error}")
        try:
            self.world.mend()
            last = self.world.wait_until_repaired(time.time())
        except AssertionError as error:
            troubles.append(str(error))
        fault = Fault(kind, time.monotonic() - begun, last, troubles, self.world.sampler.entries())
        troubles += self._new(self.world.violations())
        for entry in fault.entries:
            if entry.ours > (STANDSTILL if self.busy else fault.limit):
                troubles.append(f"the application had to wait for the guard: {entry}")
            if entry.victim:
                troubles.append(f"the application was the victim of a deadlock with the guard: {entry}")
        return fault

    def _new(self, violations: Iterable[str]) -> list[str]:
        """Those that have not been told: a row that violates something goes on to do so."""
        new = [one for one in violations if one not in self._known]
        self._known.update(new)
        return new
