"""A report as one page of HTML that needs nothing else: no script, no other host, its style sheet inside."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

from queuewarden.application.upkeep.report_views import charts
from queuewarden.application.upkeep.report_views.charts import Series
from queuewarden.application.upkeep.report_views.markup import Markup, tag
from queuewarden.application.upkeep.report_views.words import grows, measured, reaches, worst_words
from queuewarden.engine.upkeep.report.values import BIN
from queuewarden.engine.upkeep.report.wording import moment, number, percent, span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from queuewarden.engine.upkeep.report.values import Growth, QueueFigures, Report, Step

ROWS = 100
"""Rows that a table has at most, of repairs and errors."""


class Cell(NamedTuple):
    """A cell of a table."""

    inner: str
    number: bool = False


def page(reports: Mapping[str, Report | str]) -> str:
    """The page: reports of several environments; of one that was not reached, why."""
    sheet = _sheet()
    digest = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    told = [one for one in reports.values() if not isinstance(one, str)]
    period = told[0].frame.period if told else ""
    until = f" until {moment(max(one.frame.until for one in told))} UTC" if told else ""
    title = f"Queues: {period}{until}" if told else "Queues"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title}: {', '.join(reports)}"),
        tag("style", Markup(sheet)),
    )
    links = [tag("li", tag("a", name, href=f"#{name}")) for name in reports]
    body = tag(
        "body",
        tag("header", tag("h1", title), tag("p", "What queuewarden saw and did.", class_="muted")),
        tag("nav", tag("ul", links), aria_label="Environments"),
        tag("main", [_environment(name, one) for name, one in reports.items()]),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


@cache
def _sheet() -> str:
    place = resources.files("queuewarden.application.upkeep.report_views")
    return (place / "report.css").read_text(encoding="utf-8")


def _environment(name: str, report: Report | str) -> Markup:
    heading = tag("h2", name, id=f"{name}-heading")
    if isinstance(report, str):
        inner: list[Markup] = [tag("p", f"Nothing is known: {report}", class_="note")]
    else:
        inner = list(_parts(name, report))
    return tag("section", heading, inner, id=name, aria_labelledby=f"{name}-heading")


def _parts(name: str, report: Report) -> Iterator[Markup]:
    frame = report.frame
    yield tag("p", f"{moment(frame.since)} to {moment(frame.until)} UTC", class_="muted")
    yield _key(report)
    yield tag("div", list(_charts(name, report)), class_="charts")
    if report.recommendations:
        yield tag("h3", "Recommended")
        yield tag(
            "ol",
            [
                tag(
                    "li",
                    tag("b", f"{f'{one.queue}: ' if one.queue else ''}{one.text}"),
                    tag("p", f"Because {one.reason}.", class_="muted"),
                )
                for one in report.recommendations
            ],
            class_="advice",
        )
    if report.queues:
        yield tag("h3", "Queues")
        yield _queues(name, report.queues)
    if report.repairs:
        yield tag("h3", "Repaired, and why")
        yield _repaired(report)
    if report.errors:
        yield tag("h3", "What failed jobs say")
        yield _errors(report)
    if report.worst:
        yield tag("h3", "Hours that stand out")
        yield _table(
            "The worst three of each kind, in UTC",
            ("Hour", "What", "Queue"),
            [
                (Cell(moment(one.at)), Cell(worst_words(one)), Cell(one.queue or "all"))
                for one in report.worst
            ],
        )
    if report.growth:
        yield tag("h3", "Growth")
        yield _growing(name, report.growth)
    notes = [*report.notes, *(f"{one.queue}: {lack}" for one in report.queues for lack in one.lacks)]
    if notes:
        yield tag("h3", "What is not known")
        yield tag("ul", [tag("li", note, class_="note") for note in notes])


def _key(report: Report) -> Markup:
    found, totals = report.availability, report.totals
    rows = (
        ("Available", percent(found.share)),
        ("Down", span(found.down)),
        ("Unknown", span(found.unknown)),
        ("Jobs done", number(totals.done)),
        ("Jobs failed", number(totals.failed)),
        ("Jobs arrived", number(totals.arrived)),
        ("Rows repaired", number(totals.repaired)),
        ("Taken back", number(totals.taken_back)),
    )
    return tag("dl", [tag("div", tag("dt", word), tag("dd", value)) for word, value in rows], class_="key")


def _charts(name: str, report: Report) -> Iterator[Markup]:
    steps, length = report.steps, BIN[report.frame.period]
    ats, each = [one.at for one in steps], f"each {span(length)}"
    yield charts.availability(f"{name}-up", f"Availability, {each}", steps, length)
    ended = [
        Series("done", "one", [one.done_per_hour for one in steps]),
        Series("failed", "bad", [one.failed_per_hour for one in steps]),
    ]
    yield charts.lines(f"{name}-ended", "Jobs that ended, an hour", ats, ended)
    yield charts.lines(
        f"{name}-waiting", "Jobs that waited", ats, [Series("waiting", "two", [one.waiting for one in steps])]
    )
    yield charts.lines(
        f"{name}-repaired",
        f"Rows repaired, {each}",
        ats,
        [Series("repaired", "one", [one.repaired for one in steps])],
    )
    yield tag("details", tag("summary", "These charts as a table"), _steps(steps))


def _steps(steps: Sequence[Step]) -> Markup:
    heads = ("From", "Up", "Down", "Done", "Failed", "Waiting", "Repaired")
    rows = [
        (
            Cell(moment(one.at)),
            Cell(span(one.up), number=True),
            Cell(span(one.down), number=True),
            Cell(number(one.done), number=True),
            Cell(number(one.failed), number=True),
            Cell(number(one.waiting), number=True),
            Cell(number(one.repaired), number=True),
        )
        for one in steps
    ]
    return _table("The steps of the charts, in UTC", heads, rows)


def _queues(name: str, queues: Sequence[QueueFigures]) -> Markup:
    heads = (
        "Queue", "Done", "Failed", "Failed share", "Ended an hour", "Came an hour", "p50", "p95", "p99",
        "Stuck after", "Longer than that", "Waiting", "Oldest", "Repaired", "Done and failed an hour",
    )  # fmt: skip
    rows = []
    for place, one in enumerate(queues):
        series = [
            Series("done", "one", [step.done_per_hour for step in one.steps]),
            Series("failed", "bad", [step.failed_per_hour for step in one.steps]),
        ]
        figures = (
            number(one.done),
            number(one.failed),
            percent(one.failure_rate),
            number(one.per_hour),
            number(one.arrived_per_hour),
            span(one.p50),
            span(one.p95),
            span(one.p99),
            span(one.thresholds.stuck_after if one.thresholds is not None else None),
            number(one.beyond),
            number(one.waiting),
            span(one.oldest_most),
            number(one.repaired),
        )
        known = any(value is not None for part in series for value in part.values)
        spark = (
            charts.small(f"{name}-q{place}", f"{one.queue}: done and failed", series) if known else "unknown"
        )
        rows.append((Cell(one.queue), *(Cell(text, number=True) for text in figures), Cell(spark)))
    return _table("Throughput, failures and run times, against the limits in force", heads, rows)


def _repaired(report: Report) -> Markup:
    rows = [
        (
            Cell(number(one.rows), number=True),
            Cell(one.queue),
            Cell(one.check),
            Cell(one.event),
            Cell(one.reason),
        )
        for one in report.repairs[:ROWS]
    ]
    more = (
        f"; {len(report.repairs) - ROWS} further reasons are left out" if len(report.repairs) > ROWS else ""
    )
    return _table(
        f"Rows by check and reason, as the ledger has them{more}",
        ("Rows", "Queue", "Check", "Event", "Reason"),
        rows,
    )


def _errors(report: Report) -> Markup:
    rows = [
        (
            Cell(number(one.count), number=True),
            Cell(one.queue),
            Cell(one.pattern),
            Cell((one.last or "unknown")[:16].replace("T", " ")),
            Cell(one.example_id),
        )
        for one in report.errors
    ]
    return _table(
        "Patterns of the latest failures, the most frequent first; what differs is left open",
        ("Failures", "Queue", "What they say", "Last", "Latest job"),
        rows,
    )


def _growing(name: str, growth: Sequence[Growth]) -> Markup:
    rows = [
        (
            Cell(one.table or one.queue),
            Cell("highest key" if one.measure == "key" else "size"),
            Cell(measured(one, one.now), number=True),
            Cell(grows(one), number=True),
            Cell(f"{measured(one, one.limit)}, {one.limit_is}"),
            Cell(reaches(one)),
            Cell(charts.points(f"{name}-g{place}", f"{one.table} {one.measure}", "By day.", one.points)),
        )
        for place, one in enumerate(growth)
    ]
    return _table(
        "A straight line through up to 90 days, with bounds that hold in 90 of 100 cases",
        ("Table", "Of", "Now", "A month", "Limit", "Reached in", "By day"),
        rows,
    )


def _table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Markup:
    numeric = [bool(rows) and rows[0][place].number for place in range(len(heads))]
    head = tag(
        "tr",
        [
            tag("th", word, scope="col", class_="num" if right else None)
            for word, right in zip(heads, numeric, strict=True)
        ],
    )
    body = [
        tag("tr", [tag("td", cell.inner, class_="num" if cell.number else None) for cell in row])
        for row in rows
    ]
    inner = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", body))
    return tag("div", inner, class_="scroll", tabindex="0", role="region", aria_label=caption)
