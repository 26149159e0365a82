"""The schema ``queuewarden``: its versions, how it is installed, and whether this role can use it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from queuewarden.adapters.db.begin import GUARD_LOCK
from queuewarden.adapters.db.session import Query

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuewarden.adapters.db.session import Session

NAME = "queuewarden"
VERSION = 4
"""The version that this program installs; it works with one version less and one more, too."""

UPKEEP_SINCE = 4
"""The version that brought runs of upkeep and samples."""

RIGHTS = {
    "schema_version": ("SELECT",),
    "lease": ("SELECT", "UPDATE"),
    "counter": ("SELECT", "UPDATE"),
    "changes": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "left_alone": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "pauses": ("SELECT", "INSERT", "UPDATE"),
    "alerts": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "suppressions": ("SELECT", "INSERT", "UPDATE"),
    "upkeep_runs": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "samples": ("SELECT", "INSERT", "UPDATE", "DELETE"),
}
"""What a guard's role may do with each table: the parked positions of a lane are booked in two steps, hence
UPDATE on the ledger; retention takes DELETE."""

_OF_ALERTS = frozenset({"alerts", "suppressions"})
_OF_UPKEEP = frozenset({"upkeep_runs", "samples"})
_DISPENSABLE = _OF_ALERTS | _OF_UPKEEP
"""Without rights on these alerts are kept in memory, or nothing is done by schedule; repairs need none of
them."""

_INSTALL_LOCK = (GUARD_LOCK[0], 2)

_TABLES = b"""
SELECT c.oid, c.relname::text, has_schema_privilege(n.oid, 'USAGE'), current_user::text,
       ARRAY(SELECT r FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS r
              WHERE has_table_privilege(c.oid, r))
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = 'queuewarden' AND c.relkind = 'r' ORDER BY c.oid"""
_VERSION = Query(b"SELECT version FROM queuewarden.schema_version", {})


@dataclass(frozen=True, slots=True)
class Schema:
    """The schema as it stands in a database.

    Attributes:
        version: None where it is not installed.
        faults: why it cannot be used, each with its remedy; then nothing is repaired.
        tables: the oids of its tables, which tell when it is installed, upgraded or gone.
        unkept: why alerts can only be kept in memory, if so.
        unscheduled: why runs of upkeep cannot be recorded, if so, and hence none is made by schedule.
    """

    version: int | None = None
    faults: tuple[str, ...] = ()
    tables: tuple[int, ...] = ()
    unkept: str | None = None
    unscheduled: str | None = None

    @property
    def usable(self) -> bool:
        """Changes can be recorded."""
        return self.version is not None and not self.faults

    @property
    def alerts(self) -> bool:
        """Alerts and suppressions can be kept."""
        return self.usable and self.unkept is None

    @property
    def upkeep(self) -> bool:
        """Runs of upkeep and samples can be recorded."""
        return self.usable and (self.version or 0) >= UPKEEP_SINCE and self.unscheduled is None


async def read_schema(session: Session) -> Schema:
    """Look whether the schema is there and can be used.

    Raises:
        psycopg.Error: as the server reports it.
    """
    rows = await session.rows(Query(_TABLES, {}))
    tables = tuple(oid for oid, *_ in rows)
    if not any(name == "schema_version" for _, name, *_ in rows):
        return Schema(tables=tables)
    _, _, visible, role, _ = rows[0]
    if not visible:
        return Schema(0, (f"no right to look into schema {NAME}: {_grants(role)}",), tables)
    missing = {name for _, name, *_, given in rows if set(RIGHTS.get(name, ())) - set(given)}
    lacking = "rights missing on {} in schema " + f"{NAME}: {_grants(role)}"
    if needed := sorted(missing - _DISPENSABLE):
        return Schema(0, (lacking.format(", ".join(needed)),), tables)
    ((version,),) = await session.rows(_VERSION)
    if not VERSION - 1 <= version <= VERSION + 1:
        remedy = "run `queuewarden install`" if version < VERSION else "upgrade queuewarden"
        known = f"{VERSION - 1} to {VERSION + 1}"
        fault = f"schema {NAME} has version {version}, this program knows {known}: {remedy}"
        return Schema(version, (fault,), tables)
    there = {name for _, name, *_ in rows} | (_OF_UPKEEP if version < UPKEEP_SINCE else set())
    # What a later version has instead of them is its own affair.
    lost = RIGHTS.keys() - there if version <= VERSION else set()
    if needed := sorted(lost - _DISPENSABLE):
        return Schema(version, (_lost(needed),), tables)
    unkept, unscheduled = (
        _lost(sorted(lost & part))
        if lost & part
        else (lacking.format(", ".join(sorted(missing & part))) if missing & part else None)
        for part in (_OF_ALERTS, _OF_UPKEEP)
    )
    return Schema(version, (), tables, unkept, unscheduled)


def _lost(tables: Sequence[str]) -> str:
    remedy = "restore what is lost, or drop the schema, its record with it, and run `queuewarden install`"
    return f"schema {NAME} lacks {' and '.join(tables)}: {remedy}"


def _grants(role: str) -> str:
    return f"see `queuewarden grants`, which prints what role {role} needs"


@cache
def steps() -> tuple[str, ...]:
    """The SQL that leads from each version to the next, beginning with none."""
    folder = resources.files("queuewarden.engine.ledger") / "schema"
    return tuple((folder / f"{number}.sql").read_text(encoding="utf-8") for number in range(1, VERSION + 1))


def script() -> str:
    """One script that installs the schema, or upgrades it, or finds nothing to do.

    It can be run twice at once: an advisory lock makes the second wait for the first.
    """
    parts = [
        "BEGIN;",
        "SET LOCAL search_path = pg_catalog, pg_temp;",
        f"SELECT pg_advisory_xact_lock{_INSTALL_LOCK};",
    ]
    for number, step in enumerate(steps()):
        there = (
            "to_regclass('queuewarden.schema_version') IS NULL"
            if number == 0
            else f"(SELECT version FROM queuewarden.schema_version) = {number}"  # noqa: S608 -- a number of ours
        )
        parts.append(
            f"DO $version$ BEGIN\nIF {there} THEN\nEXECUTE $step$\n{step}$step$;\nEND IF;\nEND $version$;"
        )
    return "\n\n".join([*parts, "COMMIT;"]) + "\n"
