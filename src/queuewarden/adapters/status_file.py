"""The daemon's last known state in one file, for ``queuewarden status``, with every database down."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from queuewarden.errors import QueuewardenError
from queuewarden.redact import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT = Path("/run/queuewarden/status.json")
VARIABLE = "QUEUEWARDEN_STATUS_FILE"


def path(environ: Mapping[str, str]) -> Path | None:
    """Where the status file is; None where ``QUEUEWARDEN_STATUS_FILE`` is empty, which turns it off.

    Nothing set, it is in /run/queuewarden, or, where that is not ours to write, below ``XDG_RUNTIME_DIR``.
    """
    for name, value in environ.items():
        if name.upper() == VARIABLE:
            return Path(value) if value else None
    directory = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if directory:
        return Path(directory) / DEFAULT.name
    return DEFAULT if os.access(DEFAULT.parent, os.W_OK) else _own(environ) or DEFAULT


def prepared(environ: Mapping[str, str]) -> Path | None:
    """As ``path``, for the writer: the directory below a user's own runtime directory is made."""
    chosen = path(environ)
    if chosen is not None and chosen == _own(environ):
        with contextlib.suppress(OSError):  # writing says what is wrong there
            chosen.parent.mkdir(mode=0o700, exist_ok=True)
    return chosen


def latest(environ: Mapping[str, str]) -> Path | None:
    """As ``path``, for a reader: of a user's own daemon and the system's, whichever spoke last."""
    chosen, own = path(environ), _own(environ)
    if own is None or chosen not in {own, DEFAULT}:
        return chosen
    return max((chosen, own, DEFAULT), key=_written)


def _own(environ: Mapping[str, str]) -> Path | None:
    directory = environ.get("XDG_RUNTIME_DIR", "")
    return Path(directory, *DEFAULT.parts[-2:]) if directory.startswith("/") else None


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Replace the file at once, readable by everybody: a reader sees the old document or the new one.

    Texts are redacted; durations become seconds, times ISO 8601. The directory must exist.

    Raises:
        OSError: the file cannot be written; the old one is still there.

    """
    # Keys are names of environments and queues here: one called "token" hides no secret.
    # On one line: with indentation, the library leaves its encoder in C for a slow one.
    text = json.dumps(redact(document, names=False), default=_plain)
    if path.exists() and not path.is_file():
        # Replacing a device such as /dev/null would take it away from everybody.
        raise OSError(errno.EINVAL, "not a regular file")
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text + "\n")
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read(path: Path) -> dict[str, Any]:
    """The document that the daemon wrote last.

    Raises:
        QueuewardenError: the file is missing, unreadable or no status document; the message says what to do.

    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise QueuewardenError(
            f"{path}: there is no status file; is the daemon running? If it writes elsewhere, set {VARIABLE}"
        ) from None
    except OSError as error:
        raise QueuewardenError(f"{path}: the status file cannot be read: {error.strerror}") from error
    except ValueError as error:  # neither UTF-8 nor JSON
        raise QueuewardenError(
            f"{path}: the status file is broken ({error}); the daemon replaces it with its next sweep"
        ) from error
    if not isinstance(document, dict):
        raise QueuewardenError(f"{path}: this is not a status file of queuewarden; set {VARIABLE}")
    return document


def _plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        return round(value.total_seconds(), 3)
    return value.isoformat() if isinstance(value, date) else str(value)
