"""Telling people and programs what came of a sweep by hand."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from queuewarden.application.commands.paint import aligned, safe, say
from queuewarden.application.narrator import merged, named
from queuewarden.application.status import brief
from queuewarden.application.sweeps import failure
from queuewarden.redact import redact
from queuewarden.settings.names import variable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from queuewarden.application.by_hand import Visit
    from queuewarden.application.sweeps import Swept
    from queuewarden.engine.report import QueueReport
    from queuewarden.model import Finding, Outcome

SHOWN = 20
"""Rows of each check that people are shown."""

_BLIND = "its workers register in another environment, which does not answer or has only just started"
_HELD = {
    "observe": "only observed: to repair, set {mode}=repair, if only for this call",
    "hold": "the mapping does not fit, see above",
    "fleet_unknown": _BLIND,
    "busy": "another guard is repairing this database: try again",
    "undo": "rows were put back at this very moment: try again",
    "ledger": "the ledger's schema cannot be used: see `queuewarden diagnose`",
    "unwritable": "nothing that could be written here would end their running",
}

_BECOMES = {
    "jobs.reset": " → waiting",
    "jobs.failed": " → failed, no attempt left",
    "jobs.retried": " → waiting",
    "workers.offline": " → offline",
}


@dataclass(slots=True)
class Presentation:
    """Tells what came of all environments.

    Attributes:
        verb: what was, or would be, done to rows: None for a command that only looks.
    """

    verb: str | None = None
    dry: bool = False
    totals: dict[str, int] = field(default_factory=lambda: {"found": 0, "repaired": 0, "left": 0})

    def tell(self, visits: Sequence[Visit[Swept]], *, as_json: bool) -> int:
        """Print everything; the command's exit code."""
        for visit in visits:
            for outcome in visit.result.outcomes if visit.result is not None else ():
                self.totals["found"] += outcome.found
                self.totals["repaired"] += outcome.mended
                self.totals["left"] += outcome.found - outcome.mended
        if as_json:
            click.echo(json.dumps(redact(self._document(visits), names=False), indent=2))
        for visit in visits:
            if visit.result is not None and not as_json:
                self._environment(visit.environment, visit.result)
        unreached(visits)
        if not as_json:
            self._total()
        if any(failure(visit) is not None for visit in visits):
            return os.EX_UNAVAILABLE
        return 0 if all(visit.result.clean for visit in visits if visit.result is not None) else 1

    def _document(self, visits: Sequence[Visit[Swept]]) -> dict[str, Any]:
        return {
            **self.totals,
            "dry_run": self.dry,
            "environments": {
                visit.environment: (
                    {"error": visit.error} if visit.result is None else self._one(visit.result)
                )
                for visit in visits
            },
        }

    def _one(self, result: Swept) -> dict[str, Any]:
        report = result.report
        names = dict.fromkeys([*result.faults, *(queue.queue for queue in report.queues)])
        outcomes = {queue.queue: queue.outcomes for queue in report.queues}
        return {
            "error": result.broken,
            "sweep": report.sweep,
            "server_time": report.server.now.isoformat(),
            "queues": {
                name: {
                    "faults": list(result.faults.get(name, ())),
                    "checks": [
                        _entry(one, reported=result.reports(name, one)) for one in outcomes.get(name, ())
                    ],
                }
                for name in names
            },
            "anomalies": [
                {
                    "kind": notice.anomaly.kind,
                    "queue": notice.anomaly.queue,
                    "subject": notice.anomaly.subject,
                    "hint": notice.anomaly.hint,
                    "facts": dict(notice.anomaly.facts),
                }
                for notice in report.notices
            ],
            "brakes": [
                {
                    "kind": brake.kind,
                    "queue": brake.queue,
                    "why": brake.why,
                    "until": brake.until.isoformat() if brake.until else None,
                }
                for brake in report.brakes
            ],
            "not_judged": list(result.blind),
            "notes": [*result.hints, *result.told],
        }

    def _environment(self, name: str, result: Swept) -> None:
        for queue, faults in result.faults.items():
            for fault in faults:
                say(f"{name}/{queue}: does not fit: {safe(fault, 500)}", "red")
        for queue_report in result.report.queues:
            self._queue(f"{name}/{queue_report.queue}", queue_report, result)
        for queue in result.blind:
            say(f"{name}/{queue}: running jobs were not judged: {_BLIND}", "red")
        for brake in result.report.brakes:
            goes_on = "; the daemon's repair waits" if self.verb is None else "; by hand it goes on"
            going_on = "" if brake.kind == "grace" or brake.queue in result.observed else goes_on
            until = f" until {brake.until:%H:%M:%S %Z}" if brake.until and not going_on else ""
            place = name if brake.queue is None else f"{name}/{brake.queue}"
            say(f"{place}: brake {brake.kind}: {safe(brake.why, 200)}{until}{going_on}", "yellow")
        for notice in result.report.notices:
            one = notice.anomaly
            place = name if one.queue is None else f"{name}/{one.queue}"
            facts = " ".join(f"{key}={safe(value)}" for key, value in one.facts.items())
            say(f"{place}: anomaly {one.kind}: {facts}; {safe(one.hint, 300)}", "yellow")
        for line in (*result.hints, *result.told):
            say(f"{name}: {safe(line, 500)}", "yellow")

    def _queue(self, place: str, queue: QueueReport, result: Swept) -> None:
        judged = queue.queue not in result.blind and not result.faults.get(queue.queue)
        if judged and not queue.outcomes:
            say(f"{place}: {'clean' if self.verb is None else 'nothing to do'}", "green")
        for outcome in merged(queue.outcomes):
            left = outcome.found - outcome.mended
            reported = result.reports(queue.queue, outcome)
            colour = "red" if left or outcome.error else "green"
            say(f"{place}: {outcome.check}: {self._words(outcome, reported=reported)}", colour, bold=True)
            rows = outcome.sample[:SHOWN]
            for line in aligned([_cells(row) for row in rows], "    "):
                say(line)
            if outcome.found > len(rows) > 0:
                say(f"    and {outcome.found - len(rows)} more")

    def _words(self, outcome: Outcome, *, reported: bool) -> str:
        if outcome.error is not None and not outcome.found:
            return f"failed with {_failure(outcome)}"
        why = f" ({safe(outcome.reason, 200)})" if outcome.reason != outcome.check else ""
        words = f"{outcome.found} {_noun(outcome)} found{why}"
        if self.verb is not None and outcome.held is None and not reported:
            if self.dry:
                words += f", would be {self.verb}{_BECOMES.get(outcome.event, '')}"
            else:
                words += f", {outcome.mended} {self.verb}, {outcome.found - outcome.mended} left"
        if outcome.set_aside:
            words += f", {outcome.set_aside} of them refused by the database"
        if (
            outcome.skipped
            and not self.dry
            and self.verb is not None
            and outcome.held is None
            and not reported
        ):
            words += " (locked elsewhere, or changed meanwhile)"
        if outcome.error is not None:
            words += f", then failed with {_failure(outcome)}"
        if reported:
            words += ", only reported"
        if outcome.held is not None:
            mode = variable(("env", outcome.environment, "queue", outcome.queue, "mode"))
            words += f", held: {_HELD.get(outcome.held, outcome.held).format(mode=mode)}"
        return words

    def _total(self) -> None:
        found, repaired, left = self.totals.values()
        if self.verb is None:
            say(f"{found} found")
        elif self.dry:
            say(f"dry run, nothing was written: {found} found")
        else:
            say(f"{found} found, {repaired} {self.verb}, {left} left")


