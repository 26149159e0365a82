"""The demo with the real daemon: within a minute it shows what the guard does, and it leaves nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import naming

from queuewarden.adapters import postgres

WANTED = {"workers.offline", "jobs.reset", "positions.repaired", "environment.status"}
MINUTE = 60.0


@pytest.mark.skipif(not postgres.find_binaries(), reason=f"no PostgreSQL binaries here: {postgres.REMEDY}")
@pytest.mark.parametrize("user", ["root", "nobody"])
def test_within_a_minute_it_shows_every_repair_and_leaves_nothing(user: str, tmp_path: Path) -> None:
    prefix: list[str] = []
    if user == "nobody":
        if os.geteuid() != 0 or shutil.which("setpriv") is None:
            pytest.skip("becoming an ordinary user takes root and setpriv")
        python = Path("/usr/bin/python3")
        site = next(Path(entry) for entry in sys.path if entry.endswith("site-packages"))
        probe = [*as_nobody(), str(python), "-c", "import psycopg, structlog"]
        if subprocess.run(probe, env=environment(site), capture_output=True, check=False).returncode:
            pytest.skip(f"{python} cannot run what is installed in {site} as an ordinary user")
        prefix, interpreter, settings = as_nobody(), str(python), environment(site)
    else:
        interpreter, settings = sys.executable, dict(os.environ)
    begun = time.monotonic()
    demo = subprocess.Popen(
        [*prefix, interpreter, "-m", "queuewarden", "demo", "--seed", "1"],
        stderr=subprocess.PIPE,
        text=True,
        env=settings,
        start_new_session=True,
    )
    assert demo.stderr is not None
    seen: set[str] = set()
    directory = None
    try:
        for line in demo.stderr:
            found = re.search(r"PostgreSQL .* in (/\S+)$", line)
            directory = found[1] if found else directory
            if line.startswith("{"):
                seen.add(json.loads(line)["event"])
            if seen >= WANTED or time.monotonic() - begun > MINUTE:
                break
        assert seen >= WANTED
        assert time.monotonic() - begun < MINUTE
        os.killpg(demo.pid, signal.SIGINT)
        rest = demo.communicate(timeout=50)[0]
        assert demo.returncode == 0, rest
    finally:
        demo.kill()
        demo.communicate()
    assert directory is not None
    assert not Path(directory).exists()
    assert naming(directory) == []


@pytest.mark.skipif(not postgres.find_binaries(), reason=f"no PostgreSQL binaries here: {postgres.REMEDY}")
@pytest.mark.parametrize("seen", ["look inside", "workers at work", "daemon.started"])
def test_ctrl_c_ends_it_well_at_any_moment(seen: str) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-m", "queuewarden", "demo"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert demo.stderr is not None
    try:
        assert any(seen in line for line in demo.stderr)
        os.killpg(demo.pid, signal.SIGINT)
        rest = demo.communicate(timeout=50)[1]
    finally:
        demo.kill()
        demo.communicate()
    assert demo.returncode == 0, rest
    assert "no process and no file is left" in rest


def as_nobody() -> list[str]:
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]


def environment(site: Path) -> dict[str, str]:
    """The installed packages and this checkout, for an interpreter that an ordinary user can reach."""
    source = Path(__file__).parents[2] / "src"
    return {"PATH": os.environ["PATH"], "PYTHONPATH": f"{source}:{site}", "PYTHONDONTWRITEBYTECODE": "1"}
