from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

import pytest
from eventually import eventually
from notify_servers import until
from processes import naming

from queuewarden.adapters.notify import process
from queuewarden.adapters.notify.courier import Courier
from queuewarden.errors import ChannelError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Has another program started in place of the sending process."""

    def install(text: str) -> Path:
        path = tmp_path / "program"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        os.mkfifo(f"{path}.never")  # whoever reads from it waits for ever
        monkeypatch.setattr(sys, "executable", str(path))
        return path

    return install


def refused() -> ChannelError:
    """What becomes of a request."""

    async def run() -> ChannelError:
        courier = Courier()
        with pytest.raises(ChannelError) as caught:
            await courier.check("json://localhost/")
        await courier.close()
        return caught.value

    return asyncio.run(run())


READY, DONE = (f"""echo '{{"id": {id_}, "ok": true, "permanent": false, "reason": ""}}'""" for id_ in (0, 1))


def test_without_an_interpreter_nothing_can_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nosuch/python")
    assert str(refused()) == "the sending process cannot be started: No such file or directory"


def test_process_that_ends_at_once_is_told(program: Callable[[str], Path]) -> None:
    program("exit 3")
    error = refused()
    assert (str(error), error.permanent) == ("the sending process ended (3)", False)


def test_process_that_is_never_ready_is_killed(
    program: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "START_WITHIN", 0.3)
    path = program("read line < $0.never")
    assert str(refused()) == "no answer within 0.3 s"
    eventually(lambda: naming(str(path)) == [], what="it is gone")


@pytest.mark.parametrize("words", ["nonsense", "[]", '{"id": 1}', "x" * 100_000])
def test_process_that_answers_nonsense_is_not_believed(program: Callable[[str], Path], words: str) -> None:
    program(f"{READY}; read line; echo '{words}'; read line < $0.never")
    assert str(refused()) == "the sending process answered nonsense"


def test_process_that_does_not_end_by_itself_is_killed(program: Callable[[str], Path]) -> None:
    path = program(f"{READY}; read line; {DONE}; read line < $0.never")

    async def run() -> None:
        courier = Courier(idle=0.05)
        await courier.check("json://localhost/")
        await until(lambda: courier.pid is None)
        await until(lambda: not naming(str(path)) and not courier._ends)

    asyncio.run(run())


def test_without_the_library_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "apprise.py").write_text("raise ImportError\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    error = refused()
    assert error.permanent
    assert str(error) == "Apprise is not installed: pip install 'queuewarden[notify]'"


def test_no_module_of_the_present_directory_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "apprise.py").write_text("raise ImportError\n")
    monkeypatch.chdir(tmp_path)

    async def run() -> None:
        courier = Courier()
        await courier.check("json://localhost/")
        await courier.close()

    asyncio.run(run())
