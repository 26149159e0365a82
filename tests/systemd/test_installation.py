"""Installing, upgrading and removing, as a new user and as one with a running service."""

from __future__ import annotations

import pytest
from eventually import eventually

from queuewarden import __version__

from .conftest import CHECKOUT, UNIT, UPKEEP_UNITS, Installed, Service

OPT = "/opt/queuewarden"
ENV_FILE = "/etc/queuewarden/queuewarden.env"
COMMAND = "/opt/queuewarden/current/bin/queuewarden"


def lines(installed: Installed, *command: str) -> list[str]:
    return installed.box.run(*command).stdout.split()


@pytest.fixture
def usable(service: Service) -> None:
    """A configuration that any version accepts."""
    service.configure(ENV__PROD__DSN="host=/run/nowhere")


def test_the_first_installation_is_complete_and_tells_what_is_next(installed: Installed) -> None:
    assert lines(installed, "ls", OPT) == [__version__, "current"]
    assert lines(installed, "readlink", f"{OPT}/current") == [__version__]
    assert __version__ in installed.box.run(COMMAND, "--version").stdout
    assert __version__ in installed.box.run("queuewarden", "--version").stdout
    assert [line.split(maxsplit=1)[1] for line in installed.first.splitlines()[-2:]] == [
        f"sudoedit {ENV_FILE}",
        "sudo systemctl enable --now queuewarden",
    ]


def test_only_the_service_and_root_can_read_the_configuration(installed: Installed) -> None:
    shown = installed.box.run("stat", "-c", "%a %U %G", ENV_FILE, "/etc/queuewarden/credentials").stdout
    assert shown.splitlines() == ["640 root queuewarden-config", "700 root root"]


def test_the_template_is_the_reference(installed: Installed) -> None:
    template = "/srv/checkouts/first/config/queuewarden.env.example"
    installed.box.run("cmp", template, ENV_FILE)


def test_nothing_refers_to_where_it_was_built(installed: Installed) -> None:
    found = installed.box.run("grep", "-rIlF", f"{OPT}/.new", f"{OPT}/current/", check=False)
    assert found.stdout == ""
    assert lines(installed, "ls", "-A", OPT) == [".lock", __version__, "current"]


def test_installing_again_changes_nothing_that_is_configured(
    installed: Installed, service: Service, usable: None
) -> None:
    before = installed.box.run("cat", ENV_FILE).stdout
    said = installed.install("/srv/checkouts/first").stdout
    assert installed.box.run("cat", ENV_FILE).stdout == before
    assert lines(installed, "ls", "-A", OPT) == [".lock", __version__, "current"]
    assert __version__ in installed.box.run(COMMAND, "--version").stdout
    assert "sudo systemctl restart queuewarden" in said


def test_an_upgrade_waits_for_its_restart_and_keeps_the_previous_version(
    installed: Installed, service: Service, usable: None
) -> None:
    service.start()
    running = service.show("MainPID")
    installed.install(installed.checkout("90.0"))
    assert lines(installed, "readlink", f"{OPT}/current", f"{OPT}/previous") == ["90.0", __version__]
    assert service.show("MainPID") == running
    installed.box.run("systemctl", "restart", "queuewarden")
    assert "90.0" in installed.box.run(COMMAND, "--version").stdout

    said = installed.install(installed.checkout("91.0")).stdout
    assert "version 90.0 is kept" in said
    assert lines(installed, "ls", OPT) == ["90.0", "91.0", "current", "previous"]
    # The way back is the same way, and changes which of the two is the previous one.
    installed.install(installed.checkout("90.0"))
    assert lines(installed, "readlink", f"{OPT}/current", f"{OPT}/previous") == ["90.0", "91.0"]


def test_a_version_that_refuses_the_configuration_is_not_installed(
    installed: Installed, service: Service
) -> None:
    service.configure(ENV__PROD__DSN="host=/run/nowhere", STUCK_AFTER="soon")
    before = lines(installed, "ls", "-A", OPT)
    # What is set in the shell would not be there for the service.
    shell = {"QUEUEWARDEN_STUCK_AFTER": "3m"}
    refused = installed.install(installed.checkout("90.0"), check=False, env=shell)
    assert refused.returncode == 1
    assert "STUCK_AFTER" in refused.stderr
    assert f"version 90.0 refuses {ENV_FILE}" in refused.stderr
    assert f"version {__version__} stays in place" in refused.stderr
    assert lines(installed, "ls", "-A", OPT) == before
    assert lines(installed, "readlink", f"{OPT}/current") == [__version__]
    assert __version__ in installed.box.run(COMMAND, "--version").stdout


def test_a_checkout_that_cannot_be_built_leaves_the_version_in_place(
    installed: Installed, usable: None
) -> None:
    broken = installed.checkout("90.1")
    (installed.checkouts / "90.1/src/queuewarden/__init__.py").unlink()
    assert installed.install(broken, check=False).returncode != 0
    assert lines(installed, "ls", "-A", OPT) == [".lock", __version__, "current"]
    assert __version__ in installed.box.run(COMMAND, "--version").stdout


def test_removing_keeps_the_configuration(installed: Installed, service: Service, usable: None) -> None:
    service.credential("prod", "host=/run/nowhere")
    installed.box.run("systemctl", "enable", "--quiet", "queuewarden")
    service.start()
    running = service.show("MainPID")
    said = installed.box.run("/srv/checkouts/first/systemd/uninstall.sh").stdout
    assert "/etc/queuewarden" in said
    eventually(
        lambda: installed.box.run("ls", f"/proc/{running}", check=False).returncode != 0, what="it ended"
    )
    gone = (UNIT, *UPKEEP_UNITS, OPT, "/usr/local/bin/queuewarden")
    for path in (*gone, "/etc/systemd/system/multi-user.target.wants/queuewarden.service"):
        assert installed.box.run("ls", path, check=False).returncode != 0, path
    assert installed.box.run("cat", "/etc/queuewarden/credentials/prod").stdout == "host=/run/nowhere"
    assert lines(installed, "stat", "-c", "%G", ENV_FILE) == ["queuewarden-config"]
    assert service.show("LoadState") == "not-found"

    installed.box.run("/srv/checkouts/first/systemd/uninstall.sh")
    installed.install("/srv/checkouts/first")
    assert "host=/run/nowhere" in installed.box.run("cat", ENV_FILE).stdout
    service.start()


@pytest.mark.parametrize("script", ["install.sh", "uninstall.sh"])
def test_without_root_nothing_is_done(installed: Installed, script: str) -> None:
    text = (CHECKOUT / "systemd" / script).read_text()
    refused = installed.box.run(
        "setpriv", "--reuid=65534", "--clear-groups", "sh", "-s", check=False, stdin=text
    )
    assert refused.returncode == 1
    assert "needs root" in refused.stderr
