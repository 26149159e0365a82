"""Markup that cannot be broken by what stands in it: whatever is no `Markup` yet is escaped."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from queuewarden.redact import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

_EMPTY = frozenset({"meta", "path", "rect", "circle"})


class Markup(str):
    """Markup, not text."""

    __slots__ = ()


def tag(name: str, /, *children: str | Iterable[Markup], **attributes: str | float | None) -> Markup:
    """An element. ``class_`` is class, ``aria_label`` aria-label; an attribute of None is left out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(escaped(one) if isinstance(one, str) else "".join(one) for one in children)
    if name in _EMPTY:
        return Markup(f"<{name}{given}/>")
    return Markup(f"<{name}{given}>{inner}</{name}>")


def escaped(text: str) -> str:
    """Text as markup; what would hide or reorder text is shown as what it is."""
    return text if isinstance(text, Markup) else html.escape(visible(text))
