"""The log: events with fields, redacted, to a terminal, the journal or as JSON lines.

Import this before structlog: whoever comes first decides whether rich is loaded with it.
"""

from __future__ import annotations

import importlib
import sys


def _import_structlog_without_rich() -> None:
    """Load structlog without its pretty tracebacks, which cost 0.2 s and 6 MB and are never used here."""
    if "rich" in sys.modules or "structlog" in sys.modules:
        return
    # Python's own way to say "not installed".
    sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        importlib.import_module("structlog")
    finally:
        del sys.modules["rich"]


_import_structlog_without_rich()

from queuewarden.adapters.logging.setup import configure, set_level  # noqa: E402 -- only after the above

__all__ = ["configure", "set_level"]
