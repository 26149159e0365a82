"""From names, words and rows to a proposed mapping, without a database."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuewarden.queues.conditions import columns as columns_of
from queuewarden.queues.proposal.choices import Answers, spelled, spelled_table, spelled_value
from queuewarden.queues.proposal.facts import Column, Foreign, Group, Sample, Table, Word
from queuewarden.queues.proposal.fleet import candidates, chosen, held_against
from queuewarden.queues.proposal.lanes import LanesFound, Numbered, explained
from queuewarden.queues.proposal.names import normal, time_weight, verbs
from queuewarden.queues.proposal.propose import Proposal, Refusal, draft, propose
from queuewarden.queues.proposal.words import meaning, offline
from queuewarden.settings import mapped, types

ID = Column("id", "int8", "number", not_null=True)
STATUS = Column("status", "text", "text", not_null=True)
CREATED = Column("created_at", "timestamptz", "instant", not_null=True)
STARTED = Column("started_at", "timestamptz", "instant")
FINISHED = Column("finished_at", "timestamptz", "instant")
WORKER = Column("worker_id", "text", "text")
WORDS = tuple(Word(one, one, "check") for one in ("pending", "running", "done", "failed"))


def table(*columns: Column, name: str = "jobs", **changes: Any) -> Table:
    facts = {"key": ("id",), "words": {"status": WORDS}, "closed": frozenset({"status"})} | changes
    return Table("public", name, (ID, *columns), **facts)


def proposed(one: Table, answers: Answers | None = None) -> Proposal:
    found = draft(one)
    assert not isinstance(found, Refusal), found
    return propose(found, answers or Answers())


def settings(one: Table, answers: Answers | None = None) -> dict[str, str]:
    return {choice.variable: choice.value for choice in proposed(one, answers).choices}


def refused(one: Table) -> str:
    found = draft(one)
    assert isinstance(found, Refusal), found
    return found.why


def rows(*groups: tuple[str, str, int]) -> Sample:
    """Status, what is set, how many."""
    return Sample(
        tuple(
            Group({"status": status}, frozenset(present.split()), count) for status, present, count in groups
        )
    )


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("lockedAt", "locked_at"),
        ("LockedBy", "locked_by"),
        ("HTTPStatus", "http_status"),
        ("Worker-ID", "worker_id"),
        ("job status", "job_status"),
        ("ÄÖ", ""),
    ],
)
def test_names_of_any_fashion_are_read_alike(name: str, plain: str) -> None:
    assert normal(name) == plain


def test_a_start_that_is_planned_is_none() -> None:
    assert time_weight("started_at", "started_at") == 3
    assert time_weight("date_started", "started_at") == 3
    assert time_weight("start_time", "started_at") == 2
    assert not time_weight("start_at", "started_at")
    assert time_weight("start_at", "scheduled_at") == 1
    assert "last_heartbeat" in verbs("lastHeartbeatAt")


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("PENDING", "waiting"),
        ("InProgress", "running"),
        ("in-progress", "running"),
        ("JOB_STATE_RUNNING", "running"),
        ("not_started", "waiting"),
        ("succeeded", "done"),
        ("timed out", "failed"),
        ("canceled", "cancelled"),
        ("paid", None),
        ("ready_to_ship", None),
        ("", None),
    ],
)
def test_words_of_states(word: str, state: str | None) -> None:
    known = meaning(word)
    assert (known and known.state) == state


def test_the_word_for_a_worker_that_is_gone() -> None:
    assert offline(["ONLINE", "BUSY", "OFFLINE"]) == "OFFLINE"
    assert offline(["stopped", "dead"]) == "dead"
    assert offline(["idle", "busy"]) is None


def test_a_plain_jobs_table() -> None:
    assert settings(table(STATUS, WORKER, STARTED, FINISHED, CREATED)) == {
        "JOBS__TABLE": "public.jobs",
        "JOBS__ID": "id",
        "JOBS__STATUS": "status",
        "JOBS__WORKER": "worker_id",
        "JOBS__STARTED_AT": "started_at",
        "JOBS__ENQUEUED_AT": "created_at",
        "JOBS__FINISHED_AT": "finished_at",
        "STATES__WAITING": "pending",
        "STATES__RUNNING": "running",
        "STATES__DONE": "done",
        "STATES__FAILED": "failed",
    }


def test_what_a_new_row_gets_is_what_a_release_writes() -> None:
    words = tuple(Word(one, one, "enum") for one in ("pending", "available", "scheduled", "running"))
    status = Column("status", "job_state", "enum", not_null=True, default="available", space="public")
    found = settings(table(status, STARTED, words={"status": words}))
    assert found["STATES__WAITING"] == "available, pending, scheduled"


def test_numbers_are_told_by_a_lookup_table() -> None:
    words = (Word("1", "waiting", "lookup"), Word("2", "processing", "lookup"), Word("9", "odd", "lookup"))
    status = Column("status", "int4", "number", not_null=True)
    one = proposed(table(status, STARTED, words={"status": words}))
    assert {c.value for c in one.choices if c.variable.startswith("STATES__")} == {"1", "2"}
    assert any("'9'" in each.why for each in one.open), "no state is made up for it"


def test_numbers_without_words_are_told_by_their_rows() -> None:
    status = Column("status", "int2", "number", not_null=True, default="0")
    one = table(
        status, WORKER, STARTED, FINISHED, words={}, closed=frozenset(),
        sample=rows(("0", "", 9), ("1", "worker_id started_at", 4), ("2", "started_at finished_at", 50)),
    )  # fmt: skip
    found = settings(one)
    assert (found["STATES__WAITING"], found["STATES__RUNNING"], found["STATES__DONE"]) == ("0", "1", "2")
    assert {c.sure for c in proposed(one).choices if c.variable.startswith("STATES__")} == {"likely"}


@pytest.mark.parametrize(
    "sample",
    [
        Sample(),
        rows(("0", "", 9), ("2", "worker_id started_at finished_at", 50)),
        rows(("0", "", 9), ("1", "started_at", 4), ("3", "started_at", 4)),
        rows(("0", "started_at", 9), ("1", "started_at finished_at", 4)),
    ],
)
def test_numbers_whose_rows_do_not_tell_are_refused(sample: Sample) -> None:
    status = Column("status", "int2", "number", not_null=True, default="0")
    assert refused(table(status, WORKER, STARTED, FINISHED, words={}, closed=frozenset(), sample=sample))


def test_without_a_status_what_is_set_tells() -> None:
    locked = Column("locked_at", "timestamptz", "instant")
    failed = Column("failed_at", "timestamptz", "instant")
    by = Column("locked_by", "text", "text")
    found = settings(table(locked, failed, by, CREATED, words={}))
    assert "JOBS__STATUS" not in found
    assert found["STATES__WAITING"] == "locked_at is null, failed_at is null"
    assert found["STATES__RUNNING"] == "locked_at is not null, failed_at is null"
    assert found["STATES__FAILED"] == "failed_at is not null"


def test_flags_tell_an_end() -> None:
    locked, done = Column("lockedAt", "timestamp", "naive"), Column("done", "bool", "flag", not_null=True)
    found = settings(table(locked, done, WORKER, words={}))
    assert found["STATES__WAITING"] == "lockedAt is null, done = 'false'"
    assert found["STATES__DONE"] == "done = 'true'"


@pytest.mark.parametrize("name", ["picked", "is_taken", "Reserved"])
def test_a_flag_beside_the_name_of_whoever_took_the_job_tells_that_it_runs(name: str) -> None:
    """Cleared of its worker alone, the job would wait here, and be taken for ever where it is run."""
    picked = Column(name, "bool", "flag", not_null=True)
    beat = Column("last_heartbeat", "timestamptz", "instant")
    found = settings(table(picked, Column("picked_by", "text", "text"), beat, words={}))
    assert found["STATES__WAITING"] == f"{name} = 'false'"
    assert found["STATES__RUNNING"] == f"{name} = 'true'"


def test_a_status_without_a_word_for_running_and_a_lock_beside_it() -> None:
    words = tuple(Word(one, one, "check") for one in ("pending", "sent", "failed"))
    locked = Column("locked_at", "timestamptz", "instant")
    found = settings(table(STATUS, locked, words={"status": words}))
    assert found["STATES__RUNNING"] == "status = 'pending', locked_at is not null"
    assert found["FAIL"] == "status = 'failed'"


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (table(STATUS, CREATED), "no column for a start, a worker or a heartbeat"),
        (table(STATUS, STARTED, key=()), "no primary key"),
        (table(STATUS, STARTED, kind="v"), "it is a view"),
        (
            table(STATUS, STARTED, words={"status": (Word("pending", "pending", "check"),)}),
            "says that a job runs",
        ),
        (
            table(STATUS, STARTED, words={"status": (Word("running", "running", "check"),)}),
            "says that a job waits",
        ),
        (
            table(STATUS, STARTED, words={"status": tuple(Word(str(n), str(n), "rows") for n in range(99))}),
            "too many",
        ),
    ],
)
def test_what_cannot_be_guarded_is_refused_with_the_reason(one: Table, why: str) -> None:
    assert why in refused(one)


def test_an_idle_queue_is_looked_at_again_unless_somebody_says_that_it_is_one() -> None:
    words = tuple(Word(one, one, "rows") for one in ("TODO", "DONE"))
    idle = table(STATUS, STARTED, words={"status": words}, closed=frozenset())
    assert "look again while a job runs" in refused(idle)
    guessed = draft(idle, guessing=True)
    assert not isinstance(guessed, Refusal)
    running = next(c for c in propose(guessed, Answers()).choices if c.variable == "STATES__RUNNING")
    assert (running.value, running.sure) == ("DOING", "guess")


def _people(name: str, *columns: str, words: str) -> Table:
    made = [
        Column(one, "x", "instant" if one.endswith("_at") else "number" if one.endswith("_id") else "text")
        for one in columns
    ]
    told = tuple(Word(one, one, "check") for one in words.split())
    return table(STATUS, *made, name=name, words={"status": told})


@pytest.mark.parametrize(
    "one",
    [
        _people("orders", "customer_id", "total", "started_at", words="pending processing shipped delivered"),
        _people("subscriptions", "plan", "started_at", "ended_at", words="pending active cancelled"),
        _people(
            "tickets", "subject", "assigned_to", "started_at", "closed_at", words="open in_progress closed"
        ),
        _people("projects", "owner_id", "started_at", "finished_at", words="new running done"),
        _people(
            "tasks", "title", "description", "assignee_id", "started_at", "due_at", words="todo doing done"
        ),
        _people("games", "started_at", "finished_at", words="waiting running finished"),
        _people("users", "email", "locked_at", "last_seen_at", words="pending active locked"),
        _people("job_history", "started_at", "finished_at", words="queued running done"),
        _people("campaigns", "scheduled_at", "started_at", words="scheduled running completed"),
        _people("employees", "email", "started_at", "worker_id", words="pending active"),
    ],
    ids=lambda one: one.name,
)
def test_what_is_no_queue_is_never_proposed_with_confidence(one: Table) -> None:
    found = draft(one)
    assert isinstance(found, Refusal) or propose(found, Answers()).confidence == "weak"


def test_two_starts_the_one_that_running_rows_have_is_taken_and_the_other_cleared() -> None:
    locked = Column("locked_at", "timestamptz", "instant")
    sample = rows(("pending", "", 5), ("running", "locked_at worker_id", 6), ("done", "finished_at", 7))
    found = settings(table(STATUS, WORKER, STARTED, locked, FINISHED, sample=sample))
    assert found["JOBS__STARTED_AT"] == "locked_at"
    both = rows(("pending", "", 5), ("running", "locked_at started_at worker_id", 6))
    found = settings(table(STATUS, WORKER, STARTED, locked, FINISHED, sample=both))
    assert (found["JOBS__STARTED_AT"], found["JOBS__CLEAR"]) == ("started_at", "locked_at")


def test_what_waiting_rows_have_too_is_not_cleared() -> None:
    token = Column("lock_token", "uuid", "uuid")
    kept = rows(("pending", "lock_token", 5), ("running", "started_at lock_token", 6))
    assert "JOBS__CLEAR" not in settings(table(STATUS, STARTED, token, sample=kept))
    assert settings(table(STATUS, STARTED, token))["JOBS__CLEAR"] == "lock_token"


def test_a_column_that_is_never_null_names_no_worker() -> None:
    module = Column("worker", "text", "text", not_null=True)
    assert "JOBS__WORKER" not in settings(table(STATUS, STARTED, module))


def test_an_end_that_is_missing_in_what_is_done_is_no_fault_of_the_rows() -> None:
    some = rows(("pending", "", 5), ("done", "finished_at", 60), ("done", "", 40))
    assert settings(table(STATUS, STARTED, FINISHED, sample=some))["TIMESTAMPS"] == "running=started_at"
    both = rows(
        ("running", "", 6), ("running", "started_at", 8), *[("done", "finished_at", 6), ("done", "", 4)]
    )
    found = settings(table(STATUS, STARTED, FINISHED, sample=both))
    assert found["CHECKS"] == "dead_workers, stuck_jobs, orphans, lanes, positions"


def test_the_limit_is_longer_than_most_runs() -> None:
    one = table(STATUS, STARTED, FINISHED)
    assert "STUCK_AFTER" not in settings(one, Answers(longest=60))
    assert settings(one, Answers(longest=100))["STUCK_AFTER"] == "5m"
    assert settings(one, Answers(longest=2000))["STUCK_AFTER"] == "2h"
    assert settings(one, Answers(longest=1e9))["STUCK_AFTER"] == "7d"


def test_times_ahead_of_utc_are_in_the_servers_zone() -> None:
    started = Column("started_at", "timestamp", "naive")
    sample = Sample(rows(("running", "started_at", 5)).groups, ahead={"started_at": 7190.0})
    one = table(STATUS, started, sample=sample)
    assert settings(one, Answers(zone=("Europe/Berlin", 7200.0)))["JOBS__TIME_ZONE"] == "Europe/Berlin"
    odd = proposed(one, Answers(zone=("UTC", 0.0)))
    assert "ahead" in next(each.why for each in odd.open if each.variable == "JOBS__TIME_ZONE")


def test_whole_numbers_are_times_where_they_are_of_that_size() -> None:
    reserved = Column("reserved_at", "int4", "number")
    seconds = Sample(
        (Group({}, frozenset({"reserved_at"}), 3, {"reserved_at": (1.7e9, 1.8e9)}), Group({}, frozenset(), 3))
    )
    found = settings(table(reserved, words={}, sample=seconds))
    assert (found["JOBS__STARTED_AT"], found["JOBS__EPOCH"]) == ("reserved_at", "seconds")
    ids = Sample((Group({}, frozenset({"reserved_at"}), 3, {"reserved_at": (1, 7)}),))
    assert isinstance(draft(table(reserved, words={}, sample=ids)), Refusal)


def fleet_table(name: str, *columns: Column, **changes: Any) -> Table:
    return Table("public", name, columns, key=(columns[0].name,), **changes)


BEAT = Column("last_seen", "timestamptz", "instant", not_null=True)
TEXT_ID = Column("id", "text", "text", not_null=True)


def test_a_foreign_key_names_the_workers() -> None:
    jobs = table(STATUS, WORKER, foreign=(Foreign(("worker_id",), ("public", "nodes"), ("id",)),))
    nodes, other = fleet_table("nodes", TEXT_ID, BEAT), fleet_table("workers", TEXT_ID, BEAT)
    (one,) = candidates([other, nodes], jobs, "worker_id")
    assert (one.table.name, one.sure) == ("nodes", "sure")
    assert chosen([one]) is one


def test_workers_that_jobs_do_not_name_are_not_theirs() -> None:
    jobs = table(STATUS, WORKER)
    (one,) = candidates([fleet_table("workers", TEXT_ID, BEAT)], jobs, "worker_id")
    assert chosen([one]) is one, "nobody can tell while no job runs"
    assert chosen([held_against(one, 4, 0, 0)]) is None
    assert chosen([held_against(one, 4, 3, 0)]) is not None


def test_users_who_were_seen_are_no_workers() -> None:
    jobs = table(STATUS, WORKER)
    users = fleet_table("users", TEXT_ID, Column("email", "text", "text"), BEAT)
    assert chosen(candidates([users], jobs, "worker_id")) is None


def test_a_life_that_began_after_its_jobs_is_none() -> None:
    born = Column("started_at", "timestamptz", "instant")
    jobs = table(STATUS, WORKER)
    (one,) = candidates([fleet_table("workers", TEXT_ID, BEAT, born)], jobs, "worker_id")
    assert one.started_at == "started_at"
    assert held_against(one, 3, 3, 1).started_at is None


NUMBERED = Numbered("position", ((), ("company",)), ("rank",), ("joined",))


def numbered_rows(lanes: int, length: int, *, down: bool, first: int = 1) -> list[dict[str, Any]]:
    made = []
    for lane in range(lanes):
        jobs = [
            {"company": str(lane), "rank": n % 3, "joined": float(n), "position": 0} for n in range(length)
        ]
        jobs.sort(key=lambda job: (-job["rank"] if down else job["rank"], job["joined"]))
        made += [{**job, "position": first + at} for at, job in enumerate(jobs)]
    return made


@pytest.mark.parametrize("down", [True, False])
def test_lane_and_order_are_those_that_explain_the_numbers(*, down: bool) -> None:
    found = explained(NUMBERED, numbered_rows(4, 7, down=down))
    assert isinstance(found, LanesFound)
    assert (found.lane, found.order, found.dense) == (("company",), (("rank", down), ("joined", False)), True)
    assert found.fitting == found.rows == 28


def test_numbers_that_nothing_explains_are_left_open() -> None:
    made = numbered_rows(3, 8, down=True)
    for at, row in enumerate(made):
        row["joined"] = float(at * 37 % 24)
        row["rank"] = 0
    assert isinstance(explained(NUMBERED, made), str)
    assert "too few" in str(explained(NUMBERED, numbered_rows(1, 3, down=True)))


def test_lanes_from_zero_are_not_ours_and_lanes_from_anywhere_are_not_dense() -> None:
    assert isinstance(explained(NUMBERED, numbered_rows(3, 8, down=True, first=0)), str)
    found = explained(NUMBERED, numbered_rows(3, 8, down=True, first=5))
    assert isinstance(found, LanesFound)
    assert not found.dense


NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=15).filter(
    lambda name: len(name.encode()) <= 63
)


@given(NAMES, NAMES)
def test_every_name_is_spelled_so_that_settings_read_it(one: str, other: str) -> None:
    assert mapped.column(spelled(one)) == one
    read = mapped.table(spelled_table(one, other))
    assert (read.schema, read.name) == (one, other)
    assert types.listed(mapped.column)(", ".join(map(spelled, dict.fromkeys([one, other])))) == tuple(
        dict.fromkeys([one, other])
    )
    assert mapped.column_or_number(spelled(one)) == one


@given(NAMES.filter(lambda value: value.strip()))
def test_every_value_is_spelled_so_that_settings_read_it(value: str) -> None:
    assert types.listed(mapped.status)(f"{spelled_value(value)}, x y z") == (value, "x y z")


@given(st.text(" .\"',;:=#%$-äß", min_size=1, max_size=6))
def test_conditions_on_columns_of_any_name_are_read_back(between: str) -> None:
    name = f"locked{between}at"
    held, flag = Column(name, "timestamptz", "instant"), Column("done", "bool", "flag")
    found = settings(table(held, flag, WORKER, words={}))
    texts = types.listed(mapped.condition)(found["STATES__RUNNING"])
    assert [columns_of(text) for text in texts] == [(name,), ("done",)]
    assert mapped.column(found["JOBS__STARTED_AT"]) == name
