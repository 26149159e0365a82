"""A line between a daemon and a server that can be cut, slowed, deafened, or ambushed at COMMIT.

Unlike the proxy of the other tests it runs in threads, beside a campaign that itself waits and signals.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Ending = Literal["before", "after", "hold", "deaf", "late"]
"""What happens at the COMMIT of a repair: it is cut off before it reaches the server, or its answer is; it is
held back until the line is healed; the connection becomes deaf. Or, late, the beginning of a repair is held
back until it is released."""

REPAIR = b'UPDATE "public".'
"""What a transaction says that repairs rows of the shop."""

FENCE = b"FOR KEY SHARE"
"""What a transaction that repairs begins with: it asks whether it still may."""

_COMMIT = b"COMMIT"
_CHUNK = 65_536
_SPRINGS_SECONDS = 30.0


@dataclass(eq=False)
class _Pair:
    """Two connections that are one to those at their ends.

    Attributes:
        deaf: it swallows everything, until the client gives it up.
        held: it swallows everything, until the line is healed.
        late: what is to be sent once it is released.
        repairs: the client has begun to repair something.
        answer_dropped: whatever the server answers next is lost.
    """

    client: socket.socket
    server: socket.socket
    deaf: bool = False
    held: bool = False
    late: bytes = b""
    repairs: bool = False
    answer_dropped: bool = False

    @property
    def mute(self) -> bool:
        return self.deaf or self.held

    def close(self) -> None:
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@dataclass
class Ambush:
    """Waits for a repair to begin, or to come to its COMMIT.

    Attributes:
        sprung: it came.
    """

    ending: Ending
    sprung: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> None:
        """Until it comes; it must, since something is to be repaired."""
        assert self.sprung.wait(_SPRINGS_SECONDS), "no repair has come along"


class Link:
    """Listens on a port of 127.0.0.1 for each of several servers.

    Args:
        upstreams: each leads to the folder of a server's socket, asked for with each connection; None where
            there is no server just now.
    """

    def __init__(self, *upstreams: Callable[[], Path | None]) -> None:
        self.delay = 0.0
        self._deaf = False
        self._ambush: Ambush | None = None
        self._pairs: set[_Pair] = set()
        self._listeners = [socket.create_server(("127.0.0.1", 0)) for _ in upstreams]
        for listener, upstream in zip(self._listeners, upstreams, strict=True):
            threading.Thread(target=self._accept, args=(listener, upstream), daemon=True).start()

    @property
    def ports(self) -> list[int]:
        return [listener.getsockname()[1] for listener in self._listeners]

    def close(self) -> None:
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.cut()

    def cut(self) -> None:
        """End all connections, as if either side had."""
        for pair in list(self._pairs):
            self._end(pair)

    def deafen(self) -> None:
        """Swallow every byte from now on, and tell nobody."""
        self._deaf = True
        for pair in list(self._pairs):
            pair.deaf = True

    def ambush(self, ending: Ending) -> Ambush:
        """Lie in wait for the next repair."""
        self._ambush = Ambush(ending)
        return self._ambush

    def release(self) -> None:
        """Let those begin who were held back as they began."""
        for pair in list(self._pairs):
            if pair.late:
                data, pair.late, pair.held = pair.late, b"", False
                with contextlib.suppress(OSError):
                    pair.server.sendall(data)

    def heal(self) -> None:
        """Be a good line again; a connection that became deaf stays so, as one that a router forgot."""
        self.delay, self._deaf, self._ambush = 0.0, False, None
        for pair in list(self._pairs):
            if pair.held:
                self._end(pair)

    def _end(self, pair: _Pair) -> None:
        pair.close()
        self._pairs.discard(pair)

    def _accept(self, listener: socket.socket, upstream: Callable[[], Path | None]) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            folder, server = upstream(), socket.socket(socket.AF_UNIX)
            try:
                if folder is None:
                    raise ConnectionRefusedError
                server.connect(str(folder / ".s.PGSQL.5432"))
            except OSError:
                client.close()
                server.close()
                continue
            pair = _Pair(client, server, deaf=self._deaf)
            self._pairs.add(pair)
            for pump in (self._from_client, self._from_server):
                threading.Thread(target=pump, args=(pair,), daemon=True).start()

    def _from_client(self, pair: _Pair) -> None:
        with contextlib.suppress(OSError):
            while data := pair.client.recv(_CHUNK):
                time.sleep(self.delay)
                if pair.late:
                    pair.late += data
                elif not pair.mute and self._passes(pair, data):
                    pair.server.sendall(data)
        self._end(pair)

    def _from_server(self, pair: _Pair) -> None:
        with contextlib.suppress(OSError):
            while (data := pair.server.recv(_CHUNK)) and not pair.answer_dropped:
                if not pair.mute:
                    pair.client.sendall(data)
        if not pair.mute:
            self._end(pair)

    def _passes(self, pair: _Pair, data: bytes) -> bool:
        """Whether what the client says reaches the server."""
        ambush = self._springs(pair, data)
        if ambush is None:
            return True
        pair.answer_dropped = ambush.ending == "after"
        pair.held = ambush.ending in ("hold", "late")
        pair.deaf = ambush.ending == "deaf"
        pair.late = data if ambush.ending == "late" else b""
        ambush.sprung.set()
        if ambush.ending == "before":
            pair.close()
        return ambush.ending == "after"

    def _springs(self, pair: _Pair, data: bytes) -> Ambush | None:
        """The ambush that waits for this."""
        if self._ambush is not None and self._ambush.ending == "late":
            return self._sprung() if FENCE in data else None
        if REPAIR in data:
            pair.repairs = True
        if _COMMIT not in data or not pair.repairs:
            return None
        pair.repairs = False
        return self._sprung()

    def _sprung(self) -> Ambush | None:
        ambush, self._ambush = self._ambush, None
        return ambush
