"""One queue in one sweep: probe the checks, decide what holds them, repair."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg

from queuewarden.adapters.db.reasons import primary_message
from queuewarden.checks import CHECKS
from queuewarden.engine import lanes, observe, render
from queuewarden.engine.judge import mass_death, mass_repair, nothing_runs, spared_looks
from queuewarden.engine.lane_runner import MOST_LANES
from queuewarden.engine.probe import Probe, probes_of
from queuewarden.model import BrakeChange, Outcome
from queuewarden.queues.sqltext import every

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from queuewarden.adapters.db.session import Query
    from queuewarden.checks import Check
    from queuewarden.engine.brakes import Grace
    from queuewarden.engine.judge import QueueState
    from queuewarden.engine.lane_runner import LaneRunner
    from queuewarden.engine.policy import Policy
    from queuewarden.engine.runner import Runner
    from queuewarden.model import Finding, Rule
    from queuewarden.queues.target import Target

DUTY = 20
"""A costly look that took a second is taken again after twenty: at most 5 % of the time."""

COSTLY = 0.05
"""Seconds below which a look is not worth pacing."""

FULL_EVERY = timedelta(hours=1)
"""How often a check that goes by modification counters looks without them: counters can be reset."""

EXACT = 10_000_000
"""Commands by hand count up to here."""


@dataclass(slots=True)
class QueuePass:
    """One queue in one sweep.

    Attributes:
        outcomes: what was done so far.
        holding: brakes that hold, for the board.
        looked: the checks that were due.
        stay: why nothing in this environment may be repaired just now.
    """

    runner: Runner
    lane_runner: LaneRunner
    target: Target
    state: QueueState
    policy: Policy
    grace: Grace
    outcomes: list[Outcome] = field(default_factory=list)
    holding: list[BrakeChange] = field(default_factory=list)
    looked: frozenset[str] = frozenset()
    stay: str | None = None
    _death: BrakeChange | None = None

    async def run(self) -> None:
        """All checks that are due, in order. Where one changed something, those behind it look anew.

        Raises:
            psycopg.OperationalError, QueuewardenError: the connection was lost; ``outcomes`` tells what was
                done before.
        """
        self.state.memory.try_again(self.runner.now, self.target.limits.remind_after)
        self._death = mass_death(self.state, self.target, self.runner.now)
        if self._death is not None:
            self.holding.append(self._death)
        try:
            due = self._due()
            self.looked = frozenset(check.name for check in due)
            await self._checks(due)
        finally:
            died = sum(one.mended for one in self.outcomes if one.event == "workers.offline")
            self.state.deaths.note(died, self.runner.now)

    async def _checks(self, due: Sequence[Check]) -> None:
        probes = await self._probe(due)
        for number, check in enumerate(due):
            begun = len(self.outcomes)
            await self._check(check, probes[check.name])
            done = self.outcomes[begun:]
            self._note_clean(check, done)
            if any(outcome.mended for outcome in done) and due[number + 1 :]:
                probes = await self._probe(due[number + 1 :])

    def _rules(self, check: Check) -> tuple[Rule, ...]:
        """The check's rules, narrowed to one lane where that is wished."""
        composed, lane, positions = self.state.composed, self.policy.lane, self.target.mapping.positions
        rules = composed.of(self.target, ("rules", check.name), lambda: check.rules(self.target))
        if lane is None or positions is None:
            return rules
        inside = lanes.in_lane(self.target, positions.lane, lane)
        return tuple(
            rule if rule.rank is not None else replace(rule, where=every([rule.where, inside]))
            for rule in rules
            if rule.table == "jobs"
        )

    def _due(self) -> list[Check]:
        limits, memory = self.target.limits, self.state.memory
        chosen = []
        for name, check in CHECKS.items():
            if name not in limits.checks or (self.policy.only is not None and name not in self.policy.only):
                continue
            if self.policy.daemon and (
                memory.costly.get(name, 0.0) > time.monotonic() or self._unmodified(check)
            ):
                continue
            chosen.append(check)
        return chosen

    def _unmodified(self, check: Check) -> bool:
        counter = self.state.sight.counter if self.state.sight is not None else None
        known = self.state.memory.clean.get(check.name)
        return (
            check.by_counters
            and known is not None
            and known[0] == counter
            and self.runner.now - known[1] < FULL_EVERY
        )

    async def _probe(self, checks: Sequence[Check]) -> dict[str, dict[str, Probe]]:
        """Cheap checks in one round trip, costly ones in another, which is timed."""
        cheap = [check for check in checks if not check.costly]
        costly = [check for check in checks if check.costly]
        found = await self._probe_together(cheap) if cheap else {}
        if costly:
            begun = time.monotonic()
            found |= await self._probe_together(costly)
            memory, took = self.state.memory, time.monotonic() - begun
            # One look that a hiccup held up says nothing of the next one.
            spent, memory.look_took = min(took, memory.look_took or took), took
            if spent > COSTLY:
                for check in costly:
                    memory.costly[check.name] = begun + spent * DUTY
        return found

    async def _probe_together(self, checks: Sequence[Check]) -> dict[str, dict[str, Probe]]:
        found: dict[str, dict[str, Probe]] = {check.name: {} for check in checks}
        asked: list[tuple[str, tuple[Rule, ...], Query]] = []
        for check in checks:
            rules = self._rules(check)
            plain = tuple(rule for rule in rules if rule.rank is None)
            if nothing_runs(self.state, self.outcomes, self.runner.now):
                plain = spared_looks(self.state, plain, self.runner.now)
            if plain:
                asked.append((check.name, plain, self._count(plain)))
            ranked = [rule for rule in rules if rule.rank is not None]
            asked += [(check.name, (rule,), self._faulty_lanes(rule)) for rule in ranked]
        results = await self.runner.session.read([query for *_, query in asked]) if asked else []
        for (name, rules, _), result in zip(asked, results, strict=True):
            found[name] |= probes_of(rules, result)
        return found

    def _count(self, rules: Sequence[Rule], cap: int | None = None) -> Query:
        usual = self.target.limits.brake_rows + 1 if self.policy.daemon else EXACT
        aside = self.state.memory.aside
        if any(aside.values()):
            return render.probe(self.target, rules, cap or usual, aside)
        name = ("count", *(rule.code for rule in rules), cap or usual, self.policy.lane)
        return self.state.composed.of(
            self.target, name, lambda: render.probe(self.target, rules, cap or usual, aside)
        )

    def _faulty_lanes(self, rule: Rule) -> Query:
        lane = self.policy.lane
        return self.state.composed.of(
            self.target,
            ("lanes", rule.code, lane),
            lambda: lanes.faulty_lanes(self.target, rule, MOST_LANES, lane),
        )

    async def _check(self, check: Check, probes: Mapping[str, Probe]) -> None:
        """One check; an error that leaves the connection usable ends this check alone."""
        rules = {rule.code: rule for rule in self._rules(check) if rule.code in probes}
        total = sum(probe.count for code, probe in probes.items() if rules[code].write is not None)
        failing = None
        try:
            brake = await self._mass_repair(check, rules, total)
            for code, probe in probes.items():
                failing = rules[code]
                outcome = await self._rule(check, failing, probe, brake)
                if outcome is not None:
                    self.outcomes.append(outcome)
        except psycopg.Error as error:
            if error.sqlstate is None or not self.runner.session.usable:
                raise
            blank = self._blank(check, failing or next(iter(rules.values())))
            self.outcomes.append(replace(blank, error=error.sqlstate, failure=primary_message(error)))

    def _note_clean(self, check: Check, done: Sequence[Outcome]) -> None:
        counter = self.state.sight.counter if self.state.sight is not None else None
        if check.by_counters and counter is not None:
            if not done:
                self.state.memory.clean[check.name] = (counter, self.runner.now)
            else:
                self.state.memory.clean.pop(check.name, None)

    def _blank(self, check: Check, rule: Rule) -> Outcome:
        target = self.target
        return Outcome(
            target.environment, target.queue, check.name, rule.code, rule.event, reason=rule.reason
        )

    async def _rule(
        self, check: Check, rule: Rule, probe: Probe, brake: BrakeChange | None
    ) -> Outcome | None:
        target, memory = self.target, self.state.memory
        blank = self._blank(check, rule)
        if probe.error is not None:
            return replace(blank, error=probe.error, failure=probe.failure)
        if not probe.count:
            if rule.rank is not None:
                memory.keep_lanes(rule.code, ())
            if rule.patience is None or not any(code == rule.code for code, _ in memory.seen):
                return None
        held = self.held(rule, brake)
        if held is not None or rule.write is None or not self.policy.write:
            if rule.patience is not None and rule.write is not None:
                return None
            sample = await self._listed(check, rule)
            return replace(blank, found=probe.count, skipped=probe.count, sample=sample, held=held)
        if rule.rank is not None:
            return await self.lane_runner.mend(
                target, check.name, rule, memory, probe.lanes, partial=self.policy.lane is not None
            )
        outcome = await self.runner.mend(target, check.name, rule, memory)
        return outcome if outcome.found or outcome.error or outcome.held else None

    async def _listed(self, check: Check, rule: Rule) -> tuple[Finding, ...]:
        if not self.policy.rows:
            return ()
        target, memory, rows = self.target, self.state.memory, self.policy.rows
        if rule.rank is not None:
            listed = await self.lane_runner.findings(
                target, check.name, rule, rows, self.policy.lane, intend=self.policy.intend
            )
        else:
            listed = await self.runner.findings(
                target, check.name, rule, memory, rows, intend=self.policy.intend
            )
        return tuple(listed)

    def held(self, rule: Rule, brake: BrakeChange | None = None) -> str | None:
        """Why this rule must not write now."""
        limits = self.target.limits
        if rule.write is None:
            return None
        if self.target.hold is not None:
            return "hold"
        if limits.mode == "observe":
            return "observe"
        if self.stay is not None:
            return self.stay
        if rule.brake and self.state.blind:
            return "fleet_unknown"
        if rule.brake and self.policy.grace and self.grace.holds(self.runner.now):
            return "grace"
        if rule.brake and self._death is not None and self.policy.daemon:
            return "mass_death"
        return brake.kind if brake is not None and self.policy.daemon else None

    async def _mass_repair(self, check: Check, rules: Mapping[str, Rule], total: int) -> BrakeChange | None:
        limits = self.target.limits
        found = population = total
        if total > limits.brake_rows:
            writing = [rule for rule in rules.values() if rule.write is not None]
            plain = [rule for rule in writing if rule.rank is None]
            if plain and self.policy.daemon:
                rows = await self.runner.session.rows(self._count(plain, EXACT))
                found = sum(rows[0]) + (total if len(plain) < len(writing) else 0)
            rows = await self.runner.session.rows(observe.population(self.target, check.name, found * 2 + 1))
            population = rows[0][0]
        brake = mass_repair(
            self.state, self.target, check.name, self.runner.now, found=found, population=population
        )
        if brake is not None:
            self.holding.append(brake)
        return brake
