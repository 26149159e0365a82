"""The unit by itself: its grammar and its sandbox."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from .conftest import UNIT, UPKEEP, UPKEEP_UNITS

if TYPE_CHECKING:
    from .conftest import Installed

HIGHEST_EXPOSURE = 1.5


@pytest.mark.parametrize("unit", ["queuewarden.service", f"{UPKEEP}.service", f"{UPKEEP}.timer"])
def test_systemd_has_nothing_to_say_about_the_unit(installed: Installed, unit: str) -> None:
    verified = installed.box.run("systemd-analyze", "verify", unit)
    assert verified.stdout + verified.stderr == ""


def test_an_unknown_setting_would_be_noticed(installed: Installed) -> None:
    unit = "/etc/systemd/system/queuewarden.service"
    installed.box.run("sed", "-i", "s/^WatchdogSec=/WatchdogSecs=/", unit)
    verified = installed.box.run("systemd-analyze", "verify", "queuewarden.service", check=False)
    assert "WatchdogSecs" in verified.stderr


@pytest.mark.parametrize("unit", [UNIT, UPKEEP_UNITS[0]])
def test_the_sandbox_leaves_little_exposed(installed: Installed, unit: str) -> None:
    shown = installed.box.run("systemd-analyze", "security", "--offline=yes", unit)
    score = re.search(r"Overall exposure level for [^ ]+: ([\d.]+)", shown.stdout)
    assert score is not None
    assert float(score[1]) <= HIGHEST_EXPOSURE


def test_the_group_is_not_named_as_the_unit(installed: Installed) -> None:
    groups = installed.box.run("getent", "group").stdout
    assert re.search("^queuewarden-config:", groups, re.MULTILINE)
    assert not re.search("^queuewarden:", groups, re.MULTILINE)
