"""The log is the process's own: what a test sets up there is taken back."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

import structlog

from queuewarden.adapters.logging import setup

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def restored_logging() -> Iterator[None]:
    """Put logging back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(capture=False)
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
        if setup._pipe is not None:
            setup._pipe.sink.close()
            setup._pipe = None
