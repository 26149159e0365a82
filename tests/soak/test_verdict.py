"""A soak can fail: growth, leaks and late pings that were planted are found; noise is none."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from soak.sampling import watch
from soak.soak import resets_of
from soak.verdict import MB, Plan, Sample, Watched, judge, longest_silence, rendered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PLAN = Plan(seconds=1800)
CHANCE = random.Random(7)


def flat(at: int) -> Sample:
    """A daemon at work: it takes memory in its first minute, and a descriptor now and then."""
    noise = CHANCE.randrange(-200_000, 200_000)
    memory = 50 * MB + noise + min(at, 60) * 100_000
    return Sample(at, memory + 10 * MB, memory, 14 + (at % 17 == 0), 2)


def watched(of: Callable[[int], Sample] = flat) -> Watched:
    return Watched(
        [of(second) for second in range(1801)],
        [2.0 * n + CHANCE.uniform(0, 0.1) for n in range(900)],
        1800.0,
        resets={"dev": 3, "prod": 2},
        changes={"dev": 30, "prod": 20},
        tally={"processed": 40_000, "crashes": 5, "taken_away": 2},
    )


def unmet(seen: Watched) -> list[str]:
    return [row.what for row in judge(PLAN, seen) if row.met is False]


def test_a_daemon_that_stays_as_it_is_meets_everything() -> None:
    assert unmet(watched()) == []


@pytest.mark.parametrize("kind", ["resident", "own"])
def test_memory_that_grows_slowly_is_found(kind: str) -> None:
    def leaking(at: int) -> Sample:
        return replace(flat(at), **{kind: 60 * MB + at * 700})  # 1.2 MB in all

    assert unmet(watched(leaking)) == [f"growth of {kind} memory"]


def test_memory_that_was_given_back_before_the_end_is_found() -> None:
    def hump(at: int) -> Sample:
        return replace(flat(at), own=(60 if 600 < at < 700 else 50) * MB)

    assert unmet(watched(hump)) == ["growth of own memory"]


def test_memory_in_the_first_minute_and_a_single_spike_are_allowed() -> None:
    def uneven(at: int) -> Sample:
        return replace(flat(at), own=30 * MB if at < 60 else (80 if at % 100 == 0 else 50) * MB)

    assert unmet(watched(uneven)) == []


@pytest.mark.parametrize("kind", ["descriptors", "threads"])
def test_a_single_descriptor_or_thread_that_stays_is_found(kind: str) -> None:
    def leaking(at: int) -> Sample:
        return replace(flat(at), **{kind: 14 if at < 900 else 15})

    assert unmet(watched(leaking)) == [kind]


@pytest.mark.parametrize(
    "pings",
    [
        pytest.param([2.0 * n for n in range(900) if n != 450], id="one is missing"),
        pytest.param([2.0 * n for n in range(890)], id="they end"),
        pytest.param([2.0 * n for n in range(10, 900)], id="they begin late"),
        pytest.param([], id="none"),
    ],
)
def test_a_late_ping_is_found(pings: list[float]) -> None:
    assert unmet(replace(watched(), pings=pings)) == [f"latest of {len(pings)} pings"]


def test_a_soak_in_which_nothing_happened_proves_nothing() -> None:
    idle = replace(watched(), tally={"processed": 0}, resets={"dev": 3, "prod": 0}, changes={})
    assert unmet(idle) == ["jobs processed", "jobs reset", "changes in the ledger"]


def test_repairs_that_ended_before_the_end_are_found() -> None:
    assert unmet(replace(watched(), quiet=31.0)) == ["from the last reset to the end"]


def test_resets_are_counted_from_the_log() -> None:
    def reset(environment: str, second: int, count: int) -> dict[str, object]:
        at = f"2026-01-01T00:00:{second:02}.5Z"
        return {"event": "jobs.reset", "environment": environment, "count": count, "timestamp": at}

    log = [reset("dev", 1, 2), reset("prod", 20, 1), reset("staging", 3, 1), reset("dev", 40, 5)]
    assert resets_of(log) == ({"dev": 7, "prod": 1, "staging": 1}, 37.0)


def test_what_went_wrong_is_found() -> None:
    assert unmet(replace(watched(), errors=["check.failed"])) == ["errors in the log"]
    assert unmet(replace(watched(), ended=-9)) == ["exit code"]
    hurt = replace(watched(), tally={"processed": 9, "SQLSTATE 40P01": 1})
    assert unmet(hurt) == ["errors that the applications met"]


def test_a_soak_too_short_to_tell_is_refused() -> None:
    with pytest.raises(ValueError, match="too few to see growth"):
        judge(PLAN, replace(watched(), samples=[flat(second) for second in range(89)]))


def test_the_longest_silence() -> None:
    assert longest_silence([1.0, 2.0, 4.5], 5.0) == 2.5
    assert longest_silence([], 5.0) == 5.0


def test_the_table_is_one() -> None:
    lines = rendered(judge(PLAN, watched())).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == ["jobs processed", "40,000", "> 0", "yes"]


GROWING = """
import socket, sys, time
kept = []
telling = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
telling.connect(sys.argv[1])
while True:
    kept.append((bytearray(2_000_000), open("/dev/null")))
    telling.send(b"STATUS=x\\nWATCHDOG=1")
    time.sleep(0.5)
"""


@pytest.fixture
def messages(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        yield listening


def test_a_process_that_grows_is_seen_to_grow(messages: socket.socket) -> None:
    pings: list[float] = []
    with subprocess.Popen([sys.executable, "-c", GROWING, messages.getsockname()]) as process:
        messages.recv(100)
        first, *_, last = watch(process, messages, 4, pings)
        process.kill()
    assert last.own - first.own > 5 * MB
    assert last.resident - first.resident > 5 * MB
    assert last.descriptors - first.descriptors >= 3
    assert last.threads == 1
    assert 3 <= len(pings) <= 13
