"""The daemon: one guard an environment, one supervisor for the watchdog, and the signals."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import time
from typing import TYPE_CHECKING

from queuewarden.adapters import logging, status_file
from queuewarden.adapters.systemd import Notifier, watchdog_interval
from queuewarden.adapters.threads import UnawaitedThreads

import structlog  # isort: skip -- after our logging, which keeps structlog from loading rich

from queuewarden import __version__
from queuewarden.application import status
from queuewarden.application.guard import Guard
from queuewarden.application.watching.station import Station
from queuewarden.errors import ConfigurationError
from queuewarden.settings.load import load

if TYPE_CHECKING:
    from pathlib import Path

    from queuewarden.settings.configuration import Configuration

READY_WITHIN = 10.0
"""Seconds after which the daemon is ready, whatever its databases do."""

SHUT_WITHIN = 0.2
"""Seconds until whoever still waits, for something else than a connection, is cancelled."""

PUBLISH_DUTY = 50
"""A status that took a second of processor time is written again after fifty: at most 2 % of it."""

STOP_WITHIN = 3.0
"""Seconds that cancelled guards have to end."""


class Daemon:
    """Runs until SIGTERM or SIGINT.

    Args:
        configuration: what to guard.
        config_file: the file named on the command line, read anew by SIGHUP.
    """

    def __init__(self, configuration: Configuration, config_file: Path | None) -> None:
        self.configuration = configuration
        self._config_file = config_file
        self._notifier = Notifier()
        self._status_path = configuration.status_file or status_file.prepared(os.environ)
        self._guards: dict[str, Guard] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._publishing: asyncio.TimerHandle | None = None
        self._publish_from = 0.0
        self._stop = asyncio.Event()
        self._late: list[str] = []
        self._unwritten: str | None = None
        self.station = Station(configuration, self._guards, on_change=self._publish)
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(2)}"
        self._log = structlog.get_logger()

    async def run(self) -> None:
        """Guard all environments until told to stop."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(UnawaitedThreads())
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        self._log.info(
            "daemon.started",
            version=__version__,
            environments=[one.name for one in self.configuration.environments],
            source=self.configuration.source,
            profile=self.configuration.profile,
        )
        for config in self.configuration.environments:
            self._start(config.name)
        self.station.start()
        ready = asyncio.create_task(self._ready())
        supervisor = asyncio.create_task(self._supervise())
        await self._stop.wait()
        self._publish_last()
        self._notifier.stopping()
        self._log.info("daemon.stopping")
        for task in (ready, supervisor):
            task.cancel()
        await asyncio.gather(self._end(self._dismissed(list(self._guards))), self.station.close())
        self._notifier.close()

    def _start(self, name: str) -> None:
        others = {one.name: one for one in self.configuration.environments}
        watched = self.configuration.alerting
        guard = Guard(others[name], others, self.station, self._holder, watched=watched)
        self._guards[name] = guard
        self._tasks[name] = asyncio.create_task(guard.run(), name=f"guard {name}")
        self._tasks[name].add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A guard never ends by itself; the watchdog notices, since nobody announces for it any more."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("guard.ended", task=task.get_name(), exc_info=error)

    def _dismissed(self, names: list[str]) -> dict[asyncio.Task[None], Guard]:
        """Guards that guard no more, with their tasks, which have yet to end."""
        return {self._tasks.pop(name): self._guards.pop(name) for name in names}

    async def _end(self, ending: dict[asyncio.Task[None], Guard]) -> None:
        """Shut the connections first: a cancel alone would ask a frozen server to cancel, and wait for it."""
        for guard in ending.values():
            guard.shut()
        if ending:
            await asyncio.wait(ending, timeout=SHUT_WITHIN)
            for task in ending:
                task.cancel()
            await asyncio.wait(ending, timeout=STOP_WITHIN)
        await asyncio.gather(*(guard.close() for guard in ending.values()))

    async def _ready(self) -> None:
        """READY once each environment has answered, failed, or had its time."""
        waits = [asyncio.create_task(guard.first_contact.wait()) for guard in self._guards.values()]
        if waits:
            await asyncio.wait(waits, timeout=READY_WITHIN)
        for task in waits:
            task.cancel()
        self._notifier.ready()
        self.station.ready = True
        self._publish()

    async def _supervise(self) -> None:
        """Ping the watchdog while every environment keeps the time it announced. Nobody else pings."""
        interval = watchdog_interval()
        every = interval.total_seconds() / 3 if interval is not None else READY_WITHIN
        while True:
            late = [name for name, guard in self._guards.items() if guard.due < time.monotonic()]
            if not late:
                self._notifier.watchdog()
            elif late != self._late:
                self._log.error("watchdog.withheld", late=late)
            self._late = late
            self._notifier.status(status.line(guard.status for guard in self._guards.values()))
            await asyncio.sleep(every)

    def _publish(self) -> None:
        """Have the status written: at once, or, where environments are many, as soon as its cost allows."""
        if self._publishing is None and not self._stop.is_set():
            loop = asyncio.get_running_loop()
            self._publishing = loop.call_at(self._publish_from, self._write_status)

    def _publish_last(self) -> None:
        """Leave what was known when the end began; what guards see while they end is not news."""
        if self._publishing is not None:
            self._publishing.cancel()
        self._show_status()

    def _write_status(self) -> None:
        """Write the status file and systemd's first look."""
        loop = asyncio.get_running_loop()
        begun = time.thread_time()
        self._show_status()
        self._publishing = None
        self._publish_from = loop.time() + (time.thread_time() - begun) * PUBLISH_DUTY

    def _show_status(self) -> None:
        known = [guard.status for guard in self._guards.values()]
        self._notifier.status(status.line(known))
        if self._status_path is None:
            return
        try:
            interval = status.longest_interval(self.configuration)
            document = status.document(known, self.configuration.source, os.getpid(), interval)
            status_file.write(self._status_path, document)
        except OSError as error:
            if error.strerror != self._unwritten:
                self._log.warning(
                    "status_file.failed",
                    path=str(self._status_path),
                    reason=error.strerror,
                    hint=f"set {status_file.VARIABLE} to a place where it may be written",
                )
            self._unwritten = error.strerror
        else:
            self._unwritten = None

    def _reload(self) -> None:
        """Read the configuration anew; a bad one changes nothing."""
        self._notifier.reloading()
        try:
            configuration = load(os.environ, self._config_file)
        except ConfigurationError as error:
            for fault in error.faults:
                self._log.error("config.rejected", fault=fault)
            self.station.own.config_rejected = True
        else:
            self._take(configuration)
            self.station.own.config_rejected = False
            self._log.info("config.reloaded", source=configuration.source)
        self._notifier.ready()

    def _take(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.station.reconfigure(configuration)
        logging.set_level(configuration.log_level)
        others = {one.name: one for one in configuration.environments}
        gone = [name for name in self._guards if name not in others]
        if gone:
            self._ending = asyncio.create_task(self._end(self._dismissed(gone)))
        for name, config in others.items():
            if name in self._guards and not self._tasks[name].done():
                self._guards[name].reconfigure(config, others, watched=configuration.alerting)
            else:
                self._start(name)
        self._publish()
