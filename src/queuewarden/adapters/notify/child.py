"""The sending process: `python -m queuewarden.adapters.notify.child PARENT`.

Apprise is synchronous, takes tens of megabytes and may hang where no timeout reaches it, such as in resolving
a name. So it is loaded here, once, and each request is a fork, which costs little and which the kernel ends
when its time is up. A request is a line of JSON on stdin, its answer one on stdout. All end with stdin, and
with the parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import sys
from typing import Any

from queuewarden.adapters.notify.through_apprise import answer, prepare

_PR_SET_PDEATHSIG = 1
_NICE = 5
_STDIN = 0
_MUCH = 65_536


class Forks:
    """Does each request in a fork.

    Args:
        answers: the file descriptor that answers are written to.
    """

    def __init__(self, answers: int) -> None:
        self._answers = answers
        self._running: dict[int, dict[str, Any]] = {}

    def run(self) -> None:
        """Do what is asked until stdin ends."""
        ended, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # so that `wake` hears of it
        signal.set_wakeup_fd(wake)
        begun = b""
        while True:
            ready, _, _ = select.select([_STDIN, ended], [], [])
            if ended in ready:
                os.read(ended, _MUCH)
                self._reap()
            if _STDIN in ready:
                more = os.read(_STDIN, _MUCH)
                if not more:
                    return
                *lines, begun = (begun + more).split(b"\n")
                for line in lines:
                    self._begin(json.loads(line))

    def _begin(self, request: dict[str, Any]) -> None:
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._failed(request, f"cannot be started: {error.strerror}")
            return
        if pid:
            self._running[pid] = request
            return
        code = 1
        try:
            die_with(parent)
            signal.set_wakeup_fd(-1)
            os.dup2(sys.stdout.fileno(), _STDIN)  # the other requests are not its own
            signal.setitimer(signal.ITIMER_REAL, request["timeout"])
            say(self._answers, answer(request) | {"id": request["id"]})
            code = 0
        finally:
            os._exit(code)

    def _reap(self) -> None:
        """Answer for those that have died."""
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            request = self._running.pop(pid)
            if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
                self._failed(request, f"no answer within {request['timeout']:g} s")
            elif status:
                self._failed(request, f"the sending process ended ({os.waitstatus_to_exitcode(status)})")

    def _failed(self, request: dict[str, Any], why: str) -> None:
        say(self._answers, {"id": request["id"], "ok": False, "permanent": False, "reason": why})


def say(answers: int, words: dict[str, Any]) -> None:
    """Write one answer: short enough for a pipe to take it in one piece, whoever else writes."""
    os.write(answers, json.dumps(words).encode() + b"\n")


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before it could be watched
        os._exit(1)


def _spare() -> None:
    """Leave it to the daemon when to end: a stop of the whole unit still has something to tell."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _own_stdout() -> int:
    """Stdout for answers alone: what a plugin prints goes nowhere."""
    own = os.dup(sys.stdout.fileno())
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return own


def main() -> None:
    """Load Apprise, say so, and do what is asked."""
    die_with(int(sys.argv[1]))
    _spare()
    with contextlib.suppress(OSError):  # a sandbox may not allow even to be modest
        os.nice(_NICE)
    answers = _own_stdout()
    wrong = prepare()
    say(answers, {"id": 0, "ok": not wrong, "permanent": True, "reason": wrong})
    if not wrong:
        gc.freeze()  # what forks do not touch, they share
        Forks(answers).run()


if __name__ == "__main__":
    main()
