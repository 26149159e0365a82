"""Drawing: from views to the lines of a frame, at most so wide and so high. Touches no terminal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from rich.text import Text

from queuewarden.application.top.blocks import DETAILS, Columns, body
from queuewarden.application.top.view import ordered

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import timedelta

    from queuewarden.application.top.view import Order, View


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person at the keys wants to see.

    Attributes:
        detail: below `DETAILS`; None: as much as there is room for.
        offset: the first line of the body that is shown.
        paused: nothing is looked at.
    """

    order: Order = "problems"
    detail: int | None = None
    offset: int = 0
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame.

    Attributes:
        lines: from top to bottom.
        wish: the wish as it could be met: its offset lies within the body.
        page: lines of the body that are shown at once.
    """

    lines: list[Text]
    wish: Wish
    page: int


def frame(views: Iterable[View], wish: Wish, every: timedelta, width: int, height: int | None) -> Frame:
    """The lines of one frame.

    Args:
        views: of all environments.
        wish: see `Wish`.
        every: time between two looks.
        width: of the terminal, in cells.
        height: of the terminal; None: as many lines as it takes, without keys to press.
    """
    shown = ordered(views, wish.order)
    columns = Columns.of(shown, width)
    head = [_title(shown, wish, every), columns.heading()]
    if height is None:
        lines = list(body(shown, DETAILS - 1 if wish.detail is None else wish.detail, columns))
        return Frame(_fitting([*head, *lines], width), wish, len(lines))
    page = max(height - len(head) - 1, 1)
    lines = _roomy(shown, wish.detail, columns, page)
    wish = replace(wish, offset=max(0, min(wish.offset, len(lines) - page)))
    seen = lines[wish.offset : wish.offset + page]
    keys = _keys(wish, len(lines), page)
    filler = [Text()] * (page - len(seen))
    return Frame(_fitting([*head, *seen, *filler, keys][:height], width), wish, page)


def _roomy(views: Sequence[View], detail: int | None, columns: Columns, page: int) -> list[Text]:
    """The body in the detail that is wished, else in as much as there is room for."""
    if detail is not None:
        return list(body(views, detail, columns))
    for level in range(DETAILS - 1, 0, -1):
        lines = list(islice(body(views, level, columns), page + 1))
        if len(lines) <= page:
            return lines
    return list(body(views, 0, columns))


def _title(views: Sequence[View], wish: Wish, every: timedelta) -> Text:
    up = sum(view.status.state == "up" for view in views)
    line = Text.assemble(
        ("queuewarden top", "bold"),
        f"  {datetime.now(UTC):%H:%M:%S} UTC  ",
        (f"{up}/{len(views)} up", "green" if up == len(views) else "bold red"),
        f"  every {every.total_seconds():g} s  sorted by {wish.order}",
    )
    return line.append("  PAUSED", "bold yellow") if wish.paused else line


def _keys(wish: Wish, total: int, page: int) -> Text:
    line = Text("q quit  p pause  s sort  d detail  ↑↓ PgUp PgDn scroll", "dim")
    if total > page:
        line.append(f"  lines {wish.offset + 1} to {min(wish.offset + page, total)} of {total}", "bold")
    return line


def _fitting(lines: Iterable[Text], width: int) -> list[Text]:
    fitted = []
    for line in lines:
        copy = line.copy()
        copy.no_wrap = True
        copy.truncate(width, overflow="ellipsis")
        fitted.append(copy)
    return fitted
