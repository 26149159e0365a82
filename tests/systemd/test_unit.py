"""The unit by itself: its grammar and its sandbox."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conftest import Installed

HIGHEST_EXPOSURE = 1.5


def test_systemd_has_nothing_to_say_about_the_unit(installed: Installed) -> None:
    verified = installed.box.run("systemd-analyze", "verify", "queuewarden.service")
    assert verified.stdout + verified.stderr == ""


def test_an_unknown_setting_would_be_noticed(installed: Installed) -> None:
    unit = "/etc/systemd/system/queuewarden.service"
    installed.box.run("sed", "-i", "s/^WatchdogSec=/WatchdogSecs=/", unit)
    verified = installed.box.run("systemd-analyze", "verify", "queuewarden.service", check=False)
    assert "WatchdogSecs" in verified.stderr


def test_the_sandbox_leaves_little_exposed(installed: Installed) -> None:
    shown = installed.box.run(
        "systemd-analyze", "security", "--offline=yes", "/etc/systemd/system/queuewarden.service"
    )
    score = re.search(r"Overall exposure level for queuewarden.service: ([\d.]+)", shown.stdout)
    assert score is not None
    assert float(score[1]) <= HIGHEST_EXPOSURE


def test_the_group_is_not_named_as_the_unit(installed: Installed) -> None:
    groups = installed.box.run("getent", "group").stdout
    assert re.search("^queuewarden-config:", groups, re.MULTILINE)
    assert not re.search("^queuewarden:", groups, re.MULTILINE)
