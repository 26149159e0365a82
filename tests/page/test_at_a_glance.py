"""What the page shows of a real daemon, and what its buttons do."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from eventually import eventually
from page.viewer import READ, WRITE

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers
    from page.conftest import Place
    from page.viewer import Viewer

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("page")]

HOSTILE = '<img src=x onerror="window.pwned = 1"><script>window.pwned = 2</script>'
UNKNOWN = "\N{EN DASH}"
BOTH = {"read": READ, "write": WRITE}


def stick(database: servers.Database, label: str = "scan") -> None:
    database.execute(
        "INSERT INTO jobs (status, worker, started_at, label, position, lane)"
        " VALUES ('running', 'w1', now() - interval '1 h', %s, 1, 99)",
        [label],
    )


def scramble(database: servers.Database, lane: int) -> None:
    """Two waiting jobs of a lane at its third place."""
    database.execute("INSERT INTO jobs (position, lane) SELECT 3, %s FROM generate_series(1, 2)", [lane])


def test_first_paint_comes_with_data(
    visit: Callable[..., Viewer], measured: Callable[[str, object], None]
) -> None:
    viewer = visit()
    painted = viewer.page.evaluate("window.painted")
    measured("first paint with data, ms", round(painted))
    assert painted < 6000
    assert viewer.text("#cards .pick") == "gone", "what is wrong comes first"
    eventually(lambda: viewer.text("#connection") == "Live", what="the stream")
    assert viewer.text("#summary li").split() == ["Environments", "up", "2/3", "1", "down"]
    assert re.fullmatch(r"\([1-3]\) queuewarden", viewer.page.title()), "how many need a look"


def test_a_card_tells_state_reason_figures_lease_mode_and_sweep(visit: Callable[..., Viewer]) -> None:
    viewer = visit()
    well = viewer.card("prod").inner_text()
    assert re.search(r"Up\s+for \d+ [sm]", well)
    assert "No lease" in well
    assert "Mode repair" in well
    assert re.search(r"Last sweep (just now|\d+ s ago) · [\d.]+ m?s", well)
    assert viewer.card("prod").locator("[data-of=workers]").inner_text() == "1"
    down = viewer.card("gone").inner_text()
    assert "Down" in down
    assert "connection refused" in down
    titled = viewer.card("prod").locator("time").last.get_attribute("title")
    assert titled, "the moment itself"
    assert re.search(r"\d{4}", titled)


def test_what_is_unknown_is_a_dash(visit: Callable[..., Viewer]) -> None:
    viewer = visit()
    assert viewer.card("gone").locator("dd").all_inner_texts() == [UNKNOWN] * 4
    assert f"Last sweep {UNKNOWN}" in viewer.card("gone").inner_text()
    viewer.card("gone").locator(".pick").click()
    assert "while it is down" in viewer.text("#no-queues")


def test_a_repair_is_shown_within_two_seconds_of_its_line_in_the_log(
    visit: Callable[..., Viewer], place: Place, measured: Callable[[str, object], None]
) -> None:
    viewer = visit()
    viewer.choose("prod")
    count = len(place.daemon.events("jobs.reset"))
    viewer.page.evaluate(
        "window.repaired = undefined; document.getElementById('repair-list').replaceChildren()"
    )
    stick(place.prod)
    line = place.daemon.wait_for("jobs.reset", count=count + 1)
    logged = datetime.fromisoformat(line["timestamp"]).timestamp()
    seen = eventually(lambda: viewer.page.evaluate("window.repaired"), seconds=5, what="the repair") / 1000
    measured("repair shown after its line, s", round(seen - logged, 3))
    assert seen - logged < 2
    told = viewer.text("#repair-list li")
    assert "1 job put back" in told
    assert "prod/mail" in told
    assert "stuck_jobs" in told


def test_a_hostile_label_is_only_text(visit: Callable[..., Viewer], place: Place) -> None:
    viewer = visit(tokens=BOTH)
    viewer.choose("staging")
    stick(place.staging, HOSTILE)
    viewer.page.click("#sweep-one")
    which = viewer.all("[data-key='staging/mail'] .which").filter(has_text=HOSTILE)
    which.first.wait_for()
    assert viewer.page.evaluate("window.pwned") is None
    assert viewer.all("main img, main script").count() == 0


def test_the_charts_grow_and_are_told_as_text_and_as_a_table(visit: Callable[..., Viewer]) -> None:
    viewer = visit()
    viewer.choose("prod")
    chart = viewer.all("[data-key='prod/mail'] .chart").first
    assert chart.locator("title").text_content() == "Jobs by state, of prod/mail"
    assert "waiting from" in (chart.locator("desc").text_content() or "")
    line = chart.locator(".line.one")
    before = line.get_attribute("d")
    # On a busy machine the daemon counts less often than it sweeps.
    eventually(lambda: line.get_attribute("d") != before, seconds=30, what="another point")
    viewer.page.locator("[data-key='prod/mail'] summary").first.click()
    rows = viewer.all("[data-key='prod/mail'] .charted >> nth=0 >> tbody tr")
    eventually(lambda: rows.count() >= 2, seconds=30, what="rows")
    assert re.match(r"\d\d:\d\d:\d\d\s+\d+\s+\d+\s+\d+", rows.first.inner_text())


def test_the_filter_finds_by_name_and_reason(visit: Callable[..., Viewer]) -> None:
    viewer = visit()
    names = viewer.all("#cards .pick")
    viewer.page.fill("#filter", "refused")
    eventually(lambda: names.all_inner_texts() == ["gone"], what="the one that is down")
    viewer.page.fill("#filter", "nothing is so")
    eventually(lambda: names.count() == 0, what="no card")
    assert viewer.text("#no-cards") == "No environment is like that."
    viewer.page.fill("#filter", "")
    viewer.page.check("#problems")
    eventually(lambda: names.all_inner_texts() == ["gone"], what="the one with a problem")


def test_a_lane_is_looked_at_and_repaired(visit: Callable[..., Viewer], place: Place) -> None:
    scramble(place.staging, 3)
    scramble(place.staging, 4)
    viewer = visit()
    viewer.choose("staging")
    queue = viewer.all("[data-key='staging/mail']")
    queue.get_by_role("button", name="Check staging/mail now").click()
    queue.locator(".verdict").wait_for()
    assert "Not consistent" in queue.locator(".verdict").inner_text()
    assert "fixed 0, 4 issues" in queue.locator(".verdict").inner_text()
    queue.get_by_role("button", name="Repair lane 3").click()
    assert "Repair lane 3 of staging/mail?" in viewer.text("#sure-dialog")
    viewer.page.keyboard.press("Escape")
    assert place.staging.value("SELECT count(*) FROM jobs WHERE position = 3") == 4, "not without a yes"
    queue.get_by_role("button", name="Repair lane 3").click()
    viewer.page.click("#sure-yes")
    eventually(lambda: "only reads" in viewer.text("#token-why"), what="the read token does not do")
    viewer.page.fill("#token", WRITE)
    # The daemon sweeps after a repair: what is locked is left alone, so that the lane asked for can be told.
    with place.staging.connect(autocommit=False) as other:
        other.execute("SELECT FROM jobs WHERE lane = 4 FOR UPDATE")
        viewer.page.keyboard.press("Enter")
        verdict = queue.locator(".verdict", has_text="staging/mail, lane 3: 2 rows repaired, 0 left.")
        verdict.wait_for()
        rows = place.staging.rows(
            "SELECT lane, position FROM jobs WHERE lane IN (3, 4) ORDER BY lane, position"
        )
        assert rows == [(3, 1), (3, 2), (4, 3), (4, 3)]
        assert "Consistent" in verdict.inner_text()
    viewer.page.wait_for_selector("#repair-list >> text=2 rows repaired")
    queue.get_by_role("button", name="Repair staging/mail").click()
    viewer.page.click("#sure-yes")
    eventually(lambda: "Consistent" in queue.locator(".verdict").inner_text(), what="the rest is repaired")


def test_sweep_now_sweeps(visit: Callable[..., Viewer], place: Place) -> None:
    viewer = visit(tokens=BOTH)
    viewer.choose("staging")
    stick(place.staging)
    count = len(place.daemon.events("jobs.reset", environment="staging"))
    viewer.page.click("#sweep-one")
    place.daemon.wait_for("jobs.reset", environment="staging", count=count + 1)
    viewer.page.wait_for_selector(".notice >> text=staging is swept now")


def test_an_alert_is_acknowledged(visit: Callable[..., Viewer]) -> None:
    viewer = visit()
    alert = viewer.all(".alert").filter(has_text="gone cannot be used")
    assert "Critical" in alert.inner_text()
    alert.get_by_role("button", name="Acknowledge").click()
    viewer.page.fill("#token", WRITE)
    viewer.page.keyboard.press("Enter")
    eventually(lambda: "acknowledged by http (write token)" in alert.inner_text(), what="who")
    button = alert.locator(".ack")
    assert button.inner_text() == "Acknowledged"
    assert button.get_attribute("aria-disabled") == "true"
    assert "acknowledged by" in visit().text(".alert >> text=acknowledged"), "for the next one, too"


def test_an_alert_is_suppressed_with_a_reason_and_the_suppression_lifted(
    visit: Callable[..., Viewer],
) -> None:
    viewer = visit(tokens=BOTH)
    alert = viewer.all(".alert").filter(has_text="gone cannot be used")
    alert.get_by_role("button", name="Suppress").click()
    viewer.page.fill("#suppress-reason", "   ")
    viewer.page.keyboard.press("Enter")
    assert viewer.page.is_visible("#suppress-dialog"), "a reason is needed"
    viewer.page.select_option("#suppress-for", "4h")
    viewer.page.fill("#suppress-reason", "being moved <b>today</b>")
    viewer.page.keyboard.press("Enter")
    suppression = viewer.all(".suppression")
    suppression.wait_for()
    told = suppression.inner_text()
    assert "environment_down of gone ends in 3 h" in told
    assert "being moved <b>today</b> · http (write token)" in told
    suppression.get_by_role("button", name="Lift").click()
    eventually(lambda: suppression.count() == 0, what="no suppression")


def test_the_token_is_asked_for_kept_in_the_tab_and_forgotten(visit: Callable[..., Viewer]) -> None:
    viewer = visit(tokens={}, wait=False)
    viewer.page.wait_for_selector("#token-dialog[open]")
    assert "needs a token" in viewer.text("#token-why")
    assert viewer.page.evaluate("document.activeElement.id") == "token"
    viewer.page.fill("#token", "a-token-of-somebody-else")
    viewer.page.keyboard.press("Enter")
    eventually(lambda: "refuses this token" in viewer.text("#token-why"), what="refused")
    viewer.page.fill("#token", READ)
    viewer.page.keyboard.press("Enter")
    viewer.page.wait_for_selector(".card[data-key=prod] dd")
    kept = viewer.page.evaluate(
        "[Object.values({...sessionStorage}), Object.values({...localStorage}), document.cookie]"
    )
    assert READ in kept[0]
    assert kept[1:] == [[], ""]
    assert not [one for one in viewer.requests if READ in one]
    viewer.page.click("#forget")
    viewer.page.wait_for_selector("#token-dialog[open]")
    assert READ not in viewer.page.evaluate("Object.values({...sessionStorage})")
    viewer.page.keyboard.press("Escape")
    eventually(lambda: "Reading needs a token" in viewer.text("#banner"), what="why nothing is live")
    viewer.page.click("#banner-act")
    viewer.page.fill("#token", READ)
    viewer.page.keyboard.press("Enter")
    eventually(lambda: viewer.text("#connection") == "Live", what="live again")


def test_the_policy_is_strict(visit: Callable[..., Viewer]) -> None:
    viewer = visit()
    answer = viewer.page.request.get(viewer.page.url)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|\sstyle=", answer.text())
