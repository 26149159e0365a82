"""Writing a file as a whole: whoever reads it finds the old one or the new one, never half of either."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from queuewarden.errors import QueuewardenError

MODE = 0o640
"""Of a file that was not there before; one that was keeps its own."""


def write(path: Path, text: str) -> None:
    """Replace the file at once. Its folder must be there.

    Raises:
        QueuewardenError: it cannot be written, for the reason that is told; what was there still is.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else MODE
        if path.exists() and not path.is_file():
            # Replacing a device such as /dev/null would take it away from everybody.
            raise QueuewardenError(f"{path} is no regular file")
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                os.fchmod(file.fileno(), mode)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise QueuewardenError(f"{path} cannot be written: {error.strerror}") from error
