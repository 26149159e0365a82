"""What a guard knows of its queues: read from the catalog, and forgotten with the connection."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from queuewarden.application import catalog
from queuewarden.application.catalog import Catalog
from queuewarden.application.resolving import Resolved

if TYPE_CHECKING:
    import pytest

TARGET = object()
FITS, NOT = SimpleNamespace(target=TARGET, faults=()), SimpleNamespace(target=None, faults=("no such table",))


def read(known: Catalog, monkeypatch: pytest.MonkeyPatch, *, complete: bool = True) -> tuple[str, ...]:
    async def found(*_: Any) -> Resolved:
        return Resolved({"mail": FITS, "post": NOT}, ("a hint",), complete)  # type: ignore[dict-item]

    monkeypatch.setattr(catalog, "resolve_all", found)
    return asyncio.run(known.read(None, None))  # type: ignore[arg-type]


def test_what_was_read_is_known_until_it_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Catalog()
    assert (known.fresh, known.targets) == (False, [])
    assert read(known, monkeypatch) == ("a hint",)
    assert (known.fresh, known.targets, known.queues) == (True, [TARGET], {"mail", "post"})
    assert [(one.queue, one.hint) for one in known.drifts("prod")] == [("post", "no such table")]
    known.forget()
    assert (known.fresh, known.targets, known.drifts("prod")) == (False, [], [])
    assert known.queues == {"mail", "post"}, "alerts about them do not end with a connection"


def test_what_could_not_be_read_whole_is_read_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Catalog()
    read(known, monkeypatch, complete=False)
    assert (known.fresh, known.targets) == (False, [TARGET])
