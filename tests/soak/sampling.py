"""Looking at a running daemon once a second, and hearing its pings in between."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from soak.verdict import Sample

if TYPE_CHECKING:
    import socket
    import subprocess
    from collections.abc import Iterator


def watch(
    process: subprocess.Popen[bytes], messages: socket.socket, seconds: float, pings: list[float]
) -> Iterator[Sample]:
    """A sample each second; the times of the pings in between are added to ``pings``.

    Raises:
        RuntimeError: the process has ended.
    """
    begun = time.monotonic()
    for second in range(round(seconds) + 1):
        while (left := begun + second - time.monotonic()) > 0:
            messages.settimeout(left)
            try:
                told = messages.recv(65_536)
            except TimeoutError:
                break
            if b"WATCHDOG=1" in told.splitlines():
                pings.append(time.monotonic() - begun)
        if process.poll() is not None:
            raise RuntimeError(f"the daemon ended by itself, with {process.returncode}")
        yield sample(process.pid, time.monotonic() - begun)


def sample(pid: int, at: float) -> Sample:
    """How a process is now."""
    process = Path(f"/proc/{pid}")
    memory = dict(_fields((process / "smaps_rollup").read_text()))
    threads = dict(_fields((process / "status").read_text()))["Threads"]
    descriptors = sum(1 for _ in (process / "fd").iterdir())
    return Sample(at, memory["Rss"] * 1024, memory["Anonymous"] * 1024, descriptors, threads)


def _fields(text: str) -> Iterator[tuple[str, int]]:
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and value.split()[:1] and value.split()[0].isdigit():
            yield name, int(value.split()[0])
