"""Upkeep settings: for all, or for an environment."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator

from queuewarden.engine.upkeep.config import Prunable
from queuewarden.settings import types
from queuewarden.settings.fields import Duration, Section, Timeout, number, unset, words


def _jitter(text: str) -> timedelta:
    value = types.span(text)
    if value > timedelta(days=1):
        raise ValueError("a jitter of more than 1d")
    return value


_STANZA = re.compile(r"(?!-)[\w.-]{1,100}", re.ASCII)
_Cron = Annotated[str | None, PlainValidator(types.cron)]
_Jitter = Annotated[timedelta, PlainValidator(_jitter)]
_Prunable = Annotated[
    tuple[Prunable, ...], PlainValidator(types.listed(types.choice("done", "failed", "cancelled")))
]


def _destination(text: str) -> str:
    text = text.strip()
    return str(types.path(text)) if "/" in text else types.name(text)


def _stanza(text: str) -> str:
    if not _STANZA.fullmatch(text.strip()):
        raise ValueError("not a stanza: letters, digits, dots, hyphens and underscores")
    return text.strip()


def _kept(default: int, each: str) -> Any:
    return Field(default=default, description=f"backups that are kept, one a {each}")


class UpkeepSection(Section):
    """What is done by the clock."""

    analyze: _Cron = unset("when to gather statistics of the queue tables, or off", "@daily")
    vacuum: _Cron = unset("when to vacuum the queue tables", "0 2 * * *")
    reindex: _Cron = unset("when to rebuild their bloated indexes, concurrently", "0 3 * * 0")
    prune: _Cron = unset("when to delete old finished jobs", "30 2 * * *")
    retention: _Cron = unset("when to delete what our own tables need no longer hold", "@daily")
    full_check: _Cron = unset("when to run all checks and report, writing nothing", "0 6 * * *")
    backup: _Cron = unset("when to back the database up", "0 1 * * *")
    verify: _Cron = unset("when to prove the newest backup by restoring it", "0 4 * * 0")
    report: _Cron = unset("when to write a report", "0 7 * * 1")
    time_zone: Annotated[str, PlainValidator(types.time_zone)] = Field(
        default="UTC", description="the time zone of these"
    )
    jitter: _Jitter = Field(default=timedelta(minutes=2), description="a task begins up to so much later")
    missed: Annotated[Literal["once", "skip"], words("once", "skip")] = Field(
        default="once", description="a run that was missed: made up for once, or skipped"
    )
    timeout: Timeout = Field(default=timedelta(hours=2), description="the longest that one run takes")
    prune_after: Duration = Field(
        default=timedelta(days=30), description="jobs that finished longer ago than this are pruned"
    )
    prune_states: _Prunable = Field(
        default=("done",), description="states of the jobs that are pruned: done, failed, cancelled"
    )
    bloat: Annotated[int, number(1, 99)] = Field(
        default=30, description="per cent of an index that is waste, from which on it is rebuilt"
    )
    keep_daily: Annotated[int, number(1, 1000)] = _kept(7, "day")
    keep_weekly: Annotated[int, number(0, 1000)] = _kept(4, "week")
    keep_monthly: Annotated[int, number(0, 1000)] = _kept(6, "month")
    verified_within: Duration = Field(
        default=timedelta(days=8), description="alert when the newest proven backup is older than this"
    )
    pgbackrest: Annotated[str | None, PlainValidator(_stanza)] = unset(
        "the stanza of pgbackrest that backs up this environment's server, instead of dumps", "main"
    )
    report_to: Annotated[str | None, PlainValidator(_destination)] = unset(
        "where a scheduled report goes: a file, or an alert channel; the task needs one",
        "/var/lib/queuewarden-upkeep/report.html",
    )
