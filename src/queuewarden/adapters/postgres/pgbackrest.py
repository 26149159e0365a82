"""pgbackrest: backups of a whole server, by the stanza that somebody has configured for it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from queuewarden.adapters.postgres.binaries import numbers
from queuewarden.adapters.postgres.children import FailedError, environment, run
from queuewarden.errors import BusyError, UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

Kind = Literal["full", "diff", "incr"]

VERIFIED: Final = "queuewarden-verified"
"""The annotation that says when a backup was proven."""

_LOCKED: Final = 50
"""Its exit code where another one of its own is at work."""

_EMPTY: Final = 2
"""The status of a stanza without any backup."""


@dataclass(frozen=True, slots=True)
class Held:
    """A backup in the repository.

    Attributes:
        taken_at: when it was complete.
        size: bytes that it takes in the repository.
        database_size: bytes of what it restores.
        major: the server's version.
        error: pgbackrest found damaged pages in it.
        verified_at: when it was proven; None: never.
    """

    label: str
    kind: Kind
    taken_at: datetime
    seconds: float
    size: int
    database_size: int
    major: int
    error: bool
    verified_at: datetime | None


@dataclass(frozen=True, slots=True)
class Stanza:
    """One stanza.

    Attributes:
        within: seconds that each call may take.
    """

    name: str
    within: float

    async def backup(self, kind: Kind) -> None:
        """Take a backup; what its own retention does not keep is removed.

        Raises:
            BusyError: it is at work already.
            UnavailableError: it did not come to its end.
        """
        await self._call(f"--type={kind}", "backup")

    async def held(self) -> list[Held]:
        """The backups there are, the newest first.

        Raises:
            UnavailableError: it cannot tell.
        """
        answer = await self._call("--output=json", "info")
        try:
            (stanza,) = json.loads(answer)
            majors = {(one["id"], one["repo-key"]): numbers(one["version"])[0] for one in stanza["db"]}
            found = [_held(one, majors) for one in stanza["backup"]]
        except (ValueError, LookupError, TypeError):
            raise UnavailableError("pgbackrest: what it says of its backups is not understood") from None
        code = stanza["status"]["code"]
        if not found and code not in {0, _EMPTY}:
            raise UnavailableError(f"pgbackrest: stanza {self.name}: {stanza['status']['message']}")
        return sorted(found, key=lambda one: one.taken_at, reverse=True)

    async def restore(self, label: str, data: Path) -> None:
        """Restore a backup into a new data directory, as of the moment at which it was complete.

        Raises:
            UnavailableError: it did not come to its end.
        """
        where = (f"--pg1-path={data}", f"--tablespace-map-all={data.parent / 'tablespaces'}")
        await self._call(f"--set={label}", *where, "--type=immediate", "--target-action=promote", "restore")

    async def annotate(self, label: str, at: datetime | None) -> None:
        """Note on a backup when it was proven, or that it is not.

        Raises:
            UnavailableError: it did not do so; older versions cannot.
        """
        value = "" if at is None else f"{at:%Y-%m-%dT%H:%M:%S+00:00}"
        await self._call(f"--set={label}", f"--annotation={VERIFIED}={value}", "annotate")

    async def _call(self, *arguments: str) -> bytes:
        program = shutil.which("pgbackrest")
        if program is None:
            raise UnavailableError("no pgbackrest on this machine: install it, or unset UPKEEP__PGBACKREST")
        answer = bytearray()
        command = [program, f"--stanza={self.name}", "--log-level-console=off", *arguments]
        try:
            await run(command, environment(), self.within, take=answer.extend)
        except FailedError as error:
            if error.code == _LOCKED:
                raise BusyError(str(error)) from None
            raise
        return bytes(answer)


def _held(one: dict[str, Any], majors: dict[tuple[int, int], int]) -> Held:
    start, stop = one["timestamp"]["start"], one["timestamp"]["stop"]
    verified = one.get("annotation", {}).get(VERIFIED)
    return Held(
        label=one["label"],
        kind=one["type"],
        taken_at=datetime.fromtimestamp(stop, UTC),
        seconds=float(stop - start),
        size=one["info"]["repository"]["delta"],
        database_size=one["info"]["size"],
        major=majors[one["database"]["id"], one["database"]["repo-key"]],
        error=bool(one.get("error")),
        verified_at=datetime.fromisoformat(verified) if verified else None,
    )
