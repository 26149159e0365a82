"""The memory that this process has, and what its control group allows it."""

from __future__ import annotations

import os
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60
"""Bytes from which on the first version of control groups means no limit at all."""


def resident() -> int | None:
    """Bytes of resident memory; None where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def allowed(root: Path = _ROOT, groups: Path = Path("/proc/self/cgroup")) -> int | None:
    """Bytes that the tightest limit around this process allows; None where there is none, or none is told.

    Args:
        root: where control groups are mounted.
        groups: which ones this process is in, as ``/proc/self/cgroup`` tells.
    """
    try:
        lines = groups.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError):
        return None
    limits = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            limits += _limits(root, path, "memory.max")
        elif "memory" in controllers.split(","):
            limits += _limits(root / "memory", path, "memory.limit_in_bytes")
    return min(limits, default=None)


def _limits(mount: Path, path: str, name: str) -> list[int]:
    """The limits of a group and of those around it."""
    found = []
    group = mount / path.strip("/")
    while True:
        try:
            text = (group / name).read_text(encoding="ascii").strip()
        except (OSError, UnicodeError):
            text = "max"
        if text.isdecimal() and int(text) < _UNLIMITED:
            found.append(int(text))
        if group in (mount, group.parent):
            return found
        group = group.parent
