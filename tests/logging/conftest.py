"""Logging is the process's own: each test gets it fresh and leaves it as it was."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from queuewarden.adapters.logging import setup

import structlog  # isort: skip -- the package above decides how it is loaded

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def fresh_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("NO_COLOR", "TERM", "JOURNAL_STREAM"):
        monkeypatch.delenv(name, raising=False)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    if setup._pipe is not None:
        setup._pipe.sink.close()
        setup._pipe = None
