"""A short soak: too short to see a slow leak of memory, long enough for descriptors and late pings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from soak.soak import soak
from soak.verdict import Plan, judge, rendered

if TYPE_CHECKING:
    from pathlib import Path

    from servers import OwnServer

pytestmark = pytest.mark.slow

SHORT = Plan(seconds=22, settle=8, window=5, growth=3, watchdog=18)


def test_a_short_soak(own_server: OwnServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What measures coverage takes memory of its own.
    for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    watched = soak(own_server, SHORT, tmp_path)
    rows = judge(SHORT, watched)
    assert all(row.met is not False for row in rows), "\n".join([rendered(rows), *watched.errors])
