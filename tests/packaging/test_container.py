"""The container: what is promised of it; built and started, where an engine and a base image are there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parents[2]
FOLDER = CHECKOUT / "config" / "container"
CONTAINERFILE = FOLDER / "Containerfile"
BUILD_SECONDS = 300


def instructions(word: str) -> list[str]:
    text = CONTAINERFILE.read_text().replace("\\\n", " ")
    return [line.removeprefix(word).strip() for line in text.splitlines() if line.startswith(f"{word} ")]


def test_the_image_is_nobodys_and_tells_how_it_is() -> None:
    (user,), (check,) = instructions("USER"), instructions("HEALTHCHECK")
    assert user == "10001:10001"
    assert check.endswith('CMD ["queuewarden", "status"]')
    for copied in instructions("COPY"):
        if not copied.startswith("--from"):
            assert all((CHECKOUT / name).exists() for name in copied.split()[:-1]), copied


def test_what_the_build_needs_is_not_ignored() -> None:
    lines = (FOLDER / "Containerfile.dockerignore").read_text().split()
    wanted = {name for copied in instructions("COPY") for name in copied.split()[:-1] if "=" not in name}
    assert {line[1:] for line in lines if line.startswith("!")} == {*wanted, "config/constraints.txt"} - {
        "/opt/queuewarden"
    }
    assert lines[0] == "*"


def test_the_guard_is_given_little_and_the_rest_has_limits_of_its_own() -> None:
    composed = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    guard, upkeep = composed["services"]["guard"], composed["services"]["upkeep"]
    assert (guard["cpus"], guard["mem_limit"], guard["restart"]) == (0.1, "256m", "unless-stopped")
    assert guard["healthcheck"]["test"] == ["CMD", "queuewarden", "status"]
    assert (upkeep["profiles"], upkeep["restart"]) == (["upkeep"], "unless-stopped")
    assert "queuewarden upkeep run --due" in upkeep["command"][0]
    for service in (guard, upkeep):
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert "pids_limit" in service
    secrets = (FOLDER / ".gitignore").read_text().split()
    assert {"prod_dsn", guard["env_file"]} <= set(secrets)


def engine() -> str:
    """An engine that answers at once, and has the base image."""
    (base,) = re.findall(r"^ARG BASE=(\S+)$", CONTAINERFILE.read_text(), re.MULTILINE)
    base = os.environ.get("QW_TEST_BASE", base)
    reasons = []
    for name in ("docker", "podman"):
        if shutil.which(name) is None:
            reasons.append(f"no {name}")
            continue
        try:
            answered = called(name, "info", seconds=5).returncode == 0
            there = answered and called(name, "image", "inspect", base, seconds=10).returncode == 0
        except subprocess.TimeoutExpired:
            answered = there = False
        if there:
            os.environ["QW_TEST_BASE"] = base
            return name
        reasons.append(f"{name} has no image {base}" if answered else f"{name} does not answer")
    pytest.skip(f"the container is not built: {', '.join(reasons)}")


def called(*command: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds, cwd=CHECKOUT)


@pytest.fixture(scope="module")
def image() -> Iterator[tuple[str, str]]:
    """The engine, and the image that it built."""
    name, tag = engine(), f"queuewarden-test-{uuid.uuid4().hex[:8]}"
    # Without extras: they are tried where they are installed, and are most of the time that it takes.
    arguments = [f"--build-arg=BASE={os.environ['QW_TEST_BASE']}", "--build-arg=EXTRAS=", "--tag", tag]
    formats = ["--format", "docker"] if name == "podman" else []
    more = os.environ.get("QW_TEST_BUILD", "").split()
    built = called(
        name, "build", "--file", str(CONTAINERFILE), *formats, *arguments, *more, ".", seconds=BUILD_SECONDS
    )
    assert built.returncode == 0, built.stderr[-3000:]
    try:
        yield name, tag
    finally:
        called(name, "image", "rm", "--force", tag)


@pytest.mark.timeout(BUILD_SECONDS + 60)
def test_it_is_built_and_answers(image: tuple[str, str]) -> None:
    name, tag = image
    (inspected,) = json.loads(called(name, "image", "inspect", tag).stdout)
    assert inspected["Config"]["User"] == "10001:10001"
    # Podman lists it beside the rest.
    checked: dict[str, Any] = inspected["Config"].get("Healthcheck") or inspected["Healthcheck"]
    assert checked["Test"] == ["CMD", "queuewarden", "status"]
    limits = ["--rm", "--read-only", "--cpus=0.1", "--memory=256m"]
    version = called(name, "run", *limits, tag, "--version")
    assert version.stdout.startswith("queuewarden, version "), version.stderr
    idle = called(name, "run", *limits, tag, "status")
    assert idle.returncode == 1
    assert "there is no status file" in idle.stderr
    unconfigured = called(name, "run", *limits, tag)
    assert unconfigured.returncode == 78
    assert "no environment is configured" in unconfigured.stderr


@pytest.mark.timeout(BUILD_SECONDS + 120)
def test_it_starts_and_tells_how_it_is(image: tuple[str, str]) -> None:
    name, tag = image
    limits = [
        "--read-only",
        "--cap-drop=ALL",
        "--cpus=0.1",
        "--memory=256m",
        "--tmpfs=/tmp:mode=1777,size=16m",
    ]
    dsn = ["--env", "QUEUEWARDEN_ENV__PROD__DSN=host=127.0.0.1 port=1 dbname=nowhere"]
    started = called(name, "run", "--detach", *limits, *dsn, tag)
    assert started.returncode == 0, started.stderr
    container = started.stdout.strip()
    try:
        eventually(
            lambda: "connection refused" in called(name, "exec", container, "queuewarden", "status").stdout,
            what="a status file that tells it",
            seconds=90,
        )
        assert called(name, "stop", "--time=10", container).returncode == 0
        ended = called(name, "inspect", "--format", "{{.State.ExitCode}}", container)
        assert ended.stdout.strip() == "0"
    finally:
        called(name, "rm", "--force", container)
