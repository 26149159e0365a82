"""The API and a channel inside the unit's sandbox, with their secrets as credentials."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from eventually import eventually
from receivers import Receiver

from .conftest import SOCKETS, Service
from .test_service import QUEUE, SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator

    import servers

TOKEN = "a-token-for-readers-of-the-box"
ASK = """
import sys, urllib.request
token, address = sys.argv[1:]
request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"} if token else {})
try:
    with urllib.request.urlopen(request, timeout=5) as answer:
        print(answer.status, answer.read().decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
except urllib.error.URLError:
    print(0, "null")
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


@pytest.fixture
def database(postgresql: servers.OwnServer) -> Iterator[servers.Database]:
    with postgresql.database(SCHEMA) as database:
        yield database


def ask(service: Service, path: str, token: str = "") -> tuple[int, Any]:
    told = service.box.run("/usr/bin/python3", "-c", ASK, token, f"http://127.0.0.1:19753{path}").stdout
    status, _, body = told.partition(" ")
    return int(status), json.loads(body)


def test_the_api_and_a_channel_work_in_the_sandbox(
    service: Service, database: servers.Database, receiver: Receiver
) -> None:
    service.credential("prod", f"host={SOCKETS} dbname={database.name} user=postgres")
    service.configure(
        **QUEUE,
        HTTP="127.0.0.1:19753",
        RULE__WAITS__METRIC="waiting_jobs",
        RULE__WAITS__THRESHOLD="0",
        RULE__WAITS__SEVERITY="critical",
    )
    for name, secret in (("http_read_token", TOKEN), ("alert_ops", receiver.url)):
        service.box.write(f"/etc/queuewarden/{name}", secret)
    service.drop_in(
        "LoadCredential=http_read_token:/etc/queuewarden/http_read_token",
        "LoadCredential=alert_ops:/etc/queuewarden/alert_ops",
    )
    service.start()
    assert eventually(lambda: ask(service, "/health/ready")[0] == 200, seconds=30, what="it is ready")
    assert ask(service, "/api/status")[0] == 401
    status, told = ask(service, "/api/status", TOKEN)
    assert (status, told["environments"]["prod"]["state"]) == (200, "up")
    database.execute("INSERT INTO jobs VALUES (1, 'waiting', NULL)")
    eventually(
        lambda: [one for one in receiver.titles if one.startswith("[critical]")], seconds=60, what="the alert"
    )
    service.box.run("systemctl", "stop", "queuewarden")
    assert service.show("Result") == "success"
