"""What an alert is called: the same in each of its lives, readable, and safe in a URL and a shell."""

from __future__ import annotations

import re
from hashlib import blake2s
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from queuewarden.engine.alerting.notices import About

LONGEST = 40
"""Characters of one part that are taken as they are."""

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*", re.ASCII)
_STRANGE = re.compile(r"[^A-Za-z0-9_-]+", re.ASCII)


def alert_id(rule: str, about: About) -> str:
    """From a rule and what it found, as ``RULE.ENVIRONMENT.QUEUE.SUBJECT``.

    A part that does not apply is ``-``, and absent at the end; of one that is long or holds other characters
    a few are kept, and a digest tells it from its like.
    """
    parts = [rule, *about]
    while not parts[-1]:
        parts.pop()
    return ".".join(map(_part, parts))


def _part(text: str) -> str:
    if not text:
        return "-"
    if len(text) <= LONGEST and _PLAIN.fullmatch(text):
        return text
    digest = blake2s(text.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
    # No plain part holds a tilde, so that none can look like this one.
    return f"{_STRANGE.sub('-', text)[:20].strip('-')}~{digest}"
