"""Tables that somebody else made to look like the guarded ones: only a name that was given is trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuewarden.application.demo import schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Stage

LOOK_ALIKE = (
    schema.EXTRACTION
    + """
INSERT INTO extraction_queue (status_id, processing_started_at) VALUES (2, now() - interval '1 day');
CREATE FUNCTION caught() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'pwned'; END$$;
CREATE TRIGGER caught BEFORE UPDATE ON extraction_queue FOR EACH ROW EXECUTE FUNCTION caught();
"""
)


def test_a_look_alike_of_a_preset_is_not_repaired_unasked(set_up: Callable[..., Stage]) -> None:
    stage = set_up(superuser=True)
    stage.variables = {}
    stage.database.execute(f"SET ROLE {stage.hostile}; {LOOK_ALIKE}")
    called = stage.call("repair", "--no-grace")
    assert "pwned" not in called.out + called.err
    assert stage.database.value("SELECT status_id FROM extraction_queue") == 2
    assert "public.extraction_queue" in called.out
    assert "QUEUEWARDEN_QUEUE__EXTRACTION__PRESET=extraction" in called.out


def test_a_table_in_front_of_ours_is_not_taken_for_it(set_up: Callable[..., Stage]) -> None:
    stage = set_up()
    stage.database.execute(
        f"""ALTER ROLE {stage.guard_role} IN DATABASE {stage.database.name} SET search_path = public, app;
            GRANT SELECT ON app.jobs TO {stage.hostile};
            SET ROLE {stage.hostile};
            CREATE FUNCTION caught() RETURNS bool LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'pwned'; END$$;
            CREATE VIEW jobs AS SELECT * FROM app.jobs WHERE caught();
            GRANT SELECT, UPDATE ON jobs TO PUBLIC"""
    )
    stage.variables["QUEUEWARDEN_QUEUE__MAIL__JOBS__TABLE"] = "jobs"
    before = stage.statuses()
    for command in (("check",), ("repair", "--no-grace"), ("diagnose",)):
        called = stage.call(*command)
        assert called.code == 1
        assert "pwned" not in called.out + called.err
        assert "public" in called.out
        assert "app" in called.out
    assert stage.statuses() == before
