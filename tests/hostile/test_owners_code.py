"""What nobody can guard: the table's owner has code of his own run by every role that writes the table."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import kit
import psycopg
import pytest

from queuewarden.engine.resolve import resolve
from queuewarden.queues.mapping import TableName

from .conftest import MAPPING, MENDED, sweep
from .traps import sprung

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuewarden.engine.resolve import Resolution

    from .conftest import Stage

TELL = """
CREATE TABLE app.told (who name);
GRANT INSERT ON app.told TO PUBLIC;
CREATE FUNCTION app.write() RETURNS bool LANGUAGE plpgsql AS
    $$BEGIN INSERT INTO app.told VALUES (current_user); RETURN true; END$$;
CREATE FUNCTION app.tell(said text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS
    $$BEGIN IF NOT current_setting('transaction_read_only')::bool THEN PERFORM app.write(); END IF;
      RETURN said; END$$;
"""
"""A function that claims to be harmless."""
RUN = {
    "trigger": """
        CREATE FUNCTION app.told_by_trigger() RETURNS trigger LANGUAGE plpgsql AS
            $$BEGIN PERFORM app.tell('x'); RETURN new; END$$;
        CREATE TRIGGER tells BEFORE UPDATE ON app.jobs FOR EACH ROW EXECUTE FUNCTION app.told_by_trigger()""",
    "check": "ALTER TABLE app.jobs ADD CHECK (app.tell(status) IS NOT NULL) NOT VALID",
    "expression of an index": "CREATE INDEX ON app.jobs (app.tell(status))",
    "generated column": "ALTER TABLE app.jobs ADD said text GENERATED ALWAYS AS (app.tell(status)) STORED",
}
NOT_RUN = {
    "default": "ALTER TABLE app.jobs ALTER error SET DEFAULT app.tell('x')",
    "trigger of inserts": """
        CREATE FUNCTION app.told_by_trigger() RETURNS trigger LANGUAGE plpgsql AS
            $$BEGIN PERFORM app.tell('x'); RETURN new; END$$;
        CREATE TRIGGER tells BEFORE INSERT OR DELETE ON app.jobs
            FOR EACH ROW EXECUTE FUNCTION app.told_by_trigger()""",
}


def told(stage: Stage) -> set[str]:
    return {who for (who,) in stage.database.rows("SELECT who FROM app.told")}


def resolved(stage: Stage, table: str) -> Resolution:
    mapping = replace(MAPPING, jobs=replace(MAPPING.jobs, table=TableName(table, "app")))

    async def work() -> Resolution:
        async with kit.session(stage.guard) as session:
            return await resolve(session, "test", mapping, kit.LIMITS)

    return asyncio.run(work())


@pytest.mark.parametrize("kind", RUN)
def test_what_an_update_runs_is_run_as_the_guard(set_up: Callable[..., Stage], kind: str) -> None:
    stage = set_up()
    stage.database.execute(TELL + RUN[kind])
    stage.database.execute("TRUNCATE app.told")
    sweep(stage)
    assert told(stage) == {stage.guard_role}


def test_a_constraint_that_raises_is_not_the_end(set_up: Callable[..., Stage]) -> None:
    stage = set_up()
    stage.database.execute(
        """CREATE FUNCTION app.refuse(said text) RETURNS bool LANGUAGE plpgsql AS
               $$BEGIN RAISE EXCEPTION 'not today'; END$$;
           ALTER TABLE app.jobs ADD CHECK (app.refuse(status)) NOT VALID"""
    )
    checked = stage.call("check")
    assert checked.code == 1
    assert "too many" in checked.out
    assert stage.call("repair", "--no-grace").code == 1
    workers = dict(stage.database.rows("SELECT id, status FROM app.workers"))
    assert workers["dead"] == "idle"  # its jobs could not be released


def test_a_rule_is_not_run(set_up: Callable[..., Stage]) -> None:
    stage = set_up()
    stage.database.execute(
        TELL + "CREATE RULE tells AS ON UPDATE TO app.workers DO ALSO SELECT app.tell('x')"
    )
    sweep(stage)
    assert stage.database.value("SELECT status FROM app.workers WHERE id = 'dead'") == "idle"
    assert told(stage) == set()


@pytest.mark.parametrize("kind", NOT_RUN)
def test_what_only_an_insert_runs_is_not(set_up: Callable[..., Stage], kind: str) -> None:
    stage = set_up()
    stage.database.execute(TELL + NOT_RUN[kind])
    sweep(stage)
    assert stage.statuses() == MENDED
    assert told(stage) == set()


def test_the_right_to_create_triggers_is_enough(set_up: Callable[..., Stage]) -> None:
    # GRANT ALL holds it: who has it has code of his own run, though he owns nothing.
    stage = set_up()
    stage.database.execute(TELL + RUN["trigger"].partition("CREATE TRIGGER")[0])
    create = f"CREATE TRIGGER{RUN['trigger'].partition('CREATE TRIGGER')[2]}"
    with stage.database.connect() as connection:
        connection.execute(f"SET ROLE {stage.hostile}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(create)
        connection.execute("RESET ROLE")
        connection.execute(f"GRANT TRIGGER ON app.jobs TO {stage.hostile}")
        connection.execute(f"SET ROLE {stage.hostile}")
        connection.execute(create)
    sweep(stage)
    assert told(stage) == {stage.guard_role}


def test_a_trigger_finds_its_own_names_and_we_still_step_into_no_trap(set_up: Callable[..., Stage]) -> None:
    stage = set_up()
    stage.database.execute(
        f"""CREATE FUNCTION app.note() RETURNS trigger LANGUAGE plpgsql AS
                $$BEGIN new.label := noted(); RETURN new; END$$;
            CREATE FUNCTION app.noted() RETURNS text LANGUAGE plpgsql AS $$BEGIN RETURN 'noted'; END$$;
            CREATE TRIGGER notes BEFORE UPDATE ON app.jobs FOR EACH ROW EXECUTE FUNCTION app.note();
            ALTER ROLE {stage.guard_role} IN DATABASE {stage.database.name} SET search_path = public, app"""
    )
    stage.lay_traps(first=False)
    sweep(stage)
    assert stage.statuses() == MENDED
    labels = dict(stage.database.rows("SELECT id, label FROM app.jobs"))
    assert {key for key, label in labels.items() if label == "noted"} == set(MENDED) - {"well", "broken"}
    assert sprung(stage.database) == 0


def test_a_deferred_trigger_finds_its_own_names(set_up: Callable[..., Stage]) -> None:
    stage = set_up()
    stage.database.execute(
        f"""CREATE TABLE app.seen (id text); GRANT INSERT ON app.seen TO PUBLIC;
            CREATE FUNCTION app.see() RETURNS trigger LANGUAGE plpgsql AS
                $$BEGIN INSERT INTO seen VALUES (new.id); RETURN NULL; END$$;
            CREATE CONSTRAINT TRIGGER sees AFTER UPDATE ON app.jobs DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION app.see();
            ALTER ROLE {stage.guard_role} IN DATABASE {stage.database.name} SET search_path = public, app"""
    )
    sweep(stage)
    assert stage.statuses() == MENDED
    seen = {key for (key,) in stage.database.rows("SELECT id FROM app.seen")}
    assert seen == set(MENDED) - {"well", "broken"}


def test_a_view_is_only_looked_at_and_cannot_write(set_up: Callable[..., Stage]) -> None:
    stage = set_up()
    stage.database.execute(
        TELL + "CREATE VIEW app.jobs_now AS SELECT * FROM app.jobs WHERE app.write();"
        f"GRANT SELECT, UPDATE ON app.jobs_now TO {stage.guard_role}"
    )
    with psycopg.connect(stage.guard, autocommit=True) as connection:
        connection.execute("SELECT * FROM app.jobs_now")
    assert told(stage) == {stage.guard_role}
    stage.database.execute("TRUNCATE app.told")
    resolution = resolved(stage, "jobs_now")
    assert resolution.target is not None
    assert "app.jobs_now is a view: map the table behind it" in (resolution.target.hold or "")
    before = stage.statuses()
    view = {"QUEUEWARDEN_QUEUE__MAIL__JOBS__TABLE": "app.jobs_now"}
    for command in (("check",), ("repair", "--no-grace"), ("reset", "--env", "prod"), ("diagnose",)):
        assert stage.call(*command, **view).code != 0
    assert stage.statuses() == before
    assert told(stage) == set()


def test_a_policy_is_never_run(set_up: Callable[..., Stage]) -> None:
    # A role that policies bind reads nothing at all: hidden rows would look like missing ones.
    stage = set_up()
    stage.database.execute(
        TELL + "ALTER TABLE app.jobs ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY tells ON app.jobs USING (app.tell(id) IS NOT NULL)"
    )
    resolution = resolved(stage, "jobs")
    assert resolution.target is None
    assert any("row-level security hides rows of app.jobs" in fault for fault in resolution.faults)
    assert stage.call("repair", "--no-grace").code == 1
    assert told(stage) == set()
