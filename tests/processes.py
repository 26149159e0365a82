"""Looking at processes that a test started."""

from __future__ import annotations

from pathlib import Path


def is_alive(pid: int) -> bool:
    """Whether a process is there; one that has ended and only waits to be reaped is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def naming(text: str) -> list[int]:
    """The living processes whose command line contains a text that only the test's own have."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if text.encode() in command and is_alive(int(path.parent.name)):
            found.append(int(path.parent.name))
    return found
