"""`queuewarden top` on real databases, printed and on a terminal."""

from __future__ import annotations

import asyncio
import errno
import json
import re
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kit
import ledgers
import pytest
from commands_kit import MAIL, MESS, UNREACHABLE, as_role, own_environment, versions_of_rows
from eventually import eventually
from hostile.terminals import ESCAPES, harmless_line
from pseudo_terminals import HOME, OURS, Terminal

from queuewarden.application.top.screen import Screen
from queuewarden.application.top.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import servers

ROWS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
ACTIVE = f"{ROWS} AND state = 'active'"


@pytest.fixture
def database(databases: Callable[..., servers.Database]) -> servers.Database:
    database = databases(ledgers.SCHEMA)
    database.execute(MESS)
    return database


@pytest.fixture
def terminal(database: servers.Database) -> Iterator[Callable[..., Terminal]]:
    """Starts `top` on a terminal, for environment prod unless told otherwise."""
    opened: list[Terminal] = []

    def _terminal(*arguments: str, **options: Any) -> Terminal:
        variables = {"QUEUEWARDEN_ENV__PROD__DSN": database.dsn} | MAIL | options
        opened.append(Terminal("top", "--every", "500ms", *arguments, **variables))
        return opened[-1]

    yield _terminal
    for one in opened:
        one.close()


class TestOnce:
    def test_what_there_is(self, mail: Callable, database: servers.Database) -> None:
        database.execute(
            "UPDATE queuewarden.lease SET holder = 'host:1', epoch = 4, until = now() + interval '1 hour';"
            "INSERT INTO queuewarden.pauses (environment, reason, set_by, until)"
            " VALUES ('prod', 'deploying', 'anna', now() + interval '1 hour')"
        )
        called = mail("top", "--once")
        assert called.code == 0
        assert "1/1 up" in called.out
        assert "lease host:1, epoch 4" in called.out
        assert ": deploying (by anna)" in called.out
        assert "mail 1 of the dead on dead for 1 h STUCK" in called.out
        assert "mail 2 stuck on alive for 5 m STUCK" in called.out
        assert re.search(r"mail 3 well on alive for \d+ s\n", called.out)
        assert "! 2 stuck" in called.out
        [row] = [line.split() for line in called.out.splitlines() if line.startswith("  mail  ")]
        assert row[:4] == ["mail", "1", "3", "2"]
        assert "\x1b" not in called.out

    def test_repairs_are_told_from_the_ledger(self, mail: Callable) -> None:
        assert mail("repair", "--no-grace").code in {0, 1}
        out = mail("top", "--once").out
        assert "ago  mail: 1 jobs.reset (stuck) by " in out

    def test_for_programs(self, mail: Callable) -> None:
        called = mail("top", "--once", "--json", QUEUEWARDEN_ENV__DEV__DSN=UNREACHABLE)
        assert called.code == 0
        [line] = called.out.splitlines()
        found = json.loads(line)["environments"]
        assert found["dev"]["state"] == "down"
        assert found["dev"]["reason"] == "connection refused"
        prod = found["prod"]
        assert (prod["state"], prod["waiting_jobs"], prod["running_jobs"]) == ("up", 1, 3)
        assert prod["queues"]["mail"]["failed_last_hour"] == 1
        assert prod["queues"]["mail"]["silent_workers"] == 1
        assert prod["longest_running"][0] | {"seconds": 0} == {
            "queue": "mail",
            "id": "1",
            "label": "of the dead",
            "worker": "dead",
            "seconds": 0,
            "stuck": True,
        }
        assert prod["problems"] == ["2 stuck", "mail: 1 silent worker"]
        assert "geheim" not in called.out

    def test_the_exit_code_tells_whether_any_database_answered(self, mail: Callable, call: Callable) -> None:
        assert mail("top", "--once", QUEUEWARDEN_ENV__DEV__DSN=UNREACHABLE).code == 0
        called = call("top", "--once", QUEUEWARDEN_ENV__DEV__DSN=UNREACHABLE)
        assert called.code == 69
        assert re.search(r"DOWN \d+ s: connection refused", called.out)
        assert call("top", "--once", "--json", QUEUEWARDEN_ENV__DEV__DSN=UNREACHABLE).code == 69

    def test_what_is_no_terminal_gets_one_frame(self, mail: Callable) -> None:
        called = mail("top")
        assert called.code == 0
        assert called.out.count("queuewarden top") == 1

    def test_only_some(self, mail: Callable) -> None:
        other = {name.replace("MAIL", "OTHER"): value for name, value in MAIL.items()}
        other |= {"QUEUEWARDEN_QUEUE__OTHER__STATES__RUNNING": "at_work"}
        assert "  other" in mail("top", "--once", **other).out
        assert "  other" not in mail("top", "--once", "--queue", "mail", **other).out
        assert mail("top", "--once", "--queue", "male").code == 2
        assert mail("top", "--once", "--env", "dev").code == 2

    def test_nothing_is_asked_too_often(self, mail: Callable) -> None:
        assert mail("top", "--every", "499ms").code == 2
        assert mail("top", "--every", "0s").code == 2

    def test_nothing_is_written_and_reading_is_enough(
        self, mail: Callable, database: servers.Database
    ) -> None:
        before = versions_of_rows(database)
        role = f"{database.name}_reader"
        database.execute(f"CREATE ROLE {role}; GRANT SELECT ON jobs, workers TO {role}")
        try:
            called = mail("top", "--once", QUEUEWARDEN_ENV__PROD__DSN=as_role(database, role))
        finally:
            database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
        assert called.code == 0
        assert "mail: only observed" in called.out
        assert "mail 1 of the dead" in called.out
        assert versions_of_rows(database) == before

    def test_a_queue_that_does_not_fit_hides_no_other(self, mail: Callable) -> None:
        other = {name.replace("MAIL", "OTHER"): value for name, value in MAIL.items()}
        other |= {"QUEUEWARDEN_QUEUE__OTHER__JOBS__TABLE": "nowhere"}
        out = mail("top", "--once", **other).out
        assert "other: could not be counted" in out
        assert "mail 1 of the dead" in out

    def test_without_a_ledger(self, mail: Callable, database: servers.Database) -> None:
        database.execute("DROP SCHEMA queuewarden CASCADE")
        assert "no ledger" in mail("top", "--once").out

    def test_a_locale_without_bars(self, database: servers.Database) -> None:
        environ = own_environment(QUEUEWARDEN_ENV__PROD__DSN=database.dsn, PYTHONIOENCODING="ascii", **MAIL)
        command = [sys.executable, "-m", "queuewarden", "top", "--once"]
        done = subprocess.run(command, env=environ, capture_output=True, check=True)
        assert b"1/1 up" in done.stdout


