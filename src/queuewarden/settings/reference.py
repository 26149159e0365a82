"""The reference: every variable with its meaning and default, as a configuration file to begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuewarden.settings import types
from queuewarden.settings.guard_section import Guard
from queuewarden.settings.names import ANY, leaves, variable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

    from queuewarden.settings.sources import VariablePath

_INTRODUCTION = """\
# queuewarden: every variable there is. What is commented out is the default, or an example where none is.
#
# The same variables may stand in the process environment, which wins over this file. The grammar is that of
# systemd's EnvironmentFile=: quotes around a value are optional, a backslash at the end of a line continues
# it, $ is an ordinary character, and # begins a comment only at the start of a line: none behind a value.
# Durations: 100ms, 30s, 3m, 2h, 1d. Lists: separated by commas. An empty value unmaps what a preset maps.
"""
_ENVIRONMENTS = """\
# Environments: PROD stands for a name of your choice (a-z, 0-9, single underscores). Each needs one of DSN,
# DSN_FILE, or a file PROD, lower-cased, in the directory of credentials.
"""
_QUEUES = """\
# Queues: MAIL stands for a name of your choice. Without any, the tables of known presets are looked for.
# Columns and tables are spelled as the catalog spells them; "double quotes" protect dots, commas and blanks.
# A file takes the outer quotes away, so single ones go around the whole: '"My Schema"."my.table"'.
"""
_GUARD = """\
# Guard settings. Each may also be given for an environment, a queue, or a queue in an environment, as in
# QUEUEWARDEN_ENV__PROD__STUCK_AFTER, QUEUEWARDEN_QUEUE__MAIL__STUCK_AFTER and
# QUEUEWARDEN_ENV__PROD__QUEUE__MAIL__STUCK_AFTER; the most specific wins. Where MODE of an environment and
# of a queue differ, observe wins.
"""
_CHANNELS = """\
# Alert channels: OPS stands for a name of your choice. A credential alert_ops can hold the URL.
"""
_RULES = """\
# Alert rules: BACKLOG stands for the name of a default rule, which is changed, or for one of your own. The
# default rules, and all readings that a rule may be about, stand in config/alerts.md.
"""
_UPKEEP = """\
# Upkeep: tasks by the clock, each switched on by a cron expression of five fields (or @hourly, @daily,
# @weekly, @monthly). Each may also be given for an environment, which then decides, as in
# QUEUEWARDEN_ENV__PROD__UPKEEP__VACUUM; `off` switches a task off there. See config/upkeep.md.
"""
_GENERAL = """\
# For the whole daemon.
"""
_NAMES = {"env": "prod", "queue": "mail", "alert": "ops", "rule": "backlog"}


def reference() -> str:
    """The text of ``config/queuewarden.env.example``."""
    headings = (_ENVIRONMENTS, _QUEUES, _GUARD, _UPKEEP, _CHANNELS, _RULES, _GENERAL)
    groups: dict[str, list[str]] = {heading: [] for heading in headings}
    for path, field in leaves().items():
        if heading := _heading(path):
            groups[heading] += _entry(path, field)
    return "\n".join([_INTRODUCTION, *("\n".join([heading, *lines]) for heading, lines in groups.items())])


def _heading(path: VariablePath) -> str | None:
    guard = path[-1] in Guard.model_fields
    if len(path) == 1:
        return _GUARD if guard else _GENERAL
    if guard and path[-2] == ANY:
        return None
    if path[-2] == "upkeep":
        return _UPKEEP if len(path) == 2 else None  # noqa: PLR2004 -- the section and its setting
    return {"env": _ENVIRONMENTS, "queue": _QUEUES, "alert": _CHANNELS, "rule": _RULES}[path[0]]


def _entry(path: VariablePath, field: FieldInfo) -> Iterator[str]:
    named = tuple(_NAMES[path[at - 1]] if part == ANY else part for at, part in enumerate(path))
    value = field.examples[0] if field.default is None and field.examples else types.spelled(field.default)
    yield f"# {field.description}"
    yield f"#{variable(named)}={value}"
    yield ""
