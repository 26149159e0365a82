"""A program on a pseudo-terminal: its frames as a person sees them, its keys, its window."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from typing import TYPE_CHECKING

from commands_kit import own_environment
from eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

HOME = "\x1b[H"
"""What each frame begins with."""

OURS = re.compile(r"\x1b\[(?:[0-9;]*m|H|\?1049[hl]|\?25[hl])")
"""All that is ever said to the terminal itself: colours, home, the other page, the cursor."""


class Terminal:
    """`queuewarden ARGUMENTS` on a terminal of so many columns and rows."""

    def __init__(self, *arguments: str, columns: int = 80, rows: int = 24, **variables: str) -> None:
        self._master, slave = pty.openpty()
        self.slave = os.ttyname(slave)
        self.resize(columns, rows, tell=False)
        self.before = termios.tcgetattr(self._master)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "queuewarden", *arguments],
            env=own_environment(**({"TERM": "xterm-256color"} | variables)),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._open = True
        self._drained = threading.Event()
        self._read = bytearray()
        self._reader = threading.Thread(target=self._pump)
        self._reader.start()

    @property
    def written(self) -> str:
        """All that it wrote so far."""
        return bytes(self._read).decode(errors="replace").replace("\r\n", "\n")

    @property
    def frame(self) -> list[str]:
        """The lines of the last whole frame."""
        frames = self.written.split(HOME)
        return OURS.sub("", frames[-2] if len(frames) > 2 else frames[-1]).split("\n")

    def shows(self, *words: str) -> Callable[[], bool]:
        """A condition: some line of the frame has all of these words."""
        return lambda: any(all(word in line for word in words) for line in self.frame)

    def wait_for(self, *words: str, seconds: float = 20.0) -> None:
        eventually(self.shows(*words), seconds=seconds, what=f"{words} in {self.frame}")

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def resize(self, columns: int, rows: int, *, tell: bool = True) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if tell:
            os.kill(self.process.pid, signal.SIGWINCH)

    def ended(self) -> int:
        """Its exit code, once it has ended and all that it wrote was read."""
        code = self.process.wait(30)
        assert self._drained.wait(30)
        return code

    def restored(self) -> bool:
        """The terminal is as it was: its modes, its first page, its cursor."""
        ours = OURS.findall(self.written)
        modes = [one for one in ours if "?" in one]
        return termios.tcgetattr(self._master)[:4] == self.before[:4] and {"\x1b[?25h", "\x1b[?1049l"} <= set(
            modes[-2:]
        )

    def hang_up(self) -> None:
        """The window is closed, and no signal tells of it."""
        self._open = False
        self._reader.join(5)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._open = False
        self._reader.join(5)

    def _pump(self) -> None:
        while self._open:
            if not select.select([self._master], [], [], 0.05)[0]:
                continue
            try:
                data = os.read(self._master, 65_536)
            except OSError:  # nobody has the other end any more
                break
            self._read += data
        self._drained.set()
        while self._open:  # the modes of the terminal can be asked for until the end
            time.sleep(0.05)
        os.close(self._master)
