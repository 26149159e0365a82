"""The dead-man ping: a URL that is called while all is well, so that its silence tells of the rest."""

from __future__ import annotations

import http.client
import os
import ssl
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from queuewarden import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

WITHIN = 5.0
"""Seconds that each step of a ping may take."""

LATE = 15.0
"""Seconds after which a ping that is still under way counts as failed, whatever it waits for."""


@dataclass(slots=True)
class _State:
    reason: str | None = None
    under_way: dict[str, float] = field(default_factory=dict)


class Pinger:
    """Calls URLs; never raises, never waits.

    Args:
        told: called with the name of a ping and why it fails, or None when it goes well again; only when that
            changes, the first failure included, and from any thread.
    """

    def __init__(self, told: Callable[[str, str | None], None]) -> None:
        self._told = told
        self._lock = threading.Lock()
        self._states: dict[str, _State] = {}

    def ping(self, name: str, url: str) -> None:
        """Call a URL, unless it is being called already.

        Args:
            name: what is pinged for, such as the environment; the URL itself is a secret.
            url: http or https.
        """
        with self._lock:
            state = self._states.setdefault(name, _State())
            begun = state.under_way.get(url)
            if begun is None:
                state.under_way[url] = time.monotonic()
        if begun is None:
            threading.Thread(target=self._call, args=(name, url), daemon=True, name=f"ping {name}").start()
        elif time.monotonic() - begun > LATE:
            self._turn(name, "no answer")

    def reasons(self) -> dict[str, str | None]:
        """Why each ping fails; None for one that goes well."""
        with self._lock:
            return {name: state.reason for name, state in self._states.items()}

    def _call(self, name: str, url: str) -> None:
        why = self._failure(url)
        with self._lock:
            self._states[name].under_way.pop(url, None)
        self._turn(name, why)

    def _turn(self, name: str, why: str | None) -> None:
        with self._lock:
            state = self._states[name]
            changed = (state.reason is None) != (why is None)
            state.reason = why
        if changed:
            self._told(name, why)

    def _failure(self, url: str) -> str | None:
        """Call it; why it failed, in words that hold nothing of the URL."""
        try:
            request = urllib.request.Request(url, headers={"User-Agent": f"queuewarden/{__version__}"})  # noqa: S310 -- the opener knows no other scheme
            with self._opener.open(request, timeout=WITHIN) as answer:
                answer.read(1)
        except urllib.error.HTTPError as error:
            error.close()
            return f"HTTP {error.code}"
        except urllib.error.URLError as error:
            return _words(error.reason)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return _words(error)
        return None

    @cached_property
    def _opener(self) -> urllib.request.OpenerDirector:
        """Without what handles files, FTP and data in the usual one: no redirect leads there, either."""
        opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(context=ssl.create_default_context()),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.UnknownHandler(),
            urllib.request.HTTPRedirectHandler(),
        ):
            opener.add_handler(handler)
        return opener


def _words(reason: Any) -> str:
    """Of an error or of urllib's words for one: only what cannot repeat the URL."""
    if isinstance(reason, TimeoutError):
        return "timed out"
    if isinstance(reason, ssl.SSLError):
        return f"TLS: {reason.reason or 'failed'}".replace("_", " ").lower().replace("tls", "TLS")
    if isinstance(reason, OSError):
        # A name that cannot be resolved has a number of its own kind.
        return reason.strerror or (os.strerror(reason.errno) if reason.errno else "the connection was closed")
    if isinstance(reason, str):
        return "not http or https" if reason.startswith("unknown url type") else reason[:100]
    return "not a URL" if isinstance(reason, ValueError | http.client.InvalidURL) else "no HTTP answer"
