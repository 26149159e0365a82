"""Charts as SVG: shapes alone, stretched to the width there is; what they say stands beside them as text.

Lines are told apart by dashes and bars by height, not by colour alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from queuewarden.application.upkeep.report_views.markup import Markup, tag
from queuewarden.engine.upkeep.report.wording import moment, number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from queuewarden.engine.upkeep.report.values import Step

WIDTH, HEIGHT = 600.0, 100.0


class Series(NamedTuple):
    """What is drawn.

    Attributes:
        look: how: each has a colour and a line of its own in the style sheet.
    """

    name: str
    look: Literal["one", "two", "bad"]
    values: Sequence[float | None]


def lines(name: str, title: str, ats: Sequence[int], several: Sequence[Series]) -> Markup:
    """Lines over time; what is unknown is a gap. ``name`` is unique in the page."""
    known = [value for one in several for value in one.values if value is not None]
    most = max(known, default=0.0)
    top = ceiling(most)
    shapes: list[Markup] = [
        tag("path", class_="grid", d=f"M0 {_y(part * top, top)}H{WIDTH:g}") for part in (0.0, 0.5, 1.0)
    ]
    shapes += [tag("path", class_=f"line {one.look}", d=_path(one.values, top)) for one in several]
    told = [
        f"{one.name} up to {number(max(values))}"
        if (values := [value for value in one.values if value is not None])
        else f"{one.name} unknown"
        for one in several
    ]
    legend = tag("ul", [_entry(one, text) for one, text in zip(several, told, strict=True)], class_="legend")
    return _figure(name, title, ats, shapes, f"{title}: {', '.join(told)}.", legend, number(top))


def availability(name: str, title: str, steps: Sequence[Step], length: int) -> Markup:
    """A column for each step: up from the ground, down upon it, and what is unknown left open."""
    wide = WIDTH / max(1, len(steps))
    shapes: list[Markup] = [tag("rect", class_="open", width=WIDTH, height=HEIGHT)]
    for place, one in enumerate(steps):
        at, whole = place * wide, max(float(length), one.up + one.down)
        up, down = one.up / whole * HEIGHT, one.down / whole * HEIGHT
        if up > 0:
            shapes.append(_bar("up", at, HEIGHT - up, wide, up))
        if down > 0:
            down = max(down, HEIGHT / 12)  # a minute must be seen, too
            shapes.append(_bar("down", at, max(0.0, HEIGHT - up - down), wide, down))
    lost = [one for one in steps if one.down > 0]
    holes = sum(one.up + one.down <= 0 for one in steps)
    told = f"{title}: {len(steps)} steps, {len(lost)} of them with an outage, {holes} unknown."
    legend = tag(
        "ul",
        [
            tag("li", _swatch("up"), "up"),
            tag("li", _swatch("down"), "down"),
            tag("li", _swatch("open"), "unknown"),
        ],
        class_="legend",
    )
    return _figure(name, title, [one.at for one in steps], shapes, told, legend, "")


def small(name: str, title: str, several: Sequence[Series]) -> Markup:
    """Lines in a cell of a table."""
    top = ceiling(max((value for one in several for value in one.values if value is not None), default=0.0))
    shapes = [tag("path", class_=f"line {one.look}", d=_path(one.values, top)) for one in several]
    return _svg(name, title, f"Up to {number(top)} an hour.", shapes, "spark")


def points(name: str, title: str, told: str, found: Sequence[tuple[float, float]]) -> Markup:
    """What was measured on each day, by the day."""
    if len(found) < 2:  # noqa: PLR2004 -- a point is no line
        return Markup("")
    first, last = found[0][0], found[-1][0]
    top = ceiling(max(value for _, value in found))
    spots = [f"{(x - first) / (last - first) * WIDTH:.1f} {_y(value, top)}" for x, value in found]
    return _svg(name, title, told, [tag("path", class_="line one", d="M" + "L".join(spots))], "spark")


def ceiling(value: float) -> float:
    """The next round number."""
    if value <= 0:
        return 1.0
    power = 10.0 ** (len(str(int(value))) - 1) if value >= 1 else 10.0 ** -_zeros(value)
    return next((step * power for step in (1, 2, 4, 5, 6, 8, 10) if step * power >= value), value)


def _zeros(value: float) -> int:
    found = 1
    while value * 10**found < 1 and found < 12:  # noqa: PLR2004 -- as good as nothing
        found += 1
    return found


def _figure(
    name: str,
    title: str,
    ats: Sequence[int],
    shapes: Sequence[Markup],
    told: str,
    legend: Markup,
    top: str,
) -> Markup:
    ends = [moment(ats[0]), moment(ats[-1])] if ats else ["", ""]
    return tag(
        "figure",
        tag("figcaption", title),
        legend,
        tag("p", top, class_="top") if top else Markup(""),
        _svg(name, title, told, shapes, "chart"),
        tag("p", tag("span", ends[0]), tag("span", ends[1]), class_="ends"),
    )


def _svg(name: str, title: str, told: str, shapes: Sequence[Markup], look: str) -> Markup:
    return tag(
        "svg",
        tag("title", title, id=f"{name}-title"),
        tag("desc", told, id=f"{name}-desc"),
        shapes,
        class_=look,
        role="img",
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        preserveAspectRatio="none",
        aria_labelledby=f"{name}-title {name}-desc",
    )


def _entry(one: Series, text: str) -> Markup:
    swatch = tag("path", class_=f"line {one.look}", d="M0 50H600")
    return tag("li", _shape(swatch), text)


def _swatch(look: str) -> Markup:
    return _shape(tag("rect", class_=look, width=WIDTH, height=HEIGHT))


def _shape(inside: Markup) -> Markup:
    return tag(
        "svg",
        inside,
        class_="swatch",
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def _bar(look: str, at: float, above: float, wide: float, high: float) -> Markup:
    return tag(
        "rect", class_=look, x=f"{at:.2f}", y=f"{above:.2f}", width=f"{wide:.2f}", height=f"{high:.2f}"
    )


def _y(value: float, top: float) -> str:
    return f"{HEIGHT - 2 - value / top * (HEIGHT - 4):.1f}"


def _path(values: Sequence[float | None], top: float) -> str:
    wide = WIDTH / max(1, len(values) - 1)
    return "".join(_moves(values, lambda place: f"{place * wide:.1f}", top))


def _moves(values: Sequence[float | None], x: Callable[[int], str], top: float) -> Iterator[str]:
    drawing = False
    for place, value in enumerate(values):
        if value is None:
            drawing = False
            continue
        yield f"{'L' if drawing else 'M'}{x(place)} {_y(value, top)}"
        alone = not drawing and (place + 1 == len(values) or values[place + 1] is None)
        if alone:
            yield "h3"
        drawing = True
