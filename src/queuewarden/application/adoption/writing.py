"""Variables as lines of a configuration file, and into one: whole or not at all, never over what is there."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from typing import TYPE_CHECKING

from queuewarden.redact import visible
from queuewarden.settings.envfile import EnvFileError, parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_BARE = re.compile(r"[^\s\"'\\;#$`](?:[^\n\r\"'\\;#$`\t]*[^\s\"'\\;#$`])?")
_ESCAPED = re.compile(r'(["\\`$])')
_NEW = 0o600


class WriteError(Exception):
    """The file was not written; the message says why, and nothing of it has changed."""


def line(name: str, value: str) -> str:
    """A variable as a line of a file, in the grammar of ``settings.envfile``."""
    if _BARE.fullmatch(value):
        return f"{name}={value}"
    if "'" not in value:
        return f"{name}='{value}'"
    escaped = _ESCAPED.sub(r"\\\1", value)
    return f'{name}="{escaped}"'


def append(file: Path, blocks: Sequence[tuple[str, Mapping[str, str]]]) -> None:
    """Put variables at the end of a file, which is made where there is none.

    Args:
        file: which; a link is followed.
        blocks: a comment, and the variables that it is about.

    Raises:
        WriteError: one of them stands there already, or it cannot be written.
    """
    try:
        file = file.resolve()
        before = file.read_text(encoding="utf-8") if file.exists() else ""
        known = {one.key.upper(): one.line for one in parse(before)}
    except (OSError, EnvFileError, UnicodeError) as error:
        raise WriteError(f"{_shown(file)} cannot be added to: {_why(error)}") from None
    for _, variables in blocks:
        for name in variables:
            if name.upper() in known:
                raise WriteError(
                    f"{_shown(file)}, line {known[name.upper()]} has {name} already: nothing was written"
                )
    after = before if not before or before.endswith("\n") else f"{before}\n"
    for comment, variables in blocks:
        told = "\n".join(f"# {one}" for one in comment.splitlines())
        lines = "\n".join(line(name, value) for name, value in variables.items())
        after += f"{'' if not after else chr(10)}{told}\n{lines}\n"
    try:
        _replace(file, after)
    except OSError as error:
        raise WriteError(f"{_shown(file)} cannot be written: {_why(error)}") from None


def _replace(file: Path, text: str) -> None:
    """The file's new content, all at once; owner and mode as before, or for its owner alone."""
    there = file.stat() if file.exists() else None
    handle, name = tempfile.mkstemp(prefix=f".{file.name[:100]}.", dir=file.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fchmod(handle, _NEW if there is None else there.st_mode & 0o7777)
            if there is not None and (there.st_uid, there.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(handle, there.st_uid, there.st_gid)
            os.fsync(handle)
        os.replace(name, file)  # noqa: PTH105 -- a temporary name, not a path of ours
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)  # noqa: PTH108 -- as above
        raise


def _shown(file: Path) -> str:
    return visible(str(file))


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error) if isinstance(error, EnvFileError) else "not UTF-8 text"
