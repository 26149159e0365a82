"""The sections of alerting: channels, and rules. What is unset of a rule stays as the default rule has it."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, PlainValidator

from queuewarden.engine.alerting.rules import SEVERITIES
from queuewarden.settings import types
from queuewarden.settings.fields import (
    Boolean,
    DurationOrNever,
    FilePath,
    Names,
    Secret,
    Section,
    Timeout,
    number,
    unset,
    words,
)

TAKEN = (*SEVERITIES, "escalated")
"""What a channel can take: a severity, or whatever was escalated."""

_Number = Annotated[float, PlainValidator(types.threshold)]
_Taken = Annotated[tuple[str, ...], PlainValidator(types.listed(types.choice(*TAKEN)))]


class ChannelSection(Section):
    """One way to tell people."""

    url: Secret | None = unset(
        "where alerts are sent, in the grammar of Apprise (required)", "mailtos://user:password@example.com"
    )
    url_file: FilePath | None = unset("a file that holds the URL, instead of URL", "/run/secrets/ops_url")
    severities: _Taken = Field(
        default=("warning", "critical", "escalated"),
        description="what is sent there: info, warning, critical, escalated",
    )
    environments: Names | None = unset("whose alerts are sent there (unset: of all)", "prod")
    hourly: Annotated[int, number(1, 10_000)] = Field(
        default=20, description="notices an hour at most; critical ones have as many again of their own"
    )
    timeout: Timeout = Field(default=timedelta(seconds=15), description="how long one attempt may take")


class RuleSection(Section):
    """One alert rule: a new one, or changes to a default one of that name."""

    enabled: Boolean = Field(default=True, description="false switches the rule off")
    metric: Annotated[str | None, PlainValidator(types.name)] = unset(
        "the reading (required for a new rule)", "waiting_jobs"
    )
    comparison: Annotated[Literal["above", "below"] | None, words("above", "below")] = unset(
        "which side of the threshold is bad: above or below (unset: above)", "above"
    )
    threshold: _Number | None = unset("in the reading's own unit (required for a new rule)", "500")
    clear: _Number | None = unset("where the alert ends, on the good side (unset: the threshold)", "400")
    # `for` is a word of Python.
    hold: Annotated[timedelta | None, PlainValidator(types.span)] = Field(
        default=None, alias="for", description="how long it must hold first (unset: at once)", examples=["5m"]
    )
    severity: Annotated[Literal["info", "warning", "critical"] | None, words(*SEVERITIES)] = unset(
        "info, warning or critical (unset: warning)", "warning"
    )
    channels: Names | None = unset("the only channels that are told (unset: all that take it)", "ops")
    cooldown: Annotated[timedelta | None, PlainValidator(types.span)] = unset(
        "the same alert is not sent twice within this time (0: it always is)", "15m"
    )
    escalate_after: DurationOrNever | None = unset(
        "an alert that nobody has acknowledged is escalated after this, or never", "10m"
    )
    summary: Annotated[str | None, PlainValidator(types.summary)] = unset(
        "what is wrong: {environment}, {queue}, {subject}, {value} and {threshold} are filled in",
        "{environment}/{queue}: {value} jobs wait",
    )
    hint: Annotated[str | None, PlainValidator(str.strip)] = unset("what to do about it", "add workers")
