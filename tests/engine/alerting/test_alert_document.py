"""``config/alerts.md`` tells of the rules and readings that there are, and of no others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from queuewarden.engine.alerting.defaults import RULES
from queuewarden.engine.alerting.readings import READINGS
from queuewarden.engine.alerting.wording import shown
from queuewarden.settings.load import load
from queuewarden.settings.types import spelled

if TYPE_CHECKING:
    from datetime import timedelta

    from queuewarden.engine.alerting.rules import AlertRule

TEXT = (Path(__file__).parents[3] / "config/alerts.md").read_text()


def section(heading: str) -> str:
    return TEXT.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def table(heading: str) -> list[list[str]]:
    lines = [line for line in section(heading).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def duration(span: timedelta | None, without: str) -> str:
    return spelled(span) if span else without


def row(rule: AlertRule) -> list[str]:
    condition = f"{rule.comparison} {shown(rule.metric, rule.threshold)}"
    if rule.clear is not None:
        condition += f", until {shown(rule.metric, rule.clear)}"
    return [
        f"`{rule.name}`",
        f"`{rule.metric}`",
        condition,
        duration(rule.hold, "at once"),
        rule.severity,
        duration(rule.cooldown, "none"),
        duration(rule.escalate_after, "never"),
    ]


def test_the_table_of_rules_is_true() -> None:
    assert [cells[:-1] for cells in table("The default rules")] == [row(rule) for rule in RULES]


def test_each_number_has_a_reason() -> None:
    assert all(len(cells) == 8 and len(cells[-1]) > 10 for cells in table("The default rules"))


def test_the_list_of_readings_is_true() -> None:
    assert table("Readings") == [[f"`{name}`", text] for name, text in READINGS.items()]


def test_the_example_does_what_its_sentence_says(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    file = tmp_path / "given.env"
    file.write_text(block + "QUEUEWARDEN_DSN=host=db.example.com dbname=app\n")
    configuration = load({}, file, default_file=tmp_path / "none", credentials=tmp_path / "none")
    rules = {rule.name: rule for rule in configuration.rules}
    assert rules.keys() ^ {rule.name for rule in RULES} == {"cache_hits", "cache_hits_low", "few_workers"}
    assert (rules["backlog"].threshold, rules["backlog"].clear, rules["backlog"].severity) == (
        500,
        300,
        "warning",
    )
    assert rules["database_slow_critical"].severity == "warning"
    few = rules["few_workers"]
    assert (few.metric, few.comparison, few.threshold) == ("active_workers", "below", 3)
