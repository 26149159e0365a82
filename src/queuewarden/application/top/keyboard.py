"""Keys: a terminal that gives each one at once, and takes back its old ways when the block ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import termios
import tty
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Key = Literal["quit", "pause", "sort", "detail", "up", "down", "page up", "page down", "home", "end"]

_KEYS: dict[bytes, Key] = {
    b"q": "quit",
    b"Q": "quit",
    b"\x04": "quit",
    b"p": "pause",
    b"s": "sort",
    b"d": "detail",
    b"k": "up",
    b"\x1b[A": "up",
    b"\x1bOA": "up",
    b"j": "down",
    b"\x1b[B": "down",
    b"\x1bOB": "down",
    b"\x1b[5~": "page up",
    b"\x1b[6~": "page down",
    b" ": "page down",
    b"g": "home",
    b"\x1b[H": "home",
    b"\x1b[1~": "home",
    b"G": "end",
    b"\x1b[F": "end",
    b"\x1b[4~": "end",
}
_LONGEST = max(map(len, _KEYS))


def keys(typed: bytes) -> Iterator[Key]:
    """The keys in what was typed; all others are passed over."""
    at = 0
    while at < len(typed):
        size = next((n for n in range(_LONGEST, 0, -1) if typed[at : at + n] in _KEYS), 0)
        if size:
            yield _KEYS[typed[at : at + size]]
        at += size or 1


@contextmanager
def pressed(told: Callable[[Key], None]) -> Iterator[None]:
    """Tell each key that is pressed during the block; nothing where standard input is no terminal.

    A terminal that goes away counts as ``quit``.
    """
    if not sys.stdin.isatty():
        yield
        return
    descriptor, loop = sys.stdin.fileno(), asyncio.get_running_loop()

    def read() -> None:
        try:
            typed = os.read(descriptor, 1024)
        except OSError:
            typed = b""
        if not typed:
            loop.remove_reader(descriptor)
            told("quit")
        for key in keys(typed):
            told(key)

    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor, termios.TCSANOW)
    loop.add_reader(descriptor, read)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        with contextlib.suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)
