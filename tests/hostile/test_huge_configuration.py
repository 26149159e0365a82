"""Names, values and files of any size: refused at once, in a few words."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from queuewarden.errors import ConfigurationError, UnavailableError
from queuewarden.settings import load
from queuewarden.settings.secret import DsnSource

NOWHERE = Path("/nowhere/at/all")
PATIENCE = 5.0
"""Seconds of processor time; the slowest took 80 s when only the shape of names decided."""

NAMES = {
    "a run of underscores": "ENV" + "_" * 2000 + "X",
    "many single ones": "ENV_" + "A_" * 1000 + "X",
    "many parts": "ENV__" + "B__" * 20_000,
    "nearly a right name": "ENV__A__QUEUE" + "_" * 1000 + "MODE_",
    "a right name again and again": "ENV_A_QUEUE_" * 200 + "MODEX",
    "one long word": "A" * 100_000,
    "an environment": f"ENV__{'A' * 64}__DSN",
    "a queue": f"QUEUE__{'A' * 5000}__MODE",
}
VALUES = (
    "a," * 50_000,
    '"' * 100_000,
    'x"y"' * 30_000,
    " " * 100_000,
    "9" * 100_000,
    " #" * 50_000,
    "->" * 50_000,
)
VARIABLES = (
    "QUEUE__M__JOBS__ID", "QUEUE__M__JOBS__TABLE", "QUEUE__M__POSITIONS__ORDER_BY", "QUEUE__M__REFERENCES",
    "QUEUE__M__TIMESTAMPS", "QUEUE__M__STATES__WAITING", "QUEUE__M__JOBS__TIME_ZONE", "QUEUE__M__PRESET",
    "ENV__DEFAULT__QUEUES", "CHECKS", "BATCH", "DSN",
)  # fmt: skip


def faults(environ: dict[str, str], file: Path | None = None) -> list[str]:
    began = time.thread_time()
    with pytest.raises(ConfigurationError) as raised:
        load.load(environ, file, default_file=NOWHERE, credentials=NOWHERE)
    assert time.thread_time() - began < PATIENCE
    assert max(map(len, raised.value.faults)) < 500
    return raised.value.faults


@pytest.mark.parametrize("name", NAMES)
def test_names(name: str) -> None:
    (fault,) = faults({"QUEUEWARDEN_DSN": "host=h", f"QUEUEWARDEN_{NAMES[name]}": "1"})
    assert fault.startswith("QUEUEWARDEN_")


@pytest.mark.parametrize("variable", VARIABLES)
def test_values(variable: str) -> None:
    for value in VALUES:
        told = faults({"QUEUEWARDEN_DSN": "host=h"} | {f"QUEUEWARDEN_{variable}": value})
        assert f"QUEUEWARDEN_{variable} (process environment): a value of more than 10000 characters" in told


def test_files(tmp_path: Path) -> None:
    (tmp_path / "large.env").write_text("A=b\n" * 300_000)
    for file in (Path("/dev/zero"), tmp_path / "large.env"):
        assert faults({}, file)[0] == f"{file}: more than 1000000 characters, which no configuration has"


def test_secrets(tmp_path: Path) -> None:
    (tmp_path / "large").write_text("host=h " * 10_000)
    for file, fault in (
        (Path("/dev/zero"), "is no file"),
        (tmp_path / "large", "more than 10000 characters"),
    ):
        with pytest.raises(UnavailableError, match=fault):
            DsnSource("", path=file).read()
