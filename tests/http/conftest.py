"""The API of a daemon whose databases cannot be reached: all that needs none of them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
import served
from daemons import QUEUE
from served import Served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOWHERE = QUEUE | {
    "ENV__PROD__DSN": "host=127.0.0.1 port=1 dbname=nowhere",
    "ENV__TEST__DSN": "host=127.0.0.1 port=1 dbname=nowhere",
}


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Served]]:
    """Starts a server: ``serve(HTTP_OPEN_READ="true")``; `None` takes a setting away."""
    with contextlib.ExitStack() as stack:

        def start(*, reached: bool = False, **settings: str | None) -> Served:
            given = {name: value for name, value in (NOWHERE | settings).items() if value is not None}
            for name in settings.keys() - given.keys():
                monkeypatch.delitem(served.SETTINGS, name, raising=False)
            return stack.enter_context(contextlib.closing(Served(given, reached=reached)))

        yield start


@pytest.fixture
def api(serve: Callable[..., Served]) -> Served:
    """A server with the usual tokens."""
    return serve()
