"""Presets by name: what is known of a library, and what of it differs in an environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import kit
import pytest
from commands_kit import UNREACHABLE
from library_schemas import ddl

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers
    from commands_kit import Called

RIVER = {"QUEUEWARDEN_QUEUE__RIVER__PRESET": "river", "QUEUEWARDEN_QUEUE__RIVER__MODE": "repair"}


@pytest.fixture
def river(databases: Callable[..., servers.Database]) -> servers.Database:
    return databases(ddl("river"))


def prod(database: servers.Database) -> dict[str, str]:
    return {"QUEUEWARDEN_ENV__PROD__DSN": database.dsn}


def test_without_an_environment_it_tells_of_the_library_and_needs_no_configuration(
    call: Callable[..., Called],
) -> None:
    called = call("presets", "show", "graphile_worker")
    assert called.code == 0
    assert "Graphile Worker >=0.16.6, <0.19, proven on 0.18.0 with workers of its own" in called.out
    for name in ("stuck", "does", "never", "effects", "rescuer", "mode", "rights", "sources"):
        assert f"\n  {name:7}  " in called.out
    assert "rights   SELECT, UPDATE ON graphile_worker._private_job_queues" in called.out
    document = call("presets", "show", "graphile_worker", "--json").document
    assert document["library"]["version"]["column"] == "id"
    assert call("presets", "show", "generic", "--json").document["library"] is None
    assert "whatever MODE says" in call("presets", "show", "solid_queue").out
    assert "observed until MODE=repair" in call("presets", "show", "river").out


def test_in_an_environment_it_tells_what_differs(
    call: Callable[..., Called], river: servers.Database
) -> None:
    called = call("presets", "show", "river", "--env", "prod", **prod(river), **RIVER)
    assert called.code == 0
    assert "prod/river: public.river_job, fits" in called.out
    assert "MODE=repair: puts it to retryable" in called.out
    river.execute("ALTER TABLE river_job DROP CONSTRAINT kind_length, DROP errors")
    river.execute("CREATE UNIQUE INDEX once ON river_job (kind)")
    called = call("presets", "show", "river", "--env", "prod", **prod(river), **RIVER)
    assert called.code == 1
    assert "prod/river: public.river_job, differs" in called.out
    assert (
        "    differs: column errors is missing\n    differs: constraint kind_length is missing\n"
        in called.out
    )
    assert "    note: unique index once of" in called.out
    (queue,) = call("presets", "show", "river", "--env", "prod", "--json", **prod(river), **RIVER).document[
        "environments"
    ]["prod"]["queues"]
    assert queue["differs"] == ["column errors is missing", "constraint kind_length is missing"]
    assert (queue["queue"], queue["faults"]) == ("river", [])


def test_each_environment_has_a_version_and_a_mode_of_its_own(
    call: Callable[..., Called], databases: Callable[..., servers.Database]
) -> None:
    old, new, none = (databases(schema) for schema in (ddl("oban"), ddl("oban"), ""))
    new.execute("COMMENT ON TABLE oban_jobs IS '16'")
    settings = {
        f"QUEUEWARDEN_ENV__{name}__DSN": one.dsn for name, one in (("A", old), ("B", new), ("C", none))
    }
    settings |= {"QUEUEWARDEN_QUEUE__OBAN__PRESET": "oban", "QUEUEWARDEN_ENV__A__QUEUE__OBAN__MODE": "repair"}
    arguments = ("presets", "show", "oban", "--env", "a", "--env", "b", "--env", "c")
    called = call(*arguments, **settings)
    assert called.code == 1
    assert "a/oban: public.oban_jobs, version 14, fits\n    MODE=repair: makes it available" in called.out
    assert (
        "b/oban: public.oban_jobs, version 16, differs\n    MODE=observe, the preset's own (by" in called.out
    )
    assert "    differs: its version is 16, none of 14, 15\n" in called.out
    assert "    table oban_jobs does not exist" in called.out


def test_tables_of_a_preset_that_no_queue_is_mapped_to(
    call: Callable[..., Called], river: servers.Database, databases: Callable[..., servers.Database]
) -> None:
    jobs = databases(kit.SCHEMA)
    queue = "QUEUEWARDEN_QUEUE__MAIL"
    own = {
        f"{queue}__JOBS__TABLE": "jobs",
        f"{queue}__JOBS__ID": "id",
        f"{queue}__JOBS__STATUS": "status",
        f"{queue}__STATES__WAITING": "waiting",
        f"{queue}__STATES__RUNNING": "running",
    }
    river.execute(kit.SCHEMA)
    called = call("presets", "show", "river", "--env", "prod", **prod(river), **own)
    assert called.code == 0
    assert "prod: public.river_job, fits\n    no queue is mapped to it: nothing is guarded" in called.out
    called = call("presets", "show", "river", "--env", "prod", **prod(jobs), **own)
    assert called.code == 0
    assert "prod: no table of river was found" in called.out


def test_a_table_of_which_nothing_can_be_read(call: Callable[..., Called], river: servers.Database) -> None:
    river.execute("ALTER TABLE river_job RENAME state TO status")
    called = call("presets", "show", "river", "--env", "prod", **prod(river), **RIVER)
    assert called.code == 1
    assert "prod/river: river_job, differs" in called.out
    assert "    differs: column state is missing\n" in called.out


def test_exit_codes(call: Callable[..., Called], river: servers.Database) -> None:
    lost = {"QUEUEWARDEN_ENV__PROD__DSN": UNREACHABLE} | RIVER
    called = call("presets", "show", "river", "--env", "prod", **lost)
    assert called.code == 69
    assert "geheim" not in called.out + called.err
    assert call("presets", "show", "rivr", "--env", "prod", **prod(river), **RIVER).code == 2
    assert call("presets", "show", "river", "--env", "prd", **prod(river), **RIVER).code == 2