class TestTerminal:
    def test_it_draws_and_q_gives_the_terminal_back(self, terminal: Callable[..., Terminal]) -> None:
        shown = terminal()
        shown.wait_for("mail 1 of the dead on dead", "STUCK")
        assert len(shown.frame) == 24
        assert "\x1b[?1049h" in shown.written
        shown.press("q")
        assert shown.ended() == 0
        assert shown.restored()

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_signals_give_the_terminal_back(
        self, terminal: Callable[..., Terminal], number: signal.Signals
    ) -> None:
        shown = terminal()
        shown.wait_for("1/1 up")
        shown.process.send_signal(number)
        assert shown.ended() == 0
        assert shown.restored()
        assert "Traceback" not in shown.written

    def test_it_follows_the_queue(
        self, terminal: Callable[..., Terminal], database: servers.Database
    ) -> None:
        shown = terminal()
        shown.wait_for("  mail ", " 1 ")
        database.execute("INSERT INTO jobs (id) SELECT n FROM generate_series(100, 4100) AS n")
        shown.wait_for("  mail ", "4002", "█")

    def test_it_follows_the_window(self, terminal: Callable[..., Terminal]) -> None:
        shown = terminal()
        shown.wait_for("mail 1 of the dead")
        shown.resize(120, 40)
        eventually(lambda: len(shown.frame) == 40 and len(shown.frame[1]) == 120)
        shown.resize(30, 6)
        eventually(lambda: len(shown.frame) == 6 and max(map(len, shown.frame)) == 30)
        shown.resize(1, 1)
        eventually(lambda: shown.frame == ["…"])
        shown.resize(80, 24)
        shown.wait_for("mail 1 of the dead")

    def test_p_pauses(self, terminal: Callable[..., Terminal], database: servers.Database) -> None:
        shown = terminal()
        shown.wait_for("1/1 up")
        shown.press("p")
        shown.wait_for("PAUSED")
        eventually(lambda: database.value(ACTIVE) == 0, what="no look is under way any more")
        database.execute("INSERT INTO jobs (id) SELECT n FROM generate_series(100, 4100) AS n")
        drawn = shown.written.count(HOME)
        eventually(lambda: shown.written.count(HOME) > drawn + 2, what="it goes on drawing")
        assert not shown.shows("  mail ", "4002")()
        shown.press("p")
        shown.wait_for("  mail ", "4002")
        assert not any("PAUSED" in line for line in shown.frame)

    def test_keys_sort_and_scroll(self, terminal: Callable[..., Terminal]) -> None:
        others = {f"QUEUEWARDEN_ENV__OTHER_{n:02}__DSN": UNREACHABLE for n in range(30)}
        shown = terminal(**others)
        shown.wait_for("1/31 up")
        shown.wait_for("other_00", "DOWN")
        assert shown.frame[2].startswith("other_00")
        shown.press("j")
        eventually(lambda: shown.frame[2].startswith("other_01"), what=str(shown.frame))
        shown.press("\x1b[6~")
        shown.wait_for("lines 11 to 31 of 31")
        shown.press("g\x1b[B\x1b[A")
        eventually(lambda: shown.frame[2].startswith("other_00"))
        shown.press("ss")
        shown.wait_for("sorted by waiting")
        eventually(lambda: shown.frame[2].startswith("prod"))

    def test_a_stop_and_its_end(self, terminal: Callable[..., Terminal]) -> None:
        shown = terminal()
        shown.wait_for("1/1 up")
        shown.process.send_signal(signal.SIGTSTP)
        eventually(shown.restored, what="the terminal as it was")
        pid = shown.process.pid
        eventually(lambda: b") T " in Path(f"/proc/{pid}/stat").read_bytes())
        drawn = len(shown.written)
        shown.process.send_signal(signal.SIGCONT)
        eventually(lambda: "1/1 up" in shown.written[drawn:])
        shown.press("q")
        assert shown.ended() == 0

    def test_one_connection_that_is_closed_at_the_end(
        self, terminal: Callable[..., Terminal], database: servers.Database
    ) -> None:
        shown = terminal()
        shown.wait_for("1/1 up")
        shown.wait_for("  mail ", "███")
        eventually(lambda: database.value(ROWS) == 1, what="one connection")
        shown.press("q")
        assert shown.ended() == 0
        eventually(lambda: database.value(ROWS) == 0)

    def test_a_terminal_that_goes_away(self, terminal: Callable[..., Terminal]) -> None:
        shown = terminal()
        shown.wait_for("1/1 up")
        shown.hang_up()
        assert shown.process.wait(30) == 0

    def test_a_terminal_that_can_do_nothing_gets_one_frame(self, terminal: Callable[..., Terminal]) -> None:
        shown = terminal(TERM="dumb")
        assert shown.ended() == 0
        assert "1/1 up" in shown.written
        assert "\x1b" not in shown.written

    def test_hostile_rows_are_shown_and_not_obeyed(
        self, terminal: Callable[..., Terminal], database: servers.Database
    ) -> None:
        with database.connect() as connection:
            connection.execute("DELETE FROM jobs")
            connection.execute(
                "INSERT INTO workers (id, heartbeat) VALUES (%s, now())", ["".join(ESCAPES.values())]
            )
            for number, escape in enumerate(reversed(ESCAPES.values())):
                connection.execute(
                    "INSERT INTO jobs (id, status, worker, started_at, label)"
                    " VALUES (%s, 'running', %s, now() - %s * interval '1 minute', %s)",
                    [number + 1, escape, number, f"{escape}[red]markup[/]:boom:"],
                )
            connection.execute(
                "INSERT INTO queuewarden.pauses (environment, reason, set_by, until)"
                " VALUES ('prod', %s, %s, now() + interval '1 hour')",
                [ESCAPES["CSI"], ESCAPES["OSC 0"]],
            )
        shown = terminal("--queue", "mail", columns=200, rows=50)
        shown.wait_for("[red]markup[/]:boom:")
        shown.press("q")
        assert shown.ended() == 0
        lines = OURS.sub("", shown.written).split("\n")
        assert [ascii(line) for line in lines if not harmless_line(line)] == []


