"""Secrets: where one comes from. It is read when it is used, never shown, never quoted in an error."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from queuewarden.errors import UnavailableError
from queuewarden.redact import visible

if TYPE_CHECKING:
    from pathlib import Path

_LONGEST = 10_000
"""Characters of a secret."""


@dataclass(frozen=True, slots=True)
class SecretSource:
    """A secret that a variable, a file or a credential holds.

    Attributes:
        origin: the variable, file or credential, as `config show` names it.
    """

    origin: str
    value: str | None = field(default=None, repr=False)
    path: Path | None = None

    @property
    def place(self) -> str:
        """The file, or else the origin: what an error names."""
        return self.origin if self.path is None else visible(str(self.path))

    def read(self) -> str:
        """The secret.

        Raises:
            UnavailableError: the file or credential cannot be read; the message names it, not its content.
        """
        text = self.value if self.path is None else self._file(self.path)
        if text is None or not text.strip():
            raise UnavailableError(f"{self.place} is empty; write {self.expected} into it")
        return text

    @property
    def expected(self) -> str:
        """What belongs there, in words."""
        return "the secret"

    def _file(self, path: Path) -> str:
        place = visible(str(path))
        try:
            # A pipe would keep whoever opens it waiting for somebody to write.
            with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), encoding="utf-8") as stream:  # noqa: PTH123 -- by its descriptor
                if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                    raise UnavailableError(f"{place} is no file; write {self.expected} into one")
                text = stream.read(_LONGEST + 1).rstrip("\r\n")
        except OSError as error:
            raise UnavailableError(f"{place} cannot be read: {error.strerror}") from None
        except UnicodeError:
            raise UnavailableError(f"{place} is not UTF-8 text") from None
        if len(text) > _LONGEST:
            raise UnavailableError(f"{place} has more than {_LONGEST} characters, which no secret has")
        # libpq, for one, would silently stop reading there.
        if "\0" in text:
            raise UnavailableError(f"{place} is not text: it has a NUL in it")
        return text


@dataclass(frozen=True, slots=True)
class DsnSource(SecretSource):
    """Where an environment's DSN comes from; read anew for each attempt to connect, never shown."""

    @property
    def expected(self) -> str:
        """What belongs there, in words."""
        return "a libpq URI or keyword string"

    def read(self) -> str:
        """The DSN.

        Raises:
            UnavailableError: the file or credential cannot be read, or is no DSN; the message names it, not
                its content.
        """
        text = SecretSource.read(self)
        place = self.place
        try:
            parts = conninfo_to_dict(text)
        except (ProgrammingError, UnicodeError):
            # libpq's own message repeats the string, password and all.
            raise UnavailableError(f"{place} is not a libpq URI or keyword string") from None
        # What follows a sign that should have been encoded lands in host, port and, of a URI, dbname.
        host = f"{parts.get('host', '')}{parts.get('dbname', '') if '://' in text else ''}"
        ports = str(parts.get("port", "")).split(",")
        if "@" in host or not all(port.isdecimal() or not port for port in ports):
            raise UnavailableError(
                f"{place} is a libpq URI or keyword string with a wrong host, port or dbname;"
                " percent-encode the signs @ : / % ? # in a URI's user and password"
            )
        return text
