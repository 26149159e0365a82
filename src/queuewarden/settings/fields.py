"""The types of settings: what a plain string is read as, and the base of all sections."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, SecretStr

from queuewarden.checks import CHECKS
from queuewarden.queues.mapping import TableName
from queuewarden.settings import mapped, types

_DAY = timedelta(days=1)


def _timeout(text: str) -> timedelta:
    value = types.duration(text)
    if value > _DAY:
        raise ValueError("a timeout of more than 1d")
    return value


def _interval(text: str) -> timedelta:
    value = types.duration(text)
    if not timedelta(milliseconds=100) <= value <= _DAY:
        raise ValueError("an interval shorter than 100ms or longer than 1d")
    return value


def _checks(text: str) -> tuple[str, ...]:
    if text.strip().lower() == "all":
        return tuple(CHECKS)
    chosen = types.listed(types.choice(*CHECKS))(text)
    return tuple(check for check in CHECKS if check in chosen)


def _secret(text: str) -> SecretStr:
    return SecretStr(text)


Column = Annotated[str, PlainValidator(mapped.column)]
Columns = Annotated[tuple[str, ...], PlainValidator(types.listed(mapped.column))]
Table = Annotated[TableName, PlainValidator(mapped.table)]
Statuses = Annotated[tuple[str, ...], PlainValidator(types.listed(mapped.status))]
Status = Annotated[str, PlainValidator(mapped.status)]
Boolean = Annotated[bool, PlainValidator(types.boolean)]
Duration = Annotated[timedelta, PlainValidator(types.duration)]
Timeout = Annotated[timedelta, PlainValidator(_timeout)]
Secret = Annotated[SecretStr, PlainValidator(_secret)]
Interval = Annotated[timedelta, PlainValidator(_interval)]
Checks = Annotated[tuple[str, ...], PlainValidator(_checks)]
DurationOrNever = Annotated[timedelta | Literal["never"], PlainValidator(types.duration_or_never)]
FilePath = Annotated[Path, PlainValidator(types.path)]
Name = Annotated[str, PlainValidator(types.name)]
Names = Annotated[tuple[str, ...], PlainValidator(types.listed(types.name))]


def words(*words: str, also: dict[str, str] | None = None) -> PlainValidator:
    """One of some words."""
    return PlainValidator(types.choice(*words, also=also))


def number(least: int, most: int = 1_000_000) -> PlainValidator:
    """A whole number from ``least`` to ``most``."""
    return PlainValidator(types.number(least, most))


def unset(description: str, example: str) -> Any:
    """A field without a default, with what it could be."""
    return Field(default=None, description=description, examples=[example])


class Section(BaseModel):
    """A part of the tree."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