class TestFleetElsewhere:
    def test_workers_are_those_of_the_environment_where_they_register(
        self, terminal: Callable[..., Terminal], databases: Callable[..., servers.Database]
    ) -> None:
        home = databases(kit.SCHEMA)
        home.execute(
            "INSERT INTO workers (id, heartbeat) VALUES ('alive', now() + interval '1 hour'),"
            " ('dead', now() - interval '1 hour'), ('other', now() + interval '1 hour')"
        )
        shown = terminal(
            QUEUEWARDEN_ENV__HOME__DSN=home.dsn,
            QUEUEWARDEN_ENV__HOME__QUEUES="other",
            QUEUEWARDEN_ENV__PROD__QUEUES="mail",
            QUEUEWARDEN_QUEUE__MAIL__WORKERS__REGISTERED_IN="home",
            QUEUEWARDEN_DEAD_AFTER="1s",
            **{name.replace("MAIL", "OTHER"): value for name, value in MAIL.items()},
        )
        shown.wait_for("2/2 up")
        shown.wait_for("  mail ", " 2 +1 ✗")


class TestOutage:
    def test_a_database_that_goes_down_comes_back_by_itself(
        self, terminal: Callable[..., Terminal], own_server: servers.OwnServer
    ) -> None:
        with own_server.database(ledgers.SCHEMA) as other:
            shown = terminal(QUEUEWARDEN_ENV__DEV__DSN=other.dsn)
            shown.wait_for("2/2 up")
            own_server.halt()
            shown.wait_for("dev", "DOWN")
            shown.wait_for("1/2 up")
            own_server.launch()
            shown.wait_for("2/2 up")
            shown.press("q")
            assert shown.ended() == 0

    def test_a_frozen_server_holds_up_neither_the_others_nor_the_end(
        self, terminal: Callable[..., Terminal], own_server: servers.OwnServer, database: servers.Database
    ) -> None:
        with own_server.database(ledgers.SCHEMA) as other:
            limits = {"QUEUEWARDEN_STATEMENT_TIMEOUT": "5s", "QUEUEWARDEN_CONNECT_TIMEOUT": "2s"}
            shown = terminal(QUEUEWARDEN_ENV__DEV__DSN=other.dsn, **limits)
            shown.wait_for("2/2 up")
            own_server.freeze()
            try:
                database.execute("INSERT INTO jobs (id) SELECT n FROM generate_series(100, 4100) AS n")
                shown.wait_for("  mail ", "4002", seconds=6)
                shown.wait_for("dev", "DOWN", "no answer within 7 s", seconds=40)
                begun = time.monotonic()
                shown.press("q")
                assert shown.ended() == 0
                assert time.monotonic() - begun < 6
                assert shown.restored()
            finally:
                own_server.thaw()

    def test_the_end_waits_for_no_look_that_is_under_way(
        self, terminal: Callable[..., Terminal], own_server: servers.OwnServer, database: servers.Database
    ) -> None:
        with own_server.database(ledgers.SCHEMA) as other:
            shown = terminal(QUEUEWARDEN_ENV__DEV__DSN=other.dsn)
            shown.wait_for("2/2 up")
            own_server.freeze()
            try:
                # The other environment is looked at twice meanwhile, so this one once.
                for count in (1000, 3000):
                    database.execute(
                        "INSERT INTO jobs (id) SELECT n FROM generate_series(%s::int, %s::int) AS n",
                        [count, count + count - 1],
                    )
                    shown.wait_for(
                        "  mail ", str(database.value("SELECT count(*) FROM jobs WHERE status = 'waiting'"))
                    )
                begun = time.monotonic()
                shown.press("q")
                assert shown.ended() == 0
                assert time.monotonic() - begun < 6  # less than a look may take
            finally:
                own_server.thaw()


def test_without_a_terminal_to_draw_on_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("queuewarden.application.top.screen.frame", gone)
    asyncio.run(asyncio.wait_for(Screen(Watch([], None, timedelta(seconds=1))).show(), 30))


class TestStream:
    def test_a_line_for_each_look_until_it_is_interrupted(self, database: servers.Database) -> None:
        environ = own_environment(QUEUEWARDEN_ENV__PROD__DSN=database.dsn, **MAIL)
        command = [sys.executable, "-m", "queuewarden", "top", "--json", "--every", "500ms"]
        with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = [json.loads(process.stdout.readline()) for _ in range(3)]
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        assert all(line["environments"]["prod"]["state"] == "up" for line in lines)
        assert len({line["at"] for line in lines}) == 3

    def test_a_reader_that_has_enough(self, database: servers.Database) -> None:
        environ = own_environment(QUEUEWARDEN_ENV__PROD__DSN=database.dsn, **MAIL)
        command = [sys.executable, "-m", "queuewarden", "top", "--json", "--every", "500ms"]
        with subprocess.Popen(
            command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            process.stdout.close()
            assert process.wait(30) == 1
            assert "Traceback" not in process.stderr.read()
        eventually(lambda: database.value(ROWS) == 0)
