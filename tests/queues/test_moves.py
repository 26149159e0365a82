"""Moves, as SQL: what each of them writes, in terms of the job."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import kit
import pytest

from queuewarden.queues import moves
from queuewarden.queues.sqltext import TRUE, parameters
from queuewarden.queues.target import Column, Shape, Target

if TYPE_CHECKING:
    from psycopg.sql import Composable

    from queuewarden.queues.mapping import Mapping
    from queuewarden.writes import Put

TEXT = Column(("pg_catalog", "text"), "text")
TIME = Column(("pg_catalog", "timestamptz"), "instant")
NUMBER = Column(("pg_catalog", "int4"), "number")
COLUMNS = {
    "id": replace(NUMBER, not_null=True),
    "status": replace(TEXT, not_null=True),
    "attempts": NUMBER,
    "max_attempts": NUMBER,
    **dict.fromkeys(("worker", "error", "label", "lease"), TEXT),
    **dict.fromkeys(("started_at", "heartbeat", "enqueued_at", "finished_at", "updated_at"), TIME),
}


def target(mapping: Mapping = kit.MAPPING, **columns: Column) -> Target:
    return Target("test", mapping, kit.LIMITS, Shape("public", "jobs", {**COLUMNS, **columns}))


def written(put: Put | None) -> dict[str, str]:
    assert put is not None
    return {column: value.as_string(None) for column, value in put.values.items()}


def value_of(put: Put | None, column: str) -> object:
    assert put is not None
    (value,) = parameters(put.values[column]).values()
    return value


def test_requeue_clears_what_the_claim_wrote() -> None:
    mapping = kit.jobs_mapping(heartbeat="heartbeat", clear=("lease",))
    put = moves.requeue(target(mapping), "why")
    values = written(put)
    assert {name for name, value in values.items() if value == "NULL"} == {
        "worker",
        "started_at",
        "heartbeat",
        "lease",
    }
    assert value_of(put, "status") == "waiting"
    assert "attempts" not in values


def test_requeue_writes_the_first_of_the_waiting_states() -> None:
    states = replace(kit.MAPPING.states, waiting=("queued", "retryable"))
    assert value_of(moves.requeue(target(replace(kit.MAPPING, states=states)), "why"), "status") == "queued"


def test_requeue_leaves_columns_that_may_not_be_null() -> None:
    values = written(moves.requeue(target(worker=replace(TEXT, not_null=True)), "why"))
    assert "worker" not in values
    assert values["started_at"] == "NULL"


def test_a_release_by_hand_need_not_count_the_attempt() -> None:
    mapping = kit.jobs_mapping(attempts_counted="finish")
    assert "attempts" in written(moves.requeue(target(mapping), "why"))
    assert "attempts" not in written(moves.requeue(target(mapping), "why", count_attempt=False))


def test_the_update_time_is_the_databases_where_there_is_one() -> None:
    mapping = kit.jobs_mapping(updated_at="updated_at")
    assert written(moves.requeue(target(mapping), "why"))["updated_at"] == "statement_timestamp()"
    naive = target(
        kit.jobs_mapping(mapping, time_zone="Europe/Berlin"), updated_at=replace(TIME, family="naive")
    )
    assert value_of(moves.requeue(naive, "why"), "updated_at") == "Europe/Berlin"


def test_fail_keeps_worker_and_start_and_sets_the_end() -> None:
    values = written(moves.fail(target(), "why"))
    assert not {"worker", "started_at"} & set(values)
    assert values["finished_at"] == "statement_timestamp()"
    assert value_of(moves.fail(target(), "why"), "status") == "failed"


@pytest.mark.parametrize("move", [moves.fail, moves.cancel])
def test_without_the_state_there_is_nothing_to_write(move: object) -> None:
    states = replace(kit.MAPPING.states, failed=(), cancelled=())
    assert callable(move)
    assert move(target(replace(kit.MAPPING, states=states)), "why") is None


def test_cancel_counts_no_attempt() -> None:
    put = moves.cancel(target(kit.jobs_mapping(attempts_counted="finish")), "why")
    assert "attempts" not in written(put)
    assert value_of(put, "status") == "cancelled"


def test_retry_gives_the_job_its_attempts_back() -> None:
    put = moves.retry(target())
    values = written(put)
    assert {"worker", "started_at", "finished_at"} <= {
        name for name, value in values.items() if value == "NULL"
    }
    assert values["attempts"] == 'CAST(0 AS "pg_catalog"."int4")'
    assert value_of(put, "status") == "waiting"


def test_without_attempts_and_budget_a_release_has_one_rule() -> None:
    mapping = kit.jobs_mapping(attempts=None, max_attempts=None)
    (rule,) = moves.release(target(mapping), code="x", where=TRUE, reason="because_of_x")
    assert (rule.code, rule.event, rule.brake) == ("x", "jobs.reset", True)


def test_with_them_it_has_two_that_exclude_each_other() -> None:
    back, failed = moves.release(target(), code="x", where=TRUE, reason="because_of_x")
    assert (back.code, failed.code) == ("x", "x_spent")
    assert (back.event, failed.event) == ("jobs.reset", "jobs.failed")
    assert "IS NOT TRUE" in text(back.where)
    assert value_in(back.write, "note") == "queuewarden: because of x"
    assert value_in(failed.write, "note") == "queuewarden: because of x, no attempt left"


def test_a_spent_budget_alone_makes_two_rules() -> None:
    mapping = kit.jobs_mapping(attempts=None, max_attempts=None)
    worn = replace(target(mapping), worn=frozenset({("7",)}))
    assert len(moves.release(worn, code="x", where=TRUE, reason="x")) == 2
    assert parameters(moves.spent(worn) or TRUE) == {"worn_0": ["7"]}


def text(part: Composable) -> str:
    return part.as_string(None)


def value_in(put: Put | None, name: str) -> object:
    assert put is not None
    return parameters(put.values["error"])[name]
