"""Loaded by the daemon's own interpreter, as its `sitecustomize`: faults that a test switches on by a file.

The file is named as the environment that is to suffer, and holds the fault and the process that it is for:
the daemon that systemd starts next is well again.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import queuewarden.application.daemon  # noqa: F401 -- before structlog, as `run` imports it
from queuewarden.application import guard
from queuewarden.engine.sweep import Sweeper

FOR_EVER = 3600.0
PLACE = Path(__file__).parent

# A test has no time for five seconds, neither to see a hang, nor to see that there is none, nor to reconnect;
# the slack leaves room for a pause of the machine.
guard.SLACK = 3.0
guard.FASTEST_CAP = 1.0

_sweep = Sweeper.sweep


async def sabotaged(self: Sweeper, *arguments: Any, **options: Any) -> Any:
    report = await _sweep(self, *arguments, **options)
    match fault_of(self.environment):
        case "block":
            time.sleep(FOR_EVER)  # noqa: ASYNC251 -- the mistake itself
        case "hang":
            await asyncio.Event().wait()
    return report


def fault_of(environment: str) -> str | None:
    try:
        fault, process = (PLACE / environment).read_text().split()
    except FileNotFoundError:
        return None
    return fault if process == str(os.getpid()) else None


Sweeper.sweep = sabotaged  # type: ignore[method-assign]
