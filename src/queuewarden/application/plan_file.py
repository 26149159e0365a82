"""Plan files: what a dry run found and what each row would become, to be read, kept, and applied later."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from queuewarden.errors import QueuewardenError
from queuewarden.model import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FORMAT = "queuewarden plan 1"
_FIELDS = {"queue": str, "check": str, "code": str, "table": str, "label": str}


class PlanError(QueuewardenError):
    """A plan file cannot be used; the message names it and what is wrong."""


@dataclass(frozen=True, slots=True)
class EnvironmentPlan:
    """What is planned in one environment.

    Attributes:
        database: system identifier and name of the database that the rows are in.
        made_at: by the database's clock.
    """

    database: tuple[str | None, str]
    made_at: str
    findings: tuple[Finding, ...]


def write(path: Path, plans: Mapping[str, EnvironmentPlan], by: str) -> None:
    """Write a plan, for its owner alone: it holds rows as they are, unredacted, since they must be exact.

    Raises:
        OSError: it cannot be written.
    """
    document = {
        "format": FORMAT,
        "by": by,
        "environments": {
            name: {
                "database": {"system": plan.database[0], "name": plan.database[1]},
                "made_at": plan.made_at,
                "findings": [_row(finding) for finding in plan.findings],
            }
            for name, plan in plans.items()
        },
    }
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # not a device or a pipe, which belong to all
            os.fchmod(file.fileno(), 0o600)
        json.dump(document, file, indent=1)
        file.write("\n")


def read(path: Path) -> dict[str, EnvironmentPlan]:
    """Read a plan.

    Raises:
        PlanError: it cannot be read, or is none.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"{path} cannot be read: {error.strerror}") from None
    except (UnicodeError, ValueError, RecursionError):
        raise PlanError(f"{path} is not JSON: `queuewarden repair --dry-run --out` makes a plan") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise PlanError(f"{path} is no plan of this version of queuewarden ({FORMAT!r} is wanted)")
    try:
        return {name: _environment(name, one) for name, one in document["environments"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PlanError(f"{path} is damaged ({type(error).__name__}): make a new plan") from None


def _row(finding: Finding) -> dict[str, Any]:
    row = asdict(finding)
    del row["environment"]
    return row


def _environment(name: str, one: Mapping[str, Any]) -> EnvironmentPlan:
    database = one["database"]
    if not isinstance(database["name"], str):
        raise TypeError("the database's name")
    findings = tuple(_finding(name, row) for row in one["findings"])
    return EnvironmentPlan((database["system"], database["name"]), str(one["made_at"]), findings)


def _finding(environment: str, row: Mapping[str, Any]) -> Finding:
    for field, type_ in _FIELDS.items():
        if not isinstance(row[field], type_):
            raise TypeError(field)
    if row["table"] not in ("jobs", "workers"):
        raise ValueError("table")
    key = _texts(row["key"])
    if not key or None in key:
        raise ValueError("key")
    return Finding(
        environment,
        row["queue"],
        row["check"],
        row["code"],
        row["table"],
        tuple(str(part) for part in key),
        _image(row["before"]),
        _image(row["after"]),
        facts=_image(row["facts"]),
        label=row["label"],
    )


def _image(row: Mapping[str, Any]) -> dict[str, str | None]:
    return dict(zip(row, _texts(list(row.values())), strict=True))


def _texts(values: Sequence[Any]) -> list[str | None]:
    if not isinstance(values, list) or not all(one is None or isinstance(one, str) for one in values):
        raise TypeError("a value that is no text")
    return values
