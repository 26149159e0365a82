"""The Node.js libraries of the suite: installed from their registry once, with copies of our programs.

They live in a cache folder, not in the checkout, under a name that tells the wanted versions. A program finds
its library in the folder that it stands in.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from conformance import starting

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
INSTALL_SECONDS = 90

_INSTALL = [
    "npm",
    "install",
    "--no-package-lock",
    "--no-audit",
    "--no-fund",
    "--ignore-scripts",
    "--loglevel=error",
]


@cache
def missing() -> str | None:
    """Why no program can run here; None where the libraries are installed."""
    try:
        folder()
    except (OSError, subprocess.SubprocessError) as error:
        said = f": {error.stderr.strip()}" if isinstance(error, subprocess.CalledProcessError) else ""
        return f"the Node.js libraries could not be installed: {error}{said}"
    return None


@cache
def folder() -> Path:
    """Where the libraries are, and our programs with them; installs them when first asked for."""
    wanted = (HERE / "package.json").read_bytes()
    top = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "queuewarden-conformance"
    found = top / f"node-{hashlib.sha256(wanted).hexdigest()[:12]}"
    found.mkdir(parents=True, exist_ok=True)
    with (found / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several test processes, one installs
        for program in (HERE / "package.json", *HERE.glob("*.mjs")):
            shutil.copy(program, found)
        if not (found / "installed").exists():
            subprocess.run(
                _INSTALL, cwd=found, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS
            )
            (found / "installed").touch()
    return found


def version(package: str) -> str:
    """The version of a library that is installed."""
    told = json.loads((folder() / "node_modules" / package / "package.json").read_text())
    return str(told["version"])


def call(program: str, dsn: str, verb: str, *words: str) -> list[str]:
    """Run a program to its end; the words that it prints."""
    return starting.call(["node", program, verb, *words], folder(), dsn)


def work(program: str, dsn: str) -> subprocess.Popen[bytes]:
    """Start a program that works until it is killed."""
    return starting.start(["node", program, "work"], folder(), **starting.variables(dsn))


def seconds(values: Sequence[float]) -> list[str]:
    """Durations as words of a command line."""
    return [f"{value:g}" for value in values]
