from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from queuewarden.application.commands.presets import presets as command
from queuewarden.queues.conditions import columns as columns_of
from queuewarden.queues.fingerprints import fingerprint_matches, matching_schemas
from queuewarden.queues.presets import presets

if TYPE_CHECKING:
    from queuewarden.queues.presets import Preset

RECOGNISED = [preset for preset in presets().values() if preset.fingerprint]


def catalog(preset: Preset, schema: Any = None) -> Any:
    """The preset's tables as a catalog has them, in a schema, unless the preset names its own."""
    return {
        place(table, schema): {column: types[-1] for column, types in columns.items()}
        for table, columns in preset.fingerprint.tables.items()
    }


def place(table: str, schema: str | None = None) -> tuple[str, str]:
    fixed, _, name = table.rpartition(".")
    return fixed or schema or "public", name


def jobs(preset: Preset) -> tuple[str, str]:
    return place(preset.mapping["jobs", "table"])


def test_which_there_are() -> None:
    assert [name for name, preset in presets().items() if preset.ours] == [
        "extraction",
        "hooks",
        "interviews",
    ]


@pytest.mark.parametrize("preset", RECOGNISED, ids=lambda preset: preset.name)
class TestFingerprint:
    def test_full(self, preset: Preset) -> None:
        assert fingerprint_matches(preset, catalog(preset)) == "full"
        assert fingerprint_matches(preset, catalog(preset), preset.fingerprint.statuses) == "full"

    def test_further_tables_columns_and_statuses_do_no_harm(self, preset: Preset) -> None:
        tables = catalog(preset) | {("public", "other"): {"id": "bigint"}}
        tables[jobs(preset)]["more"] = "jsonb"
        assert fingerprint_matches(preset, tables, [*preset.fingerprint.statuses, "more"]) == "full"

    def test_each_column_counts(self, preset: Preset) -> None:
        for table, columns in preset.fingerprint.tables.items():
            for column in columns:
                tables = catalog(preset)
                del tables[place(table)][column]
                assert fingerprint_matches(preset, tables) == "partial", column
                tables[place(table)][column] = "money"
                assert fingerprint_matches(preset, tables) == "partial", column

    def test_a_status_value_that_the_table_does_not_know(self, preset: Preset) -> None:
        known = fingerprint_matches(preset, catalog(preset), preset.fingerprint.statuses[1:])
        assert known == ("partial" if preset.fingerprint.statuses else "full")

    def test_a_table_that_only_has_the_name(self, preset: Preset) -> None:
        tables = {jobs(preset): {"id": "bigint", "status": "text"}}
        assert fingerprint_matches(preset, tables) is None
        assert fingerprint_matches(preset, {}) is None

    def test_tables_of_one_schema_belong_together(self, preset: Preset) -> None:
        if "." in preset.mapping["jobs", "table"]:
            assert set(matching_schemas(preset, catalog(preset, "a"))) == {jobs(preset)[0]}
            return
        both = catalog(preset, "a") | catalog(preset, "b")
        del both["b", preset.mapping["jobs", "table"]]["id"]
        assert matching_schemas(preset, both) == {"a": "full", "b": "partial"}
        assert fingerprint_matches(preset, both) == "full"

    def test_columns_of_the_mapping_are_in_the_fingerprint(self, preset: Preset) -> None:
        columns = preset.fingerprint.tables[preset.mapping["jobs", "table"]]
        words = {"table", "attempts_counted", "epoch", "time_zone"}
        mapped = {
            value
            for (part, *rest), value in preset.mapping.items()
            if part == "jobs" and rest[0] not in words
        }
        named = {column for value in mapped for column in value.split(", ")}
        assert {column for column in named if not column.isdecimal()} <= set(columns)

    def test_statuses_are_those_of_the_mapping(self, preset: Preset) -> None:
        texts = [value for path, value in preset.mapping.items() if path[0] == "states"]
        states = {one for text in texts for one in text.split(", ")}
        if ("jobs", "status") in preset.mapping:
            # A library may have states of which nothing is to be said.
            assert states <= set(preset.fingerprint.statuses)
            assert preset.library or states == set(preset.fingerprint.statuses)
        else:
            known = {name for table in preset.fingerprint.tables.values() for name in table}
            assert {name for text in states for name in columns_of(text)} <= known


def test_a_table_of_a_fixed_schema() -> None:
    hooks = presets()["hooks"]
    fixed = type(hooks.fingerprint)({"lib.queue_jobs": hooks.fingerprint.tables["queue_jobs"]}, ())
    values = {name: getattr(hooks, name) for name in hooks.__slots__}
    preset = type(hooks)(**values | {"fingerprint": fixed, "mapping": {("jobs", "table"): "lib.queue_jobs"}})
    assert matching_schemas(preset, catalog(hooks, "lib") | catalog(hooks)) == {"lib": "full"}


def test_generic_is_never_recognised() -> None:
    assert fingerprint_matches(presets()["generic"], {("public", "jobs"): {"id": "bigint"}}) is None


def run(*arguments: str) -> Any:
    return CliRunner().invoke(command, arguments)


def test_list() -> None:
    lines = run("list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(presets())
    assert [one["name"] for one in json.loads(run("list", "--json").stdout)] == list(presets())


@pytest.mark.parametrize("preset", presets().values(), ids=lambda preset: preset.name)
def test_what_show_prints_does_the_same_as_the_preset(preset: Preset, loaded: Any) -> None:
    output = run("show", preset.name.upper()).stdout
    assert preset.title in output
    assert preset.notes in output
    # An unmapped table is what generic leaves to the user.
    table = (
        f"QUEUEWARDEN_QUEUE__{preset.name.upper()}__JOBS__TABLE=jobs\n" if preset.name == "generic" else ""
    )
    lines = "".join(line + "\n" for line in output.splitlines() if line.startswith("QUEUEWARDEN_"))
    name = f"QUEUEWARDEN_QUEUE__{preset.name.upper()}__PRESET={preset.name}\n"
    [by_hand] = loaded({"DSN": "host=h"}, lines + table).environments
    [by_name] = loaded({"DSN": "host=h"}, name + table).environments
    assert by_hand.queue_limits == by_name.queue_limits
    assert by_hand.queues[0].jobs == by_name.queues[0].jobs
    assert by_hand.queues[0].timestamps == by_name.queues[0].timestamps


def test_show_json() -> None:
    shown = json.loads(run("show", "interviews", "--json").stdout)
    assert (
        shown["variables"]["QUEUEWARDEN_QUEUE__INTERVIEWS__CHECKS"] == "orphans, timestamps, lanes, positions"
    )
    assert shown["ours"] is True


def test_show_of_an_unknown_name() -> None:
    result = run("show", "interview")
    assert result.exit_code == 2
    assert "did you mean interviews?" in result.stderr
