"""Tokens and URLs as credentials, and a socket for a proxy, as config/http.md says how."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from .conftest import CHECKOUT, SOCKETS, Service
from .test_service import QUEUE, SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator

    import servers

SECRETS = "/etc/queuewarden/secrets"
GUIDE = (CHECKOUT / "config/http.md").read_text()
CREDENTIALS, GROUP = (
    block.removeprefix("[Service]\n").splitlines()
    for block in re.findall(r"^```ini\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
)


@pytest.fixture
def guarded(service: Service, postgresql: servers.OwnServer) -> Iterator[Service]:
    """One environment, and the secrets of the guide."""
    with postgresql.database(SCHEMA) as database:
        service.credential("prod", f"host={SOCKETS} dbname={database.name} user=postgres")
        service.box.run("install", "-d", "-m", "0700", SECRETS)
        for name, secret in (
            ("http_read_token", "a-token-for-readers"),
            ("http_write_token", "a-token-for-writers"),
            ("alert_ops", "json://127.0.0.1:1/"),
        ):
            service.box.run("install", "-m", "0600", "/dev/null", f"{SECRETS}/{name}")
            service.box.write(f"{SECRETS}/{name}", f"{secret}\n")
        yield service


def test_a_reload_finds_the_secrets_that_only_the_service_is_given(guarded: Service) -> None:
    guarded.drop_in(*CREDENTIALS, f"LoadCredential=alert_ops:{SECRETS}/alert_ops")
    guarded.configure(**QUEUE, ALERT__OPS__SEVERITIES="critical", HTTP="127.0.0.1:19754")
    guarded.start()
    guarded.configure(**QUEUE, ALERT__OPS__SEVERITIES="info", HTTP="127.0.0.1:19754")
    guarded.box.run("systemctl", "reload", "queuewarden")
    guarded.wait_for("config.reloaded")
    assert guarded.show("ActiveState") == "active"
    validated = guarded.box.run(
        "queuewarden", "config", "validate", "--config", "/etc/queuewarden/queuewarden.env"
    )
    assert "valid: environments prod" in validated.stdout
    assert "token" not in validated.stderr
    shown = guarded.box.run("queuewarden", "config", "show", "--config", "/etc/queuewarden/queuewarden.env")
    assert f"(read from {SECRETS}/alert_ops)" in shown.stdout
    assert "a-token-for" not in shown.stdout + shown.stderr


def test_without_its_secret_a_channel_stops_the_reload_and_not_the_service(guarded: Service) -> None:
    guarded.drop_in(*CREDENTIALS)
    guarded.configure(**QUEUE)
    guarded.start()
    guarded.box.run("rm", f"{SECRETS}/alert_ops")
    guarded.configure(**QUEUE, ALERT__OPS__SEVERITIES="critical")
    assert guarded.box.run("systemctl", "reload", "queuewarden", check=False).returncode != 0
    assert any("channel ops has no URL" in str(entry["MESSAGE"]) for entry in guarded.journal())
    assert guarded.show("ActiveState") == "active"


def test_a_proxy_of_another_group_reaches_the_socket(guarded: Service) -> None:
    guarded.drop_in(*CREDENTIALS, *GROUP)
    guarded.configure(**QUEUE, HTTP="unix:/run/queuewarden/http")
    guarded.start()
    guarded.wait_for("http.listening")
    seen = guarded.box.run("stat", "--format=%G %a %F", "/run/queuewarden/http").stdout.strip()
    assert seen == "www-data 660 socket"
    ask = "import socket; socket.socket(socket.AF_UNIX).connect('/run/queuewarden/http')"
    for user, group, code in (("www-data", "www-data", 0), ("nobody", "nogroup", 1)):
        alone = ("setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups")
        asked = guarded.box.run(*alone, "/usr/bin/python3", "-c", ask, check=False)
        assert asked.returncode == code, asked.stderr
