"""From settings to where the HTTP API listens and who may use it; and what else is called over HTTP."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from queuewarden.errors import UnavailableError
from queuewarden.settings.addresses import loopback
from queuewarden.settings.configuration import HttpConfig
from queuewarden.settings.names import variable
from queuewarden.settings.secret import SecretSource

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path as FilePath

    from pydantic import SecretStr

    from queuewarden.settings.sections import Settings
    from queuewarden.settings.sources import Given, VariablePath

LEAST_TOKEN = 16
"""Characters of a token: 16 random ones of 64 are 96 bits."""

_EXTRA = "needs the extra {0}, which is not installed: pip install 'queuewarden[{0}]'"


class Secrets:
    """Finds the secrets that are no DSN, and what is wrong with them.

    Args:
        given: every value, by its path.
        credentials: those that are no DSN, by name.
        note: why credentials could not be looked at, if so.

    Attributes:
        names: of the credentials.
    """

    def __init__(
        self, given: Mapping[VariablePath, Given], credentials: Mapping[str, FilePath], note: str = ""
    ) -> None:
        self._given = given
        self._credentials = credentials
        self.note = note
        self.names = tuple(credentials)
        self.faults: list[str] = []

    def find(
        self, path: VariablePath, value: SecretStr | None, file: FilePath | None, credential: str
    ) -> SecretSource | None:
        """The secret of a variable, of the one with ``_FILE``, or of a credential; None without any."""
        filed = (*path[:-1], f"{path[-1]}_file")
        if path in self._given and filed in self._given:
            self.faults.append(
                f"{self._given[path]}: {self._given[filed]} stands beside it; keep one of the two"
            )
        if value is not None:
            return SecretSource(str(self._given[path]), value=value.get_secret_value())
        if file is not None:
            return SecretSource(str(self._given[filed]), path=file)
        if credential in self._credentials:
            return SecretSource(f"credential {credential}", path=self._credentials[credential])
        return None

    def url(
        self, path: VariablePath, value: SecretStr | None, file: FilePath | None, credential: str
    ) -> SecretSource | None:
        """As `find`, of a URL that is called."""
        found = self.find(path, value, file, credential)
        if found is not None and found.value is not None and not callable_url(found.value):
            self.faults.append(f"{found.origin}: not a URL such as https://ping.example.com/word")
        return found


def callable_url(text: str) -> bool:
    """It is an absolute HTTP URL."""
    text = text.strip()
    try:
        parts = urlsplit(text)
        callable_ = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return callable_ and len(text.split()) == 1


def missing_extra(extra: str, module: str) -> str | None:
    """What is wrong where a part of the package is used that is not installed."""
    return None if find_spec(module) else _EXTRA.format(extra)


def listening(
    settings: Settings, given: Mapping[VariablePath, Given], secrets: Secrets
) -> tuple[HttpConfig | None, list[str]]:
    """The HTTP API's configuration (None where there is none), and all that is wrong with it."""
    faults: list[str] = []
    tokens = {
        kind: secrets.find(
            (f"http_{kind}_token",),
            getattr(settings, f"http_{kind}_token"),
            getattr(settings, f"http_{kind}_token_file"),
            f"http_{kind}_token",
        )
        for kind in ("read", "write")
    }
    faults += unusable([token for token in tokens.values() if token is not None and token.path is None])
    if settings.http is None:
        return None, faults
    if fault := missing_extra("http", "fastapi"):
        faults.append(f"{given['http',]}: {fault}")
    socket = Path(settings.http.removeprefix("unix:")) if settings.http.startswith("unix:") else None
    host, _, port = settings.http.rpartition(":")
    host = host.strip("[]")
    if settings.http_open_read and socket is None and not loopback(host):
        wide = variable(("http_read_token",))
        faults.append(
            f"{given['http_open_read',]}: whoever reaches {host} could read; set {wide} instead,"
            " or listen on 127.0.0.1"
        )
    return HttpConfig(
        host=None if socket else host,
        port=0 if socket else int(port),
        socket=socket,
        read_token=tokens["read"],
        write_token=tokens["write"],
        open_read=settings.http_open_read,
        rate=settings.http_rate,
    ), faults


def unusable(tokens: Iterable[SecretSource]) -> list[str]:
    """What is wrong with tokens as they are now: each by itself, and two that are the same."""
    faults: list[str] = []
    found: dict[str, SecretSource] = {}
    for source in tokens:
        try:
            token = checked_token(source)
        except UnavailableError as error:
            faults.append(str(error))
            continue
        if (other := found.setdefault(token, source)) is not source:
            faults.append(
                f"{source.place}: the same as {other.place}: whoever may read could write; make another"
            )
    return faults


def checked_token(source: SecretSource) -> str:
    """The token of a source.

    Raises:
        UnavailableError: it cannot be read, or is too short, or cannot stand in a header.
    """
    token = source.read().strip()
    if len(token) < LEAST_TOKEN:
        raise UnavailableError(f"{source.place}: a token of less than {LEAST_TOKEN} characters")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise UnavailableError(f"{source.place}: a token with blanks or signs that no header can hold")
    return token
