"""Of the daemon itself: its memory, channels, API and configuration."""

from __future__ import annotations

from datetime import timedelta

from queuewarden.engine.alerting.rules import AlertRule

RULES: tuple[AlertRule, ...] = (
    AlertRule(
        "memory_used",
        "memory_used",
        "above",
        0.8,
        "warning",
        "queuewarden uses {value} of the memory it may",
        hint="raise MemoryMax, or tell its authors",
        hold=timedelta(minutes=5),
        clear=0.75,
    ),
    AlertRule(
        "memory_used_critical",
        "memory_used",
        "above",
        0.9,
        "critical",
        "queuewarden uses {value} of the memory it may, and will be killed",
        hint="raise MemoryMax, or tell its authors",
        hold=timedelta(minutes=1),
        clear=0.85,
        cooldown=timedelta(minutes=5),
    ),
    AlertRule(
        "channel_failing",
        "channel_failing",
        "above",
        0,
        "warning",
        "alerts cannot be sent to channel {subject}",
        hint="`queuewarden alerts test` tells why",
        hold=timedelta(minutes=5),
        cooldown=timedelta(hours=1),
    ),
    AlertRule(
        "http_errors",
        "http_errors",
        "above",
        0.05,
        "warning",
        "{value} of the API's answers are errors of ours",
        hint="the log tells why, by the id that the answers carry",
        hold=timedelta(minutes=1),
        clear=0.01,
    ),
    AlertRule(
        "http_refused",
        "http_refused",
        "above",
        20,
        "warning",
        "the API refused {value} requests in a minute",
        hint="somebody tries tokens, or a client has an old one",
        clear=5,
        cooldown=timedelta(hours=1),
    ),
    AlertRule(
        "config_rejected",
        "config_rejected",
        "above",
        0,
        "warning",
        "the new configuration was refused: the old one is still in use",
        hint="`queuewarden config validate` names each fault",
        cooldown=timedelta(hours=1),
    ),
)
