"""Who made the application wait: what it wrote into its diary, laid beside samples of who blocked whom."""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from faults.schema import LOCK_TIMEOUT

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = LOCK_TIMEOUT + 0.1
"""Seconds that the application may wait because of the guard."""

EVERY = 0.025

_BLOCKED = """
SELECT a.pid, EXISTS (SELECT FROM unnest(pg_blocking_pids(a.pid)) AS p JOIN pg_stat_activity AS b ON b.pid = p
                       WHERE b.application_name LIKE 'queuewarden/%')
  FROM pg_stat_activity AS a
 WHERE a.wait_event_type = 'Lock' AND a.application_name LIKE 'shop/%'"""
_OURS = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'queuewarden/%'"


@dataclass(frozen=True)
class Entry:
    """A line of the diary: a transaction that was slow, or failed.

    Attributes:
        ours: for how many seconds of it the guard held what it waited for.
        victim: it was the victim of a deadlock with the guard.
    """

    who: str
    what: str
    began: float
    took: float
    sqlstate: str | None
    ours: float
    victim: bool


class Sampler:
    """Samples from a thread, on a connection of its own."""

    def __init__(self, dsn: str, diary: Path) -> None:
        self._dsn = dsn
        self._diary = diary
        self._read = 0
        self._samples: list[tuple[float, int]] = []
        self._guards: set[int] = set()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        self._thread.join()

    def entries(self) -> list[Entry]:
        """What has come into the diary since the last call."""
        if not self._diary.exists():
            return []
        with self._diary.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        found = [self._entry(json.loads(line)) for line in whole.splitlines()]
        # What is older than any transaction that may still be written down.
        self._samples = [sample for sample in self._samples if sample[0] > time.time() - 60]
        return found

    def _entry(self, line: dict[str, Any]) -> Entry:
        began, ended = line["began"], line["began"] + line["took"]
        blocked = [at for at, pid in list(self._samples) if pid == line["pid"] and began <= at <= ended]
        partners = {int(pid) for pid in re.findall(r"[Pp]rocess (\d+)", line["detail"] or "")}
        return Entry(
            who=line["who"],
            what=line["what"],
            began=began,
            took=line["took"],
            sqlstate=line["sqlstate"],
            ours=len(blocked) * EVERY,
            victim=line["sqlstate"] == "40P01" and bool(partners & self._guards),
        )

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                with psycopg.connect(
                    self._dsn, autocommit=True, application_name="campaign/sampler", connect_timeout=2
                ) as connection:
                    self._sample(connection)
            except psycopg.Error:
                self._ending.wait(0.1)

    def _sample(self, connection: psycopg.Connection[Any]) -> None:
        while not self._ending.is_set():
            now = time.time()
            self._samples += [(now, pid) for pid, ours in connection.execute(_BLOCKED) if ours]
            self._guards |= {pid for (pid,) in connection.execute(_OURS)}
            self._ending.wait(EVERY)
