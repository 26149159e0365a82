"""Logging is the process's own: each test gets it fresh and leaves it as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fresh_logging import restored_logging

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def fresh_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("NO_COLOR", "TERM", "JOURNAL_STREAM"):
        monkeypatch.delenv(name, raising=False)
    with restored_logging():
        yield
