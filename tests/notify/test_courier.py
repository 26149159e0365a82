from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import notify_servers
import pytest
from eventually import eventually
from notify_servers import until
from ports import free_port
from processes import is_alive

from queuewarden.adapters.notify import process
from queuewarden.adapters.notify.courier import AT_ONCE, Courier
from queuewarden.adapters.notify.process import environment
from queuewarden.errors import ChannelError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine


@asynccontextmanager
async def open_courier(idle: float = 30.0) -> AsyncIterator[Courier]:
    courier = Courier(idle)
    try:
        yield courier
    finally:
        await courier.close()


async def send(courier: Courier, url: str, timeout: float = 10.0, **rest: Any) -> None:  # noqa: ASYNC109 -- passed on
    words: dict[str, Any] = {"title": "[critical] prod: down", "body": "one\ntwo", "kind": "failure"}
    await courier.send(url, timeout=timeout, **(words | rest))


def alive(courier: Courier) -> int:
    """Its process, which there is."""
    assert courier.pid is not None
    return courier.pid


def forks(pid: int) -> list[int]:
    """The attempts under way in a process."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if is_alive(int(child))]


async def refused(courier: Courier, url: str, timeout: float = 10.0) -> ChannelError:  # noqa: ASYNC109 -- passed on
    with pytest.raises(ChannelError) as caught:
        await send(courier, url, timeout)
    return caught.value


def with_courier(work: Callable[[Courier], Coroutine[Any, Any, None]], idle: float = 30.0) -> None:
    async def run() -> None:
        async with open_courier(idle) as courier:
            await work(courier)

    asyncio.run(run())


def test_mail_arrives_as_plain_text_with_its_subject_for_each_recipient() -> None:
    with notify_servers.smtp() as mailbox:
        url = mailbox.url("from=guard@example.com&to=ops@example.com,boss@example.com")
        body = "*one* <b>two</b> _three_ & :smile:\nfour"
        with_courier(lambda courier: send(courier, url, body=body))
    assert sorted(mailbox.recipients) == ["boss@example.com", "ops@example.com"]
    mail = mailbox.mails[0]
    assert mail["Subject"] == "[critical] prod: down"
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content().splitlines() == body.splitlines()


def test_webhook_gets_title_body_and_kind() -> None:
    with notify_servers.web() as web:
        with_courier(lambda courier: send(courier, web.url("/hook")))
    told = web.bodies[0]
    assert (told["title"], told["message"], told["type"]) == ("[critical] prod: down", "one\ntwo", "failure")
    assert web.paths == ["/hook"]
    assert web.agents == ["queuewarden"]


def test_slack_like_receiver_gets_markup_as_letters() -> None:
    # Slack's host is fixed; Mattermost takes the same payload at any.
    with notify_servers.web() as web:
        url = f"mmost://127.0.0.1:{web.port}/abcdefgh1234"
        with_courier(lambda courier: send(courier, url, body="*bold* _it_ <!channel>"))
    assert "*bold* _it_" in web.bodies[0]["text"]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("json://127.0.0.1:{port}/", "JSON: Connection refused"),
        ("mailto://127.0.0.1:{port}?from=a@b.example&to=c@d.example", "E-Mail: Connection refused"),
        (
            "json://nosuchhost.invalid/",
            "JSON: (Name or service not known|Temporary failure in name resolution)",
        ),
    ],
)
def test_who_cannot_be_reached_is_told_with_the_reason(url: str, reason: str) -> None:
    async def work(courier: Courier) -> None:
        # A resolver that nobody answers takes its time.
        error = await refused(courier, url.format(port=free_port()), timeout=60)
        assert re.fullmatch(reason, str(error))
        assert not error.permanent

    with_courier(work)


@pytest.mark.parametrize("receiver", [notify_servers.half_closed, notify_servers.resetting])
@pytest.mark.parametrize(
    "scheme", ["json://127.0.0.1:{}/", "mailto://127.0.0.1:{}?from=a@b.example&to=c@d.example"]
)
def test_broken_connections_are_failures(receiver: Callable[[], Any], scheme: str) -> None:
    async def work(courier: Courier) -> None:
        error = await refused(courier, scheme.format(port))
        assert re.search(r"connection was closed|reset by peer|Broken pipe", str(error)), error
        assert not error.permanent

    with receiver() as port:
        with_courier(work)


def test_silent_receiver_times_out() -> None:
    async def work(courier: Courier) -> None:
        await courier.check("json://localhost/")
        begun = time.monotonic()
        # A fifth of it is left to the library to say so before the kernel ends the attempt.
        error = await refused(courier, f"json://127.0.0.1:{port}/", timeout=10)
        assert str(error) == "JSON: timed out"
        assert time.monotonic() - begun < 20

    with notify_servers.silent() as port:
        with_courier(work)


def test_attempt_that_no_timeout_of_the_library_ends_is_ended_by_the_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "LATE", 20.0)  # nobody else ends it meanwhile

    async def work(courier: Courier) -> None:
        await courier.check("json://localhost/")
        begun = time.monotonic()
        slow = f"json://127.0.0.1:{port}/?rto=60&cto=60"
        error, _ = await asyncio.gather(refused(courier, slow, timeout=0.5), send(courier, web.url()))
        assert str(error) == "no answer within 0.5 s"
        assert time.monotonic() - begun < 15
        pid = courier.pid
        await send(courier, web.url())
        assert courier.pid == pid

    with notify_servers.silent() as port, notify_servers.web() as web:
        with_courier(work)
    assert len(web.bodies) == 2


def test_stopped_process_is_killed_and_the_next_message_has_another() -> None:
    async def work(courier: Courier) -> None:
        await courier.check("json://localhost/")
        former = alive(courier)
        os.kill(former, signal.SIGSTOP)
        error = await refused(courier, web.url(), timeout=0.3)
        assert str(error) == "no answer within 1.3 s"
        await until(lambda: not is_alive(former))
        await send(courier, web.url())

    with notify_servers.web() as web:
        with_courier(work)
    assert len(web.bodies) == 1


def test_own_timeouts_of_a_url_count() -> None:
    async def work(courier: Courier) -> None:
        error = await refused(courier, f"json://127.0.0.1:{port}/?rto=0.2", timeout=100)
        assert str(error) == "JSON: timed out"

    with notify_servers.silent() as port:
        with_courier(work)


@pytest.mark.parametrize(
    ("status", "reason", "permanent"),
    [
        (500, "JSON: HTTP 500 Internal Server Error", False),
        (401, "JSON: HTTP 401 Unauthorized", False),
        (400, "JSON: HTTP 400 Bad Request", True),
        (599, "JSON: HTTP 599", False),
    ],
)
def test_status_codes_are_told(status: int, reason: str, permanent: bool) -> None:  # noqa: FBT001 -- a parameter
    async def work(courier: Courier) -> None:
        error = await refused(courier, web.url())
        assert (str(error), error.permanent) == (reason, permanent)

    with notify_servers.web(status) as web:
        with_courier(work)


def test_redirected_message_is_not_taken() -> None:
    async def work(courier: Courier) -> None:
        error = await refused(courier, web.url())
        assert str(error) == "JSON: HTTP 302 Found"

    with notify_servers.web(302) as web:
        web.location = "/elsewhere"
        with_courier(work)
    assert web.paths == ["/"]


def test_smtp_server_that_refuses_the_message_is_quoted() -> None:
    async def work(courier: Courier) -> None:
        error = await refused(courier, mailbox.url())
        assert str(error) == "E-Mail: SMTP 550 5.7.1 not from you"
        assert error.permanent, "those recipients that took it would have it again and again"
        error = await refused(courier, mailbox.url())
        assert (str(error), error.permanent) == ("E-Mail: SMTP 451 try later", False)

    with notify_servers.smtp("550 5.7.1 not from you", "451 try later") as mailbox:
        with_courier(work)
    assert mailbox.mails == []


def test_url_that_is_not_understood_is_a_permanent_failure() -> None:
    async def work(courier: Courier) -> None:
        for url in (
            "nosuch://token/other",
            "no URL at all",
            "slack://only-one-token",
            "json://127.0.0.1:1/ json://127.0.0.1:2/",
            "mailto://",
            "",
        ):
            error = await refused(courier, url)
            assert error.permanent, url
            with pytest.raises(ChannelError) as caught:
                await courier.check(url)
            assert caught.value.permanent, url

    with_courier(work)


def test_check_connects_to_nothing() -> None:
    async def work(courier: Courier) -> None:
        await courier.check(web.url())
        await courier.check(f"mailto://127.0.0.1:{web.port}?from=a@b.example&to=c@d.example")

    with notify_servers.web() as web:
        with_courier(work)
    assert not web.came.is_set()


SECRET_URLS = (
    "json://alice:hunter2-secret@127.0.0.1:{port}/T0KENinPATH?+Authorization=Bearer-s3cretHEADER",
    "mailto://alice:hunter2-secret@127.0.0.1:{port}?from=a@b.example&to=T0KENinPATH@d.example",
    "nosuch://alice:hunter2-secret@127.0.0.1:{port}/T0KENinPATH",
    "slack://T0KENinPATH/hunter2-secret/bad",
    "pagerduty://hunter2-secret",
    "twilio://hunter2-secret:T0KENinPATH@abc",
)


@pytest.mark.parametrize("answers", [True, False])
def test_no_part_of_the_url_is_in_the_reason(answers: bool) -> None:  # noqa: FBT001 -- a parameter
    async def work(courier: Courier) -> None:
        port = web.port if answers else free_port()
        for url in SECRET_URLS:
            error = await refused(courier, url.format(port=port), timeout=2)
            told = f"{error} {error!r}".lower()
            for secret in ("hunter2", "t0ken", "s3cret", "alice", "127.0.0.1", str(port)):
                assert secret not in told, url

    with notify_servers.web(500) as web:
        with_courier(work)


def test_url_is_neither_in_the_arguments_nor_in_the_environment_of_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("QUEUEWARDEN_ALERT__OPS__URL", "json://hunter2-secret/")
    monkeypatch.setenv("PGPASSWORD", "hunter2-secret")

    async def work(courier: Courier) -> None:
        web.hold.clear()
        sending = asyncio.create_task(send(courier, web.url("/hunter2-secret")))
        await until(web.came.is_set)
        [fork] = forks(alive(courier))
        places = [
            Path(f"/proc/{pid}/{name}") for pid in (courier.pid, fork) for name in ("cmdline", "environ")
        ]
        seen = b"".join(place.read_bytes() for place in places)
        assert b"hunter2" not in seen
        assert b"queuewarden.adapters.notify.child" in seen
        web.hold.set()
        await sending

    with notify_servers.web() as web:
        with_courier(work)


def test_process_keeps_what_leads_to_others() -> None:
    kept = {
        "https_proxy": "http://proxy:3128",
        "NO_PROXY": "localhost",
        "SSL_CERT_FILE": "/ca.pem",
        "PATH": "/bin",
    }
    secret = {
        "QUEUEWARDEN_HTTP_WRITE_TOKEN": "x",
        "PGPASSWORD": "x",
        "AWS_SECRET": "x",
        "NOTIFY_SOCKET": "/x",
    }
    assert environment(kept | secret) == kept


def test_process_ends_when_there_is_nothing_to_send_for_a_while() -> None:
    async def work(courier: Courier) -> None:
        await send(courier, web.url())
        pid = alive(courier)
        await send(courier, web.url())
        assert courier.pid == pid
        await until(lambda: courier.pid is None)
        await until(lambda: not is_alive(pid))
        await send(courier, web.url())

    with notify_servers.web() as web:
        with_courier(work, idle=2.5)
    assert len(web.bodies) == 3


def test_process_does_not_end_while_it_sends() -> None:
    async def work(courier: Courier) -> None:
        web.hold.clear()
        await courier.check("json://localhost/")
        sending = asyncio.create_task(send(courier, web.url()))
        await until(web.came.is_set)
        pid = courier.pid
        await courier.check("json://localhost/")
        await asyncio.sleep(0.8)
        assert courier.pid == pid
        web.hold.set()
        await sending

    with notify_servers.web() as web:
        with_courier(work, idle=0.5)


def test_killed_while_idle_is_replaced() -> None:
    async def work(courier: Courier) -> None:
        await send(courier, web.url())
        pid = alive(courier)
        os.kill(pid, signal.SIGKILL)
        await until(lambda: courier._process is None or not courier._process.usable)
        assert not is_alive(pid)
        await send(courier, web.url())

    with notify_servers.web() as web:
        with_courier(work)
    assert len(web.bodies) == 2


@pytest.mark.parametrize("whole", [True, False])
def test_killed_while_sending_is_a_failure_that_may_pass(whole: bool) -> None:  # noqa: FBT001 -- a parameter
    async def work(courier: Courier) -> None:
        web.hold.clear()
        sending = asyncio.create_task(refused(courier, web.url()))
        await until(web.came.is_set)
        pid = alive(courier)
        [fork] = forks(pid)
        os.kill(pid if whole else fork, signal.SIGKILL)
        error = await sending
        assert str(error) == "the sending process ended (-9)"
        assert not error.permanent
        await until(lambda: not is_alive(fork))

    with notify_servers.web() as web:
        with_courier(work)


def test_hanging_receivers_hold_up_nobody_else() -> None:
    async def work(courier: Courier) -> None:
        silence = f"json://127.0.0.1:{port}/"
        hanging = [asyncio.create_task(refused(courier, silence, 20)) for _ in range(AT_ONCE - 1)]
        await until(lambda: courier.pid and len(forks(courier.pid)) == AT_ONCE - 1)
        await send(courier, web.url())
        assert not any(task.done() for task in hanging)
        await courier.close()
        for error in await asyncio.gather(*hanging):
            assert "ended" in str(error)

    with notify_servers.silent() as port, notify_servers.web() as web:
        with_courier(work)


def test_at_most_so_many_attempts_at_once() -> None:
    async def work(courier: Courier) -> None:
        web.hold.clear()
        tasks = [asyncio.create_task(send(courier, web.url(), 30)) for _ in range(AT_ONCE + 2)]
        await until(lambda: len(web.bodies) == AT_ONCE)
        await asyncio.sleep(0.3)
        assert len(web.bodies) == AT_ONCE
        web.hold.set()
        await asyncio.gather(*tasks)

    with notify_servers.web() as web:
        with_courier(work)
    assert len(web.bodies) == AT_ONCE + 2


def test_close_ends_everything_within_a_second() -> None:
    async def work(courier: Courier) -> None:
        await send(courier, web.url())
        hanging = [asyncio.create_task(refused(courier, f"json://127.0.0.1:{port}/", 20)) for _ in range(2)]
        pid = alive(courier)
        await until(lambda: len(forks(pid)) == 2)
        pids = [pid, *forks(pid)]
        begun = time.thread_time(), time.monotonic()
        await courier.close()
        # Within a second, were it not for pauses of the machine; the attempts would take twenty.
        assert time.thread_time() - begun[0] < 1
        assert time.monotonic() - begun[1] < 5
        await until(lambda: not any(map(is_alive, pids)))
        await asyncio.gather(*hanging)
        assert "stopping" in str(await refused(courier, web.url()))
        assert courier.pid is None

    with notify_servers.silent() as port, notify_servers.web() as web:
        with_courier(work)


def test_signal_to_all_processes_of_the_unit_ends_no_message() -> None:
    async def work(courier: Courier) -> None:
        await courier.check("json://localhost/")
        web.hold.clear()
        sending = asyncio.create_task(send(courier, web.url()))
        await until(web.came.is_set)
        for pid in (alive(courier), *forks(alive(courier))):
            os.kill(pid, signal.SIGTERM)
        web.hold.set()
        await sending

    with notify_servers.web() as web:
        with_courier(work)


def test_cancelled_message_disturbs_no_other() -> None:
    async def work(courier: Courier) -> None:
        held.hold.clear()
        task = asyncio.create_task(send(courier, held.url()))
        await until(held.came.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await send(courier, web.url())
        held.hold.set()
        await until(lambda: not forks(alive(courier)))

    with notify_servers.web() as held, notify_servers.web() as web:
        with_courier(work)


PARENT = """
import asyncio, sys
from queuewarden.adapters.notify.courier import Courier

async def main():
    courier = Courier()
    await courier.check("json://localhost/")
    print(courier.pid, flush=True)
    await courier.send(sys.argv[1], title="t", body="b", kind="info", timeout=60)

asyncio.run(main())
"""


def test_process_does_not_outlive_a_killed_daemon_even_while_it_hangs() -> None:
    called = threading.Event()
    with notify_servers.silent(called.set) as port:
        command = [sys.executable, "-c", PARENT, f"json://127.0.0.1:{port}/?rto=60"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
            assert parent.stdout is not None
            pid = int(parent.stdout.readline())
            try:
                assert called.wait(30)
                attempts = forks(pid)
            finally:
                parent.kill()
        assert attempts
        eventually(lambda: not any(map(is_alive, (pid, *attempts))))
