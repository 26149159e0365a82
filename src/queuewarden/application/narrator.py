"""The narrator: turns what a sweep reports into log lines. The only room that does."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog

from queuewarden.application.status import brief

if TYPE_CHECKING:
    from queuewarden.application.status import EnvironmentStatus
    from queuewarden.engine.alerting.raised import Notice
    from queuewarden.engine.report import QueueReport, SweepReport
    from queuewarden.model import BrakeChange, Finding, Outcome

_WARNINGS = frozenset({"jobs.failed", "lanes.crowded"})
REPORTED_ONLY = frozenset({"orphans.running", "timestamps.impossible", "lanes.crowded"})
"""Events of rules that write nothing."""
_LABEL = 60


@dataclass(slots=True)
class Narrator:
    """Tells of one environment.

    Attributes:
        by: who changed something, where it was not the daemon.
    """

    environment: str
    by: str | None = None
    _reported: dict[tuple[str, str], int] = field(default_factory=dict)
    _failed: set[tuple[str, str, str]] = field(default_factory=set)
    _drifted: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _hinted: list[str] = field(default_factory=list)

    @property
    def log(self) -> structlog.stdlib.BoundLogger:
        """A logger that names the environment, and who called where it was a person."""
        bound: structlog.stdlib.BoundLogger = structlog.get_logger().bind(environment=self.environment)
        return bound if self.by is None else bound.bind(by=self.by)

    def hinted(self, hints: list[str]) -> None:
        """What to set so that tables that were recognised are guarded, once for each change."""
        if hints != self._hinted:
            self._hinted = hints
            for hint in hints:
                self.log.warning("queue.unmapped", hint=hint)

    def status(self, status: EnvironmentStatus) -> None:
        """How the environment is, in one line."""
        if status.state == "up":
            self.log.info("environment.status", up=True, **status.totals())
        else:
            since = status.since.isoformat()
            self.log.info("environment.status", up=False, since=since, reason=status.reason)

    def tell(self, report: SweepReport) -> None:
        """One line for each check that changed something, each brake and each anomaly."""
        log = self.log.bind(sweep=report.sweep)
        # A brake that went off allowed what follows; one that went on held it, or comes of it.
        for change in (change for change in report.brakes if not change.on):
            _brake(log, change)
        for queue in report.queues:
            self._queue(log.bind(queue=queue.queue), queue)
        for change in (change for change in report.brakes if change.on):
            _brake(log, change)
        for notice in report.notices:
            _anomaly(log, notice)
        log.debug("sweep.done", seconds=timedelta(seconds=report.seconds), round_trips=report.round_trips)

    def drifted(self, queue: str, faults: tuple[str, ...]) -> None:
        """What does not fit between a mapping and the database, once for each change."""
        if self._drifted.get(queue, ()) == faults:
            return
        self._drifted[queue] = faults
        log = self.log.bind(queue=queue)
        if not faults:
            log.info("queue.fits")
        for fault in faults:
            log.error("queue.drifted", fault=fault)

    def _queue(self, log: structlog.stdlib.BoundLogger, report: QueueReport) -> None:
        failures: set[tuple[str, str, str]] = set()
        for outcome in merged(report.outcomes):
            if outcome.error is not None:
                failure = (report.queue, outcome.check, outcome.error)
                if failure not in self._failed | failures:
                    log.error(
                        "check.failed",
                        check=outcome.check,
                        sqlstate=outcome.error,
                        message=outcome.failure,
                    )
                failures.add(failure)
            self._outcome(log, report.queue, outcome)
        # A check that did not look this time is as it was.
        looked = {"observe", *report.looked}
        self._failed = {
            known for known in self._failed if known[0] != report.queue or known[1] not in looked
        } | failures
        told = {outcome.check for outcome in report.outcomes}
        for known in [known for known in self._reported if known[0] == report.queue]:
            if known[1] in looked - told:
                del self._reported[known]

    def _outcome(self, log: structlog.stdlib.BoundLogger, queue: str, outcome: Outcome) -> None:
        if outcome.set_aside:
            rows = [finding for finding in outcome.sample if "set_aside" in finding.facts]
            log.warning(
                "rows.set_aside",
                check=outcome.check,
                count=outcome.set_aside,
                rows=[{"id": ",".join(row.key), "sqlstate": row.facts["set_aside"]} for row in rows],
            )
        fields: dict[str, Any] = {"reason": outcome.reason, "count": outcome.mended}
        if outcome.skipped:
            fields["skipped"] = outcome.skipped
        if outcome.mended:
            mended = [finding for finding in outcome.sample if finding.after is not None]
            fields[_noun(outcome)] = [named(finding) for finding in mended]
            if outcome.mended > len(mended):
                fields["more"] = outcome.mended - len(mended)
            level = "warning" if outcome.event in _WARNINGS else "info"
            getattr(log, level)(outcome.event, **fields)
        elif not outcome.found:
            return
        elif outcome.event == "lanes.crowded":
            if self._reported.get((queue, outcome.check)) != outcome.found:
                self._reported[queue, outcome.check] = outcome.found
                log.warning("lanes.crowded", count=outcome.found)
        else:
            held = outcome.held or ("reported" if outcome.event in REPORTED_ONLY else None)
            log.debug("check.held", check=outcome.check, code=outcome.code, found=outcome.found, held=held)


def merged(outcomes: tuple[Outcome, ...]) -> list[Outcome]:
    """Outcomes of the same check, event and reason as one: one line for each check that changed something."""
    together: dict[tuple[str, str, str, str | None, str | None], Outcome] = {}
    for outcome in outcomes:
        identity = (outcome.check, outcome.event, outcome.reason, outcome.error, outcome.held)
        known = together.get(identity)
        if known is None:
            together[identity] = outcome
            continue
        together[identity] = replace(
            known,
            found=known.found + outcome.found,
            mended=known.mended + outcome.mended,
            skipped=known.skipped + outcome.skipped,
            set_aside=known.set_aside + outcome.set_aside,
            sample=(known.sample + outcome.sample)[:20],
            seconds=known.seconds + outcome.seconds,
        )
    return list(together.values())


def named(finding: Finding) -> dict[str, Any]:
    """A row as a person knows it: id, worker, label, age."""
    name: dict[str, Any] = {"id": ",".join(finding.key)}
    for fact in ("worker", "lane", "reference", "fault", "refused"):
        if finding.facts.get(fact) is not None:
            name[fact] = finding.facts[fact]
    if "becomes" in finding.facts:
        name["position"] = f"{finding.facts['position'] or 'none'}→{finding.facts['becomes']}"
    label = finding.label
    if label:
        name["label"] = label if len(label) <= _LABEL else label[: _LABEL - 1] + "…"
    age = finding.facts.get("age")
    if age is not None:
        name["age"] = timedelta(seconds=int(age))
    if finding.facts.get("absent") is not None:
        name["evidence"] = _evidence(finding)
    return name


def _evidence(finding: Finding) -> str:
    """Why the job was taken for dead: ``heartbeat 4m old, no backend``."""
    beat = finding.facts.get("beat")
    heartbeat = f"heartbeat {brief(timedelta(seconds=int(beat)))} old, " if beat is not None else ""
    return f"{heartbeat}{finding.facts['absent']}"


def _noun(outcome: Outcome) -> str:
    return "workers" if outcome.event == "workers.offline" else "jobs"


def _brake(log: structlog.stdlib.BoundLogger, change: BrakeChange) -> None:
    told = log.bind(queue=change.queue) if change.queue is not None else log
    if change.on:
        told.warning("brake.on", kind=change.kind, why=change.why, until=change.until)
    else:
        told.info("brake.off", kind=change.kind)


def _anomaly(log: structlog.stdlib.BoundLogger, notice: Notice) -> None:
    anomaly = notice.anomaly
    told = log.bind(queue=anomaly.queue) if anomaly.queue is not None else log
    if notice.change == "cleared":
        told.info("anomaly.cleared", kind=anomaly.kind, subject=anomaly.subject or None)
        return
    facts = {
        name: timedelta(seconds=value) if name == "age" and isinstance(value, int) else value
        for name, value in anomaly.facts.items()
    }
    reminder = {"since": notice.since} if notice.change == "reminded" else {}
    told.warning("anomaly.raised", kind=anomaly.kind, **facts, **reminder, hint=anomaly.hint)
