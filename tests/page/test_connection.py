"""What becomes of the page when its daemon, its stream or its browser fails."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from eventually import eventually
from page.viewer import READ

if TYPE_CHECKING:
    from collections.abc import Callable

    from page.conftest import Place
    from page.viewer import Viewer

BEARER = {"Authorization": f"Bearer {READ}"}

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("page")]


def test_the_daemon_goes_and_comes_back(visit: Callable[..., Viewer], place: Place) -> None:
    viewer = visit()
    viewer.choose("prod")
    place.kill()
    viewer.page.wait_for_selector("#banner[data-mode=lost]")
    assert re.search(r"Connection lost\..*(Trying again in \d+ s|Trying now)", viewer.text("#banner"))
    eventually(lambda: viewer.text("#connection") == "Connection lost", what="between two attempts")
    eventually(
        lambda: "Connection to the daemon lost" in (viewer.all("#said").text_content() or ""), what="said"
    )
    place.prod.execute("INSERT INTO jobs (position, lane) SELECT n, 7 FROM generate_series(1, 41) n")
    place.start()
    viewer.page.wait_for_selector("#banner[data-mode=back]", timeout=60_000)
    assert viewer.text("#banner") == "The daemon is back."
    waiting = viewer.card("prod").locator("[data-of=waiting]")
    eventually(lambda: waiting.inner_text() == "41", what="fresh data")
    eventually(lambda: not viewer.page.is_visible("#banner"), seconds=30, what="no banner")
    assert viewer.text("#connection") == "Live"


def test_the_wait_grows_to_ten_seconds_and_can_be_cut_short(visit: Callable[..., Viewer]) -> None:
    viewer = visit()
    viewer.page.route("**/api/**", lambda route: route.abort("connectionrefused"))
    waits = viewer.page.evaluate("""async () => {
        const { Live } = await import('/page/stream.js');
        const waits = [];
        await new Promise(resolve => {
            const live = new Live({event() {}, look: async () => {}, turn(mode, about) {
                if (mode !== 'lost') return;
                waits.push(about.until - Date.now());
                if (waits.length === 7) resolve(); else setTimeout(() => live.retry(), 5);
            }});
            live.run();
        });
        return waits;
    }""")
    assert 700 < waits[0] <= 1250
    assert waits[1] > 1500
    assert max(waits) <= 12_100
    assert min(waits[4:]) >= 7_900


def test_a_browser_without_streams_looks_every_five_seconds(
    visit: Callable[..., Viewer], place: Place
) -> None:
    viewer = visit(script="Object.defineProperty(Response.prototype, 'body', {get: () => undefined});")
    eventually(lambda: viewer.text("#connection") == "Every 5 s", what="polling")
    assert "This browser cannot read a stream" in viewer.text("#banner")
    before = viewer.text("[data-key=prod] [data-of=waiting]")
    place.prod.execute("INSERT INTO jobs (position, lane) VALUES (1, 8)")
    # On a busy machine the daemon counts less often than it sweeps.
    eventually(
        lambda: viewer.text("[data-key=prod] [data-of=waiting]") != before, seconds=30, what="the next look"
    )


def test_a_stream_that_is_refused_is_looked_around(visit: Callable[..., Viewer]) -> None:
    viewer = visit()
    refusal = {"error": {"id": "0", "status": 503, "message": "100 listeners at once are enough."}}
    viewer.page.route("**/api/events", lambda route: route.fulfill(status=503, json=refusal))
    viewer.page.reload()
    eventually(lambda: "enough" in viewer.text("#banner"), what="why")
    assert viewer.text("#connection") == "Every 5 s"


def test_whoever_is_told_to_looks_anew(visit: Callable[..., Viewer]) -> None:
    viewer = visit()
    hello = viewer.page.request.get(f"{viewer.page.url}api/status", headers=BEARER).text()
    body = f"event: hello\ndata: {hello}\n\n"
    stream = {"content_type": "text/event-stream"}
    viewer.page.route(
        "**/api/events", lambda route: route.fulfill(body=body + "event: resync\ndata: {}\n\n", **stream)
    )
    viewer.page.reload()
    eventually(lambda: viewer.asked("api/status") >= 3, what="a look of its own, beyond those at the start")


def test_a_hundred_environments_stay_usable(
    visit: Callable[..., Viewer], measured: Callable[[str, object], None]
) -> None:
    viewer = visit()
    status = viewer.page.request.get(f"{viewer.page.url}api/status", headers=BEARER).json()
    well, down = status["environments"]["prod"], status["environments"]["gone"]
    status["environments"] = {f"tenant{n:03}": down if n in {50, 99} else well for n in range(100)}
    refusal = {"error": {"id": "0", "status": 503, "message": "no."}}
    viewer.page.route("**/api/events", lambda route: route.fulfill(status=503, json=refusal))
    viewer.page.route("**/api/status", lambda route: route.fulfill(json=status))
    viewer.page.reload()
    names = viewer.all("#cards .pick")
    eventually(lambda: names.count() == 30, what="the first cards")
    assert names.all_inner_texts()[:3] == ["tenant050", "tenant099", "tenant000"]
    assert viewer.text("#shown") == "30 of 100"
    viewer.page.fill("#filter", "tenant07")
    eventually(lambda: names.count() == 10, what="by name")
    viewer.page.fill("#filter", "")
    viewer.page.click("text=Show 70 more")
    eventually(lambda: names.count() == 100, what="all")
    cost = viewer.page.evaluate("""async () => {
        const { select } = await import('/page/state.js');
        const costs = ['tenant001', 'tenant002', 'tenant003'].map(name => {
            const begun = performance.now();
            select(name);
            document.body.getBoundingClientRect();
            return performance.now() - begun;
        });
        return Math.min(...costs);  // without the pauses of the machine
    }""")
    measured("100 cards painted anew, ms", round(cost))
    assert cost < 500


EVENTS = [
    ("event: a\ndata: 1\n\n", [["a", "1"]]),
    (": keep-alive\n\nretry: 2000\n\ndata: x\r\ndata: y\r\n\r\n", [["message", "x\ny"]]),
    ("event: b\ndata:no blank\nid: 4\n\nevent: c\n\n", [["b", "no blank"]]),
    ("event: half\ndata: {", []),
]


def test_events_are_read_however_they_are_cut(visit: Callable[..., Viewer]) -> None:
    viewer = visit()
    for size in (1, 3, 1000):
        read: list[Any] = viewer.page.evaluate(
            """async ([texts, size]) => {
                const { Parser } = await import('/page/stream.js');
                return texts.map(text => {
                    const parser = new Parser();
                    const found = [];
                    for (let at = 0; at < text.length; at += size) {
                        found.push(...parser.feed(text.slice(at, at + size)));
                    }
                    return found.map(({kind, data}) => [kind, data]);
                });
            }""",
            [[text for text, _ in EVENTS], size],
        )
        assert read == [events for _, events in EVENTS], f"cut into pieces of {size}"
