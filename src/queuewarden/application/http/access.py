"""Access: who may read, and who may write."""

import hashlib
import hmac
import time
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Annotated, Literal, cast

import structlog
from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from queuewarden.application.http.problems import Problem
from queuewarden.application.http.strict import require_known
from queuewarden.application.watching.station import Station
from queuewarden.errors import UnavailableError
from queuewarden.settings.addresses import loopback
from queuewarden.settings.configuration import HttpConfig
from queuewarden.settings.listening import checked_token
from queuewarden.settings.names import variable
from queuewarden.settings.secret import SecretSource

Role = Literal["read", "write"]

FRESH = 5.0
"""Seconds after which a token is read anew: its file may have changed."""

_CHALLENGE = {"www-authenticate": "Bearer"}
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
"""Whoever sends one of these is a proxy: it stands on this machine, its clients need not."""

_scheme = HTTPBearer(auto_error=False, scheme_name="token", description="The read token or the write token.")


@dataclass(slots=True)
class _Token:
    """A configured token, of which only the digest is kept.

    Attributes:
        digest: None while it cannot be used.
        failure: why, as the log had it.
    """

    source: SecretSource
    digest: bytes | None = None
    failure: str | None = None
    until: float = 0.0

    def fits(self, digest: bytes) -> bool:
        """Whether somebody sent this one; takes as long whatever was sent."""
        if time.monotonic() >= self.until:
            self._refresh()
        return self.digest is not None and hmac.compare_digest(digest, self.digest)

    def _refresh(self) -> None:
        try:
            self.digest = _digest(checked_token(self.source))
            failure = None
        except UnavailableError as error:
            self.digest, failure = None, str(error)
            if failure != self.failure:
                structlog.get_logger().error(
                    "http.token_failed",
                    reason=failure,
                    hint="nobody passes with this token until it is mended",
                )
        self.failure = failure
        self.until = time.monotonic() + FRESH


@dataclass(slots=True)
class Access:
    """Tells by a request who it is; for one address that is listened at."""

    config: HttpConfig
    _tokens: dict[Role, _Token] = field(init=False)

    def __post_init__(self) -> None:
        sources: dict[Role, SecretSource | None] = {
            "write": self.config.write_token,
            "read": self.config.read_token,
        }
        self._tokens = {role: _Token(source) for role, source in sources.items() if source is not None}

    def reader(self, request: Request) -> str:
        """Who reads.

        Raises:
            Problem: nobody who may.
        """
        role = self._role(request)
        if role is not None:
            return f"http ({role} token)"
        if not self.config.open_read:
            raise Problem(401, f"reading needs a token: {self._remedy('read')}", _CHALLENGE)
        self._require_this_machine(request)
        return "http (this machine)"

    def writer(self, request: Request) -> str:
        """Who writes.

        Raises:
            Problem: nobody who may.
        """
        role = self._role(request)
        if role is None:
            raise Problem(401, f"this needs the write token: {self._remedy('write')}", _CHALLENGE)
        if role != "write":
            raise Problem(403, f"the read token only reads: {self._remedy('write')}")
        return "http (write token)"

    def _role(self, request: Request) -> Role | None:
        """The role of the token that was sent; None where none was."""
        scheme, _, sent = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not sent.strip():
            return None
        digest = _digest(sent.strip())
        # Each one is compared, whichever fits.
        fitting: list[Role] = [role for role, token in self._tokens.items() if token.fits(digest)]
        if len(fitting) > 1:
            raise Problem(503, "the read token and the write token are the same: make another one of them")
        if fitting:
            return fitting[0]
        if any(token.digest is None for token in self._tokens.values()):
            raise Problem(503, "a token of the daemon cannot be used just now: its log says why")
        raise Problem(401, "this is no token of this daemon", _CHALLENGE)

    def _remedy(self, role: Role) -> str:
        if role in self._tokens:
            return "send it as `Authorization: Bearer …`"
        return f"set {variable((f'http_{role}_token',))} and send it as `Authorization: Bearer …`"

    def _require_this_machine(self, request: Request) -> None:
        """Whoever reads without a token is on this machine, and no page of a stranger in a browser here."""
        if self.config.socket is not None:
            return
        headers = request.headers
        peer = request.client.host if request.client is not None else ""
        if not _loopback_address(peer) or any(name in headers for name in _FORWARDED):
            raise Problem(401, f"only this machine reads without a token: {self._remedy('read')}", _CHALLENGE)
        if not _local_name(headers.get("host", "")):
            raise Problem(403, "Host: without a token only localhost, 127.0.0.1 or [::1] may be asked")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _loopback_address(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _local_name(host: str) -> bool:
    """Whether a Host header names this machine: a name of somebody else's may lead here, too."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    return loopback(name.strip("[]").lower())


async def station_of(request: Request) -> Station:
    """The station that the app shows."""
    return cast("Station", request.app.state.station)


async def reader(request: Request, _: Annotated[object, Security(_scheme)]) -> str:
    """Who reads; for the log, so it tells no secret."""
    who = cast("Access", request.app.state.access).reader(request)
    require_known(request)
    return who


async def writer(request: Request, _: Annotated[object, Security(_scheme)]) -> str:
    """Who writes; for the log, so it tells no secret."""
    who = cast("Access", request.app.state.access).writer(request)
    require_known(request)
    return who


StationOf = Annotated[Station, Depends(station_of)]
"""The daemon's station, as a parameter of a route."""

Reader = Annotated[str, Depends(reader)]
"""Who reads, as a parameter of a route that needs one who may."""

Writer = Annotated[str, Depends(writer)]
"""Who writes, as a parameter of a route that needs one who may."""
