"""One rule being mended: what it is about, and what has been done so far."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from queuewarden.adapters.db.reasons import primary_message
from queuewarden.engine import render
from queuewarden.errors import HeldError
from queuewarden.model import Finding, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

    from queuewarden.engine.memory import Memory
    from queuewarden.errors import BusyError
    from queuewarden.model import Rule
    from queuewarden.queues.target import Target

SAMPLE = 20
"""Findings that an outcome carries: as many as a log line names."""


@dataclass(slots=True)
class Work:
    """A rule, its target, and the tally.

    Attributes:
        begun: when it began, by the daemon's own clock.
        sample: rows to report, at most `SAMPLE`.
        waits: lock timeouts met.
        held: why a transaction was not even begun: another guard was repairing, the lease is lost, repairs
            were paused.
        error: SQLSTATE of what ended it.
        failure: what the server said of that.
    """

    target: Target
    check: str
    rule: Rule
    memory: Memory
    begun: float = field(default_factory=time.monotonic)
    mended: int = 0
    set_aside: int = 0
    sample: list[Finding] = field(default_factory=list)
    waits: int = 0
    held: str | None = None
    error: str | None = None
    failure: str | None = None

    def fail(self, error: psycopg.Error) -> None:
        """Note what ended it."""
        self.error, self.failure = error.sqlstate, primary_message(error)

    def wait(self, error: BusyError) -> None:
        """Note why nothing may be written just now."""
        self.held = error.why if isinstance(error, HeldError) else "busy"

    @property
    def room(self) -> int:
        """How many more rows the sample takes."""
        return max(0, SAMPLE - len(self.sample))

    def finding(
        self,
        key: Sequence[str],
        before: Sequence[str | None],
        facts: Sequence[str | None],
        after: Sequence[str | None] | None = None,
    ) -> Finding:
        """A row of this rule, from what its statements return."""
        return finding(self.target, self.check, self.rule, key, before, facts, after)

    def tell_set_aside(self, row: Finding, sqlstate: str | None) -> None:
        """Report a row whose write violated something."""
        if self.room:
            self.sample.append(replace(row, facts={**row.facts, "set_aside": sqlstate}))

    def outcome(self, *, found: int, skipped: int, left: Sequence[Finding] = ()) -> Outcome:
        """What came of it.

        Args:
            found: rows at fault in all.
            skipped: rows found and not mended.
            left: some of those, reported behind the mended ones.
        """
        return Outcome(
            self.target.environment,
            self.target.queue,
            self.check,
            self.rule.code,
            self.rule.event,
            reason=self.rule.reason,
            found=found,
            mended=self.mended,
            skipped=skipped,
            set_aside=self.set_aside,
            sample=(*self.sample, *left)[:SAMPLE],
            seconds=time.monotonic() - self.begun,
            error=self.error,
            failure=self.failure,
            held=self.held,
        )


def finding(
    target: Target,
    check: str,
    rule: Rule,
    key: Sequence[str],
    before: Sequence[str | None],
    facts: Sequence[str | None],
    after: Sequence[str | None] | None = None,
) -> Finding:
    """A row at fault, or mended, from the arrays in which statements return it."""
    columns = render.found_columns(target, rule)
    image = dict(zip(columns, before, strict=True))
    names = target.mapping.jobs.label if rule.table == "jobs" else ()
    return Finding(
        target.environment,
        target.queue,
        check,
        rule.code,
        rule.table,
        tuple(key),
        image,
        dict(zip(columns, after, strict=True)) if after is not None else None,
        facts=dict(zip(rule.facts, facts, strict=True)),
        label=":".join(value for name in names if (value := image.get(name)) is not None),
    )
