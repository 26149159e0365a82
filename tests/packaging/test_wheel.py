"""The wheel, in an empty virtual environment: it installs, and its commands answer."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

CHECKOUT = Path(__file__).parents[2]
CONSTRAINTS = CHECKOUT / "config" / "constraints.txt"
TIMEOUT = 240
pytestmark = pytest.mark.xdist_group("wheel")
COMMANDS = [
    *("run", "check", "repair", "reset", "retry", "status", "diagnose"),
    *("config", "presets", "completion", "demo"),
]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command ``queuewarden`` in a virtual environment that has nothing else."""
    scratch = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    built = [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(scratch), str(CHECKOUT)]
    subprocess.run(built, check=True, timeout=TIMEOUT)
    (wheel,) = scratch.glob("queuewarden-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "queuewarden/queues/presets/extraction.toml" in names
    assert "queuewarden/py.typed" in names
    assert not [name for name in names if name.startswith("tests")]
    subprocess.run([sys.executable, "-m", "venv", str(scratch / "venv")], check=True, timeout=TIMEOUT)
    python = str(scratch / "venv" / "bin" / "python")
    install = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*install, "--constraint", str(CONSTRAINTS), str(wheel)], check=True, timeout=TIMEOUT)
    return scratch / "venv" / "bin" / "queuewarden"


def run(
    command: Path, *arguments: str, settings: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [command, *arguments],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "QUEUEWARDEN_CONFIG_FILE": "/dev/null", **(settings or {})},
        timeout=60,
        check=False,
    )


@pytest.mark.timeout(900)
def test_its_commands_answer(installed: Path) -> None:
    version = run(installed, "--version")
    assert version.returncode == 0
    assert version.stdout.startswith("queuewarden, version ")
    listed = run(installed, "--help")
    assert listed.returncode == 0
    for command in (
        "run",
        "check",
        "repair",
        "reset",
        "retry",
        "status",
        "diagnose",
        "config",
        "presets",
        "demo",
    ):
        assert f"  {command} " in listed.stdout
        assert run(installed, command, "--help").returncode == 0, command


@pytest.mark.timeout(900)
def test_without_any_environment_it_says_so_and_points_to_the_demo(installed: Path) -> None:
    nothing = run(installed, "run")
    assert nothing.returncode == 78
    assert "no environment" in nothing.stderr
    assert "queuewarden demo" in nothing.stderr


@pytest.mark.timeout(900)
def test_the_configuration_commands_work_without_a_database(installed: Path) -> None:
    assert "extraction" in run(installed, "presets", "list").stdout
    reference = run(installed, "config", "reference").stdout
    assert reference == (CHECKOUT / "config" / "queuewarden.env.example").read_text()
    settings = {"QUEUEWARDEN_DSN": "postgresql://u:hidden-word@nowhere.invalid/x"}
    shown = run(installed, "config", "show", settings=settings)
    assert shown.returncode == 0
    assert "hidden-word" not in shown.stdout + shown.stderr
