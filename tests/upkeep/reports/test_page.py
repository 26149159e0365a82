"""The page of a report: nothing that it shows can break it, and a browser finds nothing amiss."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from page.viewer import _AUDIT
from upkeep.reports import making

from queuewarden.application.upkeep.report_views.charts import ceiling
from queuewarden.application.upkeep.report_views.markup import tag
from queuewarden.application.upkeep.report_views.page import page
from queuewarden.application.upkeep.reports import cleaned
from queuewarden.engine.reading.failures import Failure
from queuewarden.engine.upkeep.report.build import Builder, Recorded, Subject
from queuewarden.engine.upkeep.report.values import Frame, Repairs, Report, Thresholds

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

NOON = 20_000 * 86_400 + 12 * 3600
HOSTILE = (
    "</title></style><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "<svg/onload=alert(1)>'\"><style>@import 'http://evil.example/x.css'</style>&lt;b&gt; \u202egnp.exe\x00"
)
WIDE = "a_rather_long_name_of_a_queue_that_somebody_chose_long_ago"


def made(text: str, queues: int = 3) -> Report:
    """A report in which whatever may come from a database is this text."""
    frame = Frame("prod", "month", NOON - 30 * 86_400, NOON + 600)
    repairs = tuple(Repairs(f"q{n}", text, text, f"{text}{n}", n + 1) for n in range(30))
    builder = Builder(frame, Recorded(repairs, {NOON - 7200: 465}, 40), [f"note: {text}"])
    for number in range(queues):
        name = f"q{number}" if number else WIDE
        hours = [
            making.hour(at, name, done=100 + at % 977, failed=at % 41)
            for at in range(frame.since, NOON, 7200)
        ]
        days = [
            making.day(NOON - number * 86_400, name, size=1e9 - number * 1e7) for number in range(30, 0, -1)
        ]
        subject = Subject(name, f"{text}.{text}", Thresholds(180, None, 60, 60), lacks=(text,))
        builder.queue(subject, hours, days)
    builder.queue(Subject("silent"), [])
    builder.failed(
        [("prod", "q1", Failure(text, None, f"{word} {text}")) for word in ("one", "two", "three")]
    )
    own = [
        making.environment(at, down=600 if at // 3600 % 50 == 0 else 0)
        for at in range(frame.since, NOON - 86_400, 3600)
    ]
    return cleaned(builder.report(own))


class Parser(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def test_no_text_becomes_markup() -> None:
    plain, hostile = Parser(page({"prod": made("x")})), Parser(page({"prod": made(HOSTILE)}))
    assert hostile.tags == plain.tags
    names = {name for name, _ in hostile.attributes}
    assert names == {name for name, _ in plain.attributes}
    assert not {name for name in names if name.startswith("on")} | (names & {"style", "src"})
    assert {value for name, value in hostile.attributes if name == "href"} == {"#prod"}
    assert "script" not in hostile.tags


def test_what_would_hide_text_is_shown() -> None:
    text = page({"prod": made("abc\u202edef\x1b[31m")})
    assert "\u202e" not in text
    assert "\x1b" not in text


def test_an_error_is_text_too() -> None:
    text = page({"prod": HOSTILE, "b": made("x")})
    assert Parser(text).tags.count("script") == 0
    assert "Nothing is known" in text


@settings(max_examples=50)
@given(st.text(), st.text())
def test_an_element_holds_what_it_was_given(inner: str, value: str) -> None:
    found: list[str] = []

    class Reader(HTMLParser):
        def handle_data(self, data: str) -> None:
            found.append(data)

    plain = {ord(one): "?" for one in "\r"}
    reader = Reader()
    reader.feed(tag("p", inner.translate(plain), title=value))
    reader.close()
    from queuewarden.redact import visible

    assert "".join(found) == visible(inner.translate(plain))
    assert Parser(tag("p", inner, title=value)).tags == ["p"]


@pytest.mark.parametrize(
    ("value", "top"),
    [(0, 1), (0.03, 0.04), (0.9, 1), (1, 1), (3, 4), (7, 8), (11, 20), (999, 1000), (1001, 2000)],
)
def test_charts_end_at_round_numbers(value: float, top: float) -> None:
    assert ceiling(value) == pytest.approx(top)


@pytest.mark.slow
@pytest.mark.xdist_group("page")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser(browser: Browser, tmp_path: Path, scheme: str) -> None:
    file = tmp_path / "report.html"
    file.write_text(page({"prod": made(HOSTILE), "gone": HOSTILE, "empty": empty()}))
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    asked: list[str] = []
    try:
        tab = context.new_page()
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("dialog", lambda dialog: said.append(dialog.message))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(file.as_uri())
        assert tab.title().startswith("Queues: month until 2024-10-04 12:10 UTC")
        assert tab.evaluate(f"inside => {{ {_AUDIT} return audit(inside); }}", "body") == []
        tab.click("summary")
        assert tab.locator("details table").first.is_visible()
        ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, ground.strip("rgb()").split(","))) > 380) == (scheme == "light")
        for width in (360, 768, 1280):
            tab.set_viewport_size({"width": width, "height": 740})
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
        tab.emulate_media(media="print")
        paper = 1030  # pixels between the margins of A4 in landscape
        tab.set_viewport_size({"width": paper, "height": 700})
        assert tab.evaluate("document.documentElement.scrollWidth") <= paper
        assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert said == []
        assert asked == [file.as_uri()]
    finally:
        context.close()


@pytest.mark.slow
@pytest.mark.xdist_group("page")
def test_the_audit_of_the_browser_would_tell(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(page({"prod": made("x")}).replace("--muted: #526070", "--muted: #d0d0d0"))
    context = browser.new_context(color_scheme="light")
    try:
        tab = context.new_page()
        said: list[str] = []
        tab.on("console", lambda message: said.append(message.text))
        tab.goto(file.as_uri())
        assert any("style" in one for one in said), "the policy knows the style sheet by its digest"
    finally:
        context.close()


def empty() -> Report:
    """A report of nothing."""
    return replace(Builder(Frame("empty", "day", NOON - 86_400, NOON)).report([]), notes=("nothing yet",))