def unreached(visits: Sequence[Visit[Any]]) -> None:
    """One line on standard error for each environment that was not reached."""
    for visit in visits:
        why = failure(visit)
        if why is not None:
            say(f"queuewarden: environment {visit.environment}: {safe(why, 500)}", err=True)


def _noun(outcome: Outcome) -> str:
    noun = "worker" if outcome.event.startswith("workers.") else "job"
    return noun if outcome.found == 1 else f"{noun}s"


def _failure(outcome: Outcome) -> str:
    said = f" ({safe(outcome.failure, 200)})" if outcome.failure else ""
    return f"SQLSTATE {outcome.error}{said}"


def _entry(outcome: Outcome, *, reported: bool) -> dict[str, Any]:
    return {
        "check": outcome.check,
        "rule": outcome.code,
        "event": outcome.event,
        "reason": outcome.reason,
        "found": outcome.found,
        "repaired": outcome.mended,
        "left": outcome.found - outcome.mended,
        "set_aside": outcome.set_aside,
        "only_reported": reported,
        "held": outcome.held,
        "error": outcome.error,
        "message": outcome.failure,
        "rows": [_row(finding) for finding in outcome.sample],
    }


def _row(finding: Finding) -> dict[str, Any]:
    row = {
        "table": finding.table,
        "id": ",".join(finding.key),
        "key": list(finding.key),
        "label": finding.label,
        "facts": dict(finding.facts),
        "before": finding.before,
        "after": finding.after,
    }
    safe_row: dict[str, Any] = redact(row)
    return safe_row


def _cells(finding: Finding) -> tuple[str, ...]:
    words = named(finding)
    age: timedelta | None = words.pop("age", None)
    first = safe(words.pop("id"))
    label = safe(words.pop("label", ""))
    facts = " ".join(f"{key} {safe(value)}" for key, value in words.items())
    return first, label, facts, f"for {brief(age)}" if age is not None else ""
