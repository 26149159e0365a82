"""The unix socket to listen on: for the owner and the group; what a killed daemon left behind is removed."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MODE = 0o660


def bound(path: Path) -> socket.socket:
    """A socket that is bound to a path.

    Raises:
        OSError: it cannot be; or somebody listens there, or it is no socket: neither is touched.
    """
    _remove_stale(path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        # Before it has a name: nobody else may come in between.
        os.fchmod(made.fileno(), MODE)
        try:
            made.bind(str(path))
        except OSError as error:
            # "AF_UNIX path too long" has no number.
            raise OSError(error.errno or errno.ENAMETOOLONG, error.strerror or str(error)) from None
        path.chmod(MODE)
    except BaseException:
        made.close()
        raise
    return made


def remove(path: Path) -> None:
    """Remove a socket that is not listened on any more, if it is there."""
    with contextlib.suppress(OSError):
        _remove_stale(path)


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "there is something else of this name, which is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # noqa: FBT003 -- the standard library's own
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass  # somebody listens, and is busy
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
