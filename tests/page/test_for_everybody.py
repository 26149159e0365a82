"""The page for those who use a keyboard, a phone, a dark room or a screen reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from eventually import eventually
from page.viewer import READ, WRITE

if TYPE_CHECKING:
    from collections.abc import Callable

    from page.conftest import Place
    from page.viewer import Viewer

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("page")]

BOTH = {"read": READ, "write": WRITE}
WIDTHS = (360, 768, 1280)


@pytest.fixture
def busy(place: Place) -> Place:
    """Findings, repairs and an alert are there to be shown."""
    count = len(place.daemon.events("jobs.reset"))
    place.staging.execute("INSERT INTO jobs (position, lane) SELECT 5, 1 FROM generate_series(1, 3)")
    place.prod.execute(
        "INSERT INTO jobs (status, worker, started_at) VALUES ('running', 'w1', now() - interval '1 h')"
    )
    place.daemon.wait_for("jobs.reset", count=count + 1)
    return place


def opened(viewer: Viewer) -> None:
    """Have everything shown that can be."""
    viewer.choose("staging")
    viewer.page.check("#ended")
    viewer.all("[data-key='staging/mail'] summary").first.click()
    viewer.page.get_by_role("button", name="Check staging/mail now").click()
    viewer.page.wait_for_selector(".verdict")
    viewer.page.wait_for_selector("#repair-list li")
    viewer.page.wait_for_selector(".alert")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_hinders_anybody(visit: Callable[..., Viewer], busy: Place, scheme: str) -> None:
    viewer = visit(color_scheme=scheme)
    opened(viewer)
    assert viewer.audit() == []
    viewer.all(".alert").get_by_role("button", name="Suppress").first.click()
    assert viewer.audit("#suppress-dialog") == []
    viewer.page.fill("#suppress-reason", "audit")
    viewer.page.keyboard.press("Enter")
    viewer.page.wait_for_selector("#token-dialog[open]")
    assert viewer.audit("#token-dialog") == []
    viewer.page.keyboard.press("Escape")
    viewer.page.wait_for_selector(".notice.bad")
    assert viewer.audit(".notices") == []
    viewer.all("[data-key='staging/mail']").get_by_role("button", name="Repair staging/mail").click()
    assert viewer.audit("#sure-dialog") == []


def test_the_audit_finds_what_is_wrong(visit: Callable[..., Viewer]) -> None:
    viewer = visit()
    viewer.page.evaluate("""() => {
        const main = document.querySelector('main');
        for (const tag of ['button', 'h5', 'input', 'img', 'svg']) main.append(document.createElement(tag));
        const pale = document.createElement('p');
        pale.textContent = 'pale';
        pale.style.color = 'rgb(200, 200, 200)';
        pale.tabIndex = 3;
        main.append(pale);
    }""")
    found = " ".join(viewer.audit())
    for what in (
        "no name: button",
        "h2 then",
        "no label: input",
        "no alt",
        "contrast 1.",
        "positive tabindex",
    ):
        assert what in found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_colours_follow_the_system_and_the_button(visit: Callable[..., Viewer], scheme: str) -> None:
    viewer = visit(color_scheme=scheme)

    def bright() -> bool:
        colour = viewer.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in colour.strip("rgb()").split(",")) > 380

    assert bright() == (scheme == "light")
    viewer.page.click("#theme")
    assert viewer.text("#theme") == "Colours: light"
    assert bright()
    viewer.page.click("#theme")
    assert not bright()
    viewer.page.reload()
    assert viewer.text("#theme") == "Colours: dark"
    assert not bright()
    viewer.page.click("#theme")
    assert bright() == (scheme == "light")


def test_nothing_is_wider_than_the_screen(visit: Callable[..., Viewer], busy: Place) -> None:
    viewer = visit(viewport={"width": 360, "height": 740}, has_touch=True)
    opened(viewer)
    for width in WIDTHS:
        viewer.page.set_viewport_size({"width": width, "height": 740})
        assert viewer.page.evaluate("document.documentElement.scrollWidth") <= width
        outside = viewer.page.evaluate(
            "width => [...document.querySelectorAll('button, input, h2, h3, dd, .chart')].filter(one =>"
            " one.checkVisibility() && !one.closest('.scroll, .skip')"
            " && one.getBoundingClientRect().right > width + 1).map(one => one.outerHTML)",
            width,
        )
        assert outside == []
    viewer.page.set_viewport_size({"width": 360, "height": 740})
    assert viewer.audit() == []


def test_all_is_reached_and_done_by_keyboard(visit: Callable[..., Viewer], busy: Place) -> None:
    viewer = visit(tokens=BOTH)
    viewer.choose("staging")
    viewer.page.reload()  # What was chosen stays; nothing has the focus.
    viewer.page.wait_for_selector("[data-key='staging/mail']")
    viewer.page.wait_for_selector(".alert")
    press = viewer.page.keyboard.press
    press("Tab")
    assert viewer.page.evaluate("document.activeElement.className") == "skip"
    reached: list[str] = []
    for _ in range(80):
        told = viewer.page.evaluate("""() => {
            const one = document.activeElement;
            if (one === document.body) return null;
            const { outlineStyle, outlineWidth } = getComputedStyle(one);
            if (outlineStyle === 'none' || parseFloat(outlineWidth) < 2) return 'no focus: ' + one.outerHTML;
            return one.id || one.getAttribute('aria-label') || one.textContent;
        }""")
        if told is None:
            break
        reached.append(told)
        press("Tab")
    assert not [one for one in reached if one.startswith("no focus")]
    controls = viewer.page.evaluate(
        "[...document.querySelectorAll('button, input, select, summary, a[href]')].filter(one =>"
        " one.checkVisibility()).map(one => one.id || one.getAttribute('aria-label') || one.textContent)"
    )
    assert set(controls) <= set(reached)

    def focus(name: str) -> None:
        viewer.page.get_by_role("button", name=name).first.focus()

    focus("Check staging/mail now")
    press("Enter")
    viewer.page.wait_for_selector(".verdict.bad")
    assert "Check" in viewer.page.evaluate("document.activeElement.textContent"), "the focus stays"
    focus("Repair lane 1")
    press("Space")
    press("Enter")
    viewer.page.wait_for_selector(".verdict.good")
    assert not viewer.page.is_visible("#sure-dialog")
    viewer.page.locator("#problems").focus()
    press("Space")
    eventually(lambda: viewer.all("#cards .card").count() == 1, what="problems only")
    viewer.all(".alert").get_by_role("button", name="Acknowledge").first.focus()
    press("Enter")
    eventually(lambda: viewer.text(".ack") == "Acknowledged", what="acknowledged")
    assert viewer.page.evaluate("document.activeElement.className") == "ack", "the focus stays"


def test_the_skip_link_leads_to_the_main_part(visit: Callable[..., Viewer]) -> None:
    viewer = visit()
    viewer.page.keyboard.press("Tab")
    viewer.page.keyboard.press("Enter")
    assert viewer.page.evaluate("document.activeElement.id") == "main"


def test_who_wants_no_motion_gets_none(visit: Callable[..., Viewer]) -> None:
    viewer = visit(reduced_motion="reduce")
    moving = viewer.page.evaluate(
        "[...document.querySelectorAll('*')].filter(one => { const style = getComputedStyle(one);"
        " return style.animationName !== 'none' || parseFloat(style.transitionDuration) > 0; }).length"
    )
    assert moving == 0
    assert viewer.page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


def test_a_sweep_says_nothing_aloud_and_keeps_the_focus(visit: Callable[..., Viewer], place: Place) -> None:
    viewer = visit()
    pick = viewer.card("prod").locator(".pick")
    pick.focus()
    swept = viewer.card("prod").locator("time").last
    before = swept.get_attribute("datetime")
    eventually(lambda: swept.get_attribute("datetime") != before, what="a sweep")
    assert pick.evaluate("one => one === document.activeElement")
    assert viewer.all("#said").text_content() == ""
