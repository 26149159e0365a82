"""Numbers as people read them, the same in the terminal, in HTML and in messages."""

from __future__ import annotations

from datetime import UTC, datetime

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_THOUSAND = 1024.0
UNKNOWN = "unknown"


def number(value: float | None) -> str:
    """Three digits that matter, or the whole number."""
    if value is None:
        return UNKNOWN
    if abs(value) >= 100 or value == int(value):  # noqa: PLR2004 -- what is behind the point does not matter
        return f"{round(value):,}".replace(",", " ")
    return f"{value:.3g}"


def counted(value: float, noun: str) -> str:
    """So many of something."""
    return f"{number(value)} {noun}{'' if value == 1 else 's'}"


def percent(share: float | None) -> str:
    """A share, never rounded to all or nothing."""
    if share is None:
        return UNKNOWN
    if share in (0, 1):
        return f"{share:.0%}"
    digits = next((one for one in (1, 2, 3) if 0 < round(share * 100, one) < 100), 4)  # noqa: PLR2004 -- per cent
    return f"{share * 100:.{digits}f}%"


def span(seconds: float | None) -> str:
    """A time: two units at most."""
    if seconds is None:
        return UNKNOWN
    if seconds == 0:
        return "0 s"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:  # noqa: PLR2004 -- a minute
        return f"{seconds:.3g} s"
    whole = round(seconds)
    for size, unit, smaller, name in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {name}" if rest else "")
    return f"{whole} s"


def size(value: float | None) -> str:
    """Bytes."""
    if value is None:
        return UNKNOWN
    amount, unit = float(value), 0
    while abs(amount) >= _THOUSAND and unit < len(_UNITS) - 1:
        amount, unit = amount / _THOUSAND, unit + 1
    return f"{amount:.3g} {_UNITS[unit]}" if abs(amount) < 1000 else f"{amount:.0f} {_UNITS[unit]}"  # noqa: PLR2004


def months(value: float | None, low: float | None, high: float | None) -> str:
    """Months until something, with their bounds."""
    if value is None:
        return f"not before {low:.1f} months" if low is not None else "not within ten years"
    if value == 0:
        return "reached"
    upper = "never" if high is None else f"{high:.1f}"
    return f"{value:.1f} months ({value if low is None else low:.1f} to {upper})"


def moment(at: float) -> str:
    """A moment in UTC, to the minute."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"
