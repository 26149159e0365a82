"""Frames of `queuewarden top`, drawn without a terminal or a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import kit
import pytest
from hostile.terminals import ESCAPES, harmless_line
from hypothesis import given, settings
from hypothesis import strategies as st

from queuewarden.application.status import EnvironmentStatus
from queuewarden.application.top.blocks import DETAILS, sparkline
from queuewarden.application.top.drawing import Wish, frame
from queuewarden.application.top.keyboard import keys
from queuewarden.application.top.view import ORDERS, View, ordered
from queuewarden.engine.ledger.latest import Repair
from queuewarden.engine.longest import RunningJob
from queuewarden.model import BrakeChange, Counts

if TYPE_CHECKING:
    from queuewarden.application.top.drawing import Frame

EVERY = timedelta(seconds=2)
HOUR = timedelta(hours=1)


def seen(name: str, queues: int = 1, *, label: str = "letter", stuck: bool = False, **counts: int) -> View:
    """An environment that is up."""
    view = View(EnvironmentStatus(name), {"mail": kit.LIMITS}, version="16.3", uptime=HOUR)
    view.status.turn("up")
    names = ["mail", *(f"queue_{number}" for number in range(1, queues))]
    usual = {"waiting": 7, "running": 2, "failed": 1, "live_workers": 3, "silent_workers": 0}
    for _ in range(3):
        view.counted(dict.fromkeys(names, Counts(**(usual | counts))))
    view.status.lease = {"holder": "host:1", "epoch": 3}
    view.longest = (RunningJob("mail", "4711", label, "w1", HOUR, stuck),)
    view.repairs = (Repair("mail", "jobs.reset", "stuck", "host:1", 2, HOUR),)
    return view


def down(name: str) -> View:
    view = View(EnvironmentStatus(name))
    view.lost("connection refused")
    return view


def drawn(views: list[View], wish: Wish | None = None, width: int = 80, height: int | None = 24) -> Frame:
    return frame(views, wish or Wish(), EVERY, width, height)


def text(shown: Frame) -> list[str]:
    return [line.plain for line in shown.lines]


FLEET = [seen(f"env_{number:03}", 1 + number % 3, stuck=number % 7 == 0) for number in range(98)]
FLEET += [down("env_098"), View(EnvironmentStatus("env_099"))]


@settings(max_examples=150)
@given(
    st.integers(1, 250),
    st.integers(1, 70),
    st.integers(0, 100),
    st.sampled_from([None, *range(DETAILS)]),
    st.integers(0, 10_000),
    st.sampled_from(ORDERS),
)
def test_a_frame_never_outgrows_the_terminal(
    width: int, height: int, count: int, detail: int | None, offset: int, order: str
) -> None:
    shown = drawn(FLEET[100 - count :], Wish(order, detail, offset), width, height)  # type: ignore[arg-type]
    assert len(shown.lines) <= height
    assert max(line.cell_len for line in shown.lines) <= width


def test_all_is_shown_where_there_is_room() -> None:
    view = seen("prod", stuck=True, failed_last_hour=0)
    view.status.brakes = (
        BrakeChange(
            on=True,
            kind="pause",
            queue=None,
            why="deploying (by anna)",
            until=datetime(2026, 1, 2, 3, tzinfo=UTC),
        ),
    )
    lines = "\n".join(text(drawn([view])))
    assert "1/1 up" in lines
    assert "prod  UP  PostgreSQL 16.3, up 1 h  lease host:1, epoch 3" in lines
    assert "mail 4711 letter on w1 for 1 h STUCK" in lines
    assert "! 1+ stuck" in lines
    assert "pause until 02 Jan 03:00 UTC: deploying (by anna)" in lines
    assert "1 h ago  mail: 2 jobs.reset (stuck) by host:1" in lines
    [row] = [line.split() for line in text(drawn([view])) if line.startswith("  mail  ")]
    assert row == ["mail", "7", "2", "1", "0", "3", "███"]


def test_what_is_unknown_is_not_0() -> None:
    view = seen("prod")
    view.counted({"mail": None})
    [row] = [line.split() for line in text(drawn([view])) if line.startswith("  mail  ")]
    assert row == ["mail", *"???????"]
    assert any("mail: could not be counted" in line for line in text(drawn([view])))


def test_problems_come_first() -> None:
    broken, held, well = seen("b", live_workers=0), seen("c"), seen("a")
    held.status.brakes = (BrakeChange(on=True, kind="pause", queue=None, why="because"),)
    starting = View(EnvironmentStatus("d"))
    views = [well, held, broken, starting, down("e")]
    assert [view.name for view in ordered(views, "problems")] == ["e", "d", "b", "c", "a"]
    assert [view.name for view in ordered(views, "name")] == ["a", "b", "c", "d", "e"]


def test_the_most_first() -> None:
    views = [seen("a", waiting=5, running=9), seen("b", waiting=50, running=1), down("c")]
    assert [view.name for view in ordered(views, "waiting")] == ["b", "a", "c"]
    assert [view.name for view in ordered(views, "running")] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"live_workers": 0}, "no worker beats"),
        ({"silent_workers": 2}, "2 silent workers"),
        ({"failed_last_hour": 11}, "11 failed in the last hour"),
        ({"oldest_waiting": timedelta(hours=2)}, "a job has waited 2 h"),
    ],
)
def test_what_counts_as_a_problem(counts: dict[str, int], said: str) -> None:
    assert seen("prod", **counts).problems() == [f"mail: {said}"]
    assert any(f"! mail: {said}" in line for line in text(drawn([seen("prod", **counts)])))


@pytest.mark.parametrize(
    "counts", [{}, {"failed_last_hour": 10}, {"live_workers": 0, "waiting": 0, "running": 0}]
)
def test_what_is_no_problem(counts: dict[str, int]) -> None:
    assert seen("prod", **counts).problems() == []


def test_a_hundred_environments_are_a_line_each_the_worst_on_top() -> None:
    shown = drawn(FLEET)
    assert len(shown.lines) == 24
    assert text(shown)[2].startswith("env_098     DOWN ")
    assert text(shown)[3].startswith("env_099     connecting")
    assert "1+ stuck" in text(shown)[4]
    assert "lines 1 to 21 of 100" in text(shown)[-1]


def test_scrolling_ends_where_the_body_ends() -> None:
    shown = drawn(FLEET, Wish(order="name", offset=10_000))
    assert text(shown)[-2].startswith("env_099")
    assert shown.wish.offset == 100 - shown.page
    assert drawn(FLEET[:3], Wish(offset=10_000)).wish.offset == 0


def test_detail_is_what_there_is_room_for_or_what_was_wished() -> None:
    few = text(drawn(FLEET[1:6], height=24))
    assert any(line.startswith("env_001  UP") for line in few), "queues"
    assert not any("ago  mail" in line for line in few), "not everything"
    assert any("ago  mail" in line for line in text(drawn(FLEET[1:6], Wish(detail=DETAILS - 1))))
    assert not any("  UP" in line for line in text(drawn(FLEET[1:6], Wish(detail=0))))


def test_without_a_height_everything_is_printed_once() -> None:
    lines = text(drawn(FLEET, height=None))
    assert sum("ago  mail" in line for line in lines) == 98
    assert "quit" not in lines[-1]


def test_wide_letters_count_double() -> None:
    shown = drawn([seen("prod", label="漢字" * 30)], width=40)
    assert max(line.cell_len for line in shown.lines) <= 40


@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES)
@pytest.mark.parametrize("detail", range(DETAILS))
def test_nothing_that_a_database_holds_is_obeyed(escape: str, detail: int) -> None:
    view, broken = seen("prod", label=escape, stuck=True), down("dev")
    view.longest = (RunningJob(escape, escape, escape, escape, HOUR, stuck=True),)
    view.repairs = (Repair(escape, escape, escape, escape, 1, HOUR),)
    view.status.brakes = (BrakeChange(on=True, kind="pause", queue=None, why=escape),)
    view.status.lease = {"holder": escape, "epoch": 1}
    view.status.holds = {"mail": escape}
    view.version, view.hints = escape, (escape,)
    broken.lost(escape)
    other = seen("other")
    other.ledger = escape
    for line in text(drawn([view, broken, other], Wish(detail=detail), width=500, height=60)):
        assert harmless_line(line), ascii(line)


def test_three_charts_where_there_is_room() -> None:
    heading = text(drawn([seen("prod")], width=150))[1]
    assert heading.count("waiting") == heading.count("running") == heading.count("failed") == 2


@pytest.mark.parametrize(
    ("values", "bars"),
    [
        ([], ""),
        ([0, 0], "▁▁"),
        ([0, 7, None, 3], "▁█ ▄"),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9], "▃▃▄▅▆▆▇█"),
        ([None, None], "  "),
        ([5], "█"),
    ],
)
def test_sparklines(values: list[int | None], bars: str) -> None:
    assert sparkline(values, 8) == bars
    assert sparkline(values, 0) == ""


def test_keys() -> None:
    assert list(keys(b"jk\x1b[A\x1b[B\x1bOB\x1b[5~\x1b[6~q")) == [
        "down", "up", "up", "down", "down", "page up", "page down", "quit",
    ]  # fmt: skip
    assert list(keys(b"x\x1b[99Z\xff\x1b")) == []
    assert list(keys(b"ps d")) == ["pause", "sort", "page down", "detail"]
