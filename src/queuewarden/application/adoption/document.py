"""What was found and is proposed, for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from queuewarden.application.adoption.looking import Looked
    from queuewarden.application.adoption.planning import Adopted, Plan
    from queuewarden.application.adoption.trying import Tried
    from queuewarden.application.by_hand import Visit
    from queuewarden.queues.proposal.propose import Refusal


_CONFIDENCE = {"high": "high", "likely": "medium", "weak": "low"}


def document(
    visits: Sequence[Visit[Looked]], plan: Plan, tried: Sequence[Visit[Tried]], written: Path | None
) -> dict[str, Any]:
    """One document about all environments; the caller masks what is secret."""
    return {
        "queues": [_queue(one, tried) for one in plan.queues],
        "variables": plan.variables,
        "notes": list(plan.notes),
        "refused": [_refusal(one) for one in plan.refused],
        "written": str(written) if written is not None else None,
        "environments": {
            one.environment: {"error": one.error} if one.result is None else _looked(one.result)
            for one in visits
        },
    }


def _looked(looked: Looked) -> dict[str, Any]:
    return {
        "error": None,
        "tables": looked.count,
        "looked_at": looked.near,
        "seconds": round(looked.seconds, 3),
        "mapped": [{"table": str(table), "queue": queue} for table, queue in looked.mapped],
        "resembling": [
            {
                "preset": one.preset,
                "table": f"{one.schema}.{one.mapping.jobs.table.name}",
                "differing": list(one.differing),
            }
            for one in looked.recognised
            if not one.full
        ],
        "refused": [_refusal(one) for one in looked.refusals],
        "unknown": list(looked.unknown),
    }


def _refusal(one: Refusal) -> dict[str, Any]:
    return {"table": str(one.table), "why": one.why}


def _queue(queue: Adopted, tried: Sequence[Visit[Tried]]) -> dict[str, Any]:
    proposal = queue.proposal
    return {
        "queue": queue.name,
        "table": str(queue.table),
        "preset": queue.preset.name if queue.preset is not None else None,
        "confidence": _CONFIDENCE[proposal.confidence] if proposal is not None else "high",
        "rows": proposal.rows if proposal is not None else None,
        "rows_looked_at": proposal.seen if proposal is not None else None,
        "same_in_other_schemas": proposal.twins if proposal is not None else 0,
        "signs": list(proposal.signs) if proposal is not None else [],
        "choices": [
            {"variable": queue.variable(one), "value": one.value, "why": one.why, "confidence": one.sure}
            for one in queue.choices
        ],
        "open": [
            {"variable": one.variable, "why": one.why}
            for one in (proposal.open if proposal is not None else ())
        ],
        "environments": {
            one.environment: {"error": one.error} if one.result is None else _tried(queue.name, one.result)
            for one in tried
            if one.environment in queue.environments
        },
    }


def _tried(name: str, tried: Tried) -> dict[str, Any]:
    report = next((one for one in tried.swept.report.queues if one.queue == name), None)
    counts = report.counts if report is not None else None
    return {
        "error": tried.swept.broken,
        "faults": list(tried.swept.faults.get(name, ())),
        "needed_for_repair": list(tried.needed.get(name, ())),
        "counts": {
            word: getattr(counts, word, None)
            for word in ("waiting", "running", "failed", "live_workers", "silent_workers")
        },
        "found": [
            {
                "check": one.check,
                "rule": one.code,
                "reason": one.reason,
                "rows": one.found,
                "error": one.error,
            }
            for one in (report.outcomes if report is not None else ())
        ],
    }
