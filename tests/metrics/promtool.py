"""Prometheus' own tool for its files, where it is installed."""

from __future__ import annotations

import shutil
import subprocess

import pytest

PROGRAM = shutil.which("promtool")


def promtool(*arguments: str, given: bytes | None = None) -> str:
    """Run it; what it says. A test is skipped where it is not there."""
    if PROGRAM is None:
        pytest.skip("promtool is not installed here: it comes with Prometheus (apt-get install prometheus)")
    done = subprocess.run(
        [PROGRAM, *arguments],
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
    )
    said = done.stdout.decode()
    assert done.returncode == 0, said
    return said
