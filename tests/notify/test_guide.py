from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from queuewarden.adapters.notify.courier import Courier

GUIDE = (Path(__file__).parents[2] / "config" / "channels.md").read_text()
URLS = [
    *re.findall(r"^QUEUEWARDEN_ALERT__\w+__URL=(\S+)$", GUIDE, re.MULTILINE),
    *re.findall(r"\| `([a-z]+://[^`]+)` \|$", GUIDE, re.MULTILINE),
]


def test_every_documented_url_is_understood() -> None:
    async def run() -> None:
        courier = Courier()
        try:
            for url in URLS:
                await courier.check(url)
        finally:
            await courier.close()

    assert len(URLS) > 15
    asyncio.run(run())


@pytest.mark.parametrize("word", ["alert.lost", "alerts.unsent", "channel.failed", "channel.recovered"])
def test_every_documented_event_exists(word: str) -> None:
    assert f"`{word}`" in GUIDE
    sources = Path(__file__).parents[2] / "src" / "queuewarden" / "application"
    assert any(f'"{word}"' in path.read_text() for path in sources.glob("alerting/*.py"))
