"""The simulated worker: careful by itself, faulty on order."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from eventually import eventually

from queuewarden.application.demo.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers import Database, OwnServer

JOB = "SELECT status_id, worker_id, attemtps, completed_at IS NOT NULL FROM extraction_queue WHERE id = %s"
SILENCE = "SELECT extract(epoch FROM now() - last_heartbeat) FROM worker_status WHERE worker_id = 'ann'"


@contextlib.contextmanager
def process(dsn: str, *fault: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "queuewarden.application.demo.worker", dsn, "ann", *fault]
    running = subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0, **options)
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


def add_job(database: Database, age: str = "0 s") -> Any:
    return database.value(
        "INSERT INTO extraction_queue (created_at) VALUES (now() - %s::interval) RETURNING id", [age]
    )


def is_running(database: Database, job: Any) -> bool:
    return bool(database.rows(JOB, [job])[0][0] == 2)


def test_an_honest_worker_finishes_the_job_and_is_idle(database: Database) -> None:
    job = add_job(database)
    with process(database.dsn):
        eventually(lambda: database.rows(JOB, [job]) == [(3, "ann", 1, True)])
        worker = "SELECT status, current_job_id FROM worker_status WHERE worker_id = 'ann'"
        eventually(lambda: database.rows(worker) == [("idle", None)])


def test_a_crashing_worker_dies_in_the_middle_of_its_job(database: Database) -> None:
    job = add_job(database)
    with process(database.dsn, "crash") as worker:
        assert worker.wait(60) == -signal.SIGKILL
    assert database.rows(JOB, [job]) == [(2, "ann", 1, False)]
    assert database.rows("SELECT status, current_job_id FROM worker_status") == [("busy", job)]


def test_a_hanging_worker_lives_on_in_silence(database: Database) -> None:
    with process(database.dsn) as worker:
        assert worker.stdin is not None
        worker.stdin.write(b"hang\n")
        job = add_job(database)  # behind the order, which the job must not be done before
        eventually(lambda: is_running(database, job))
        eventually(lambda: database.value(SILENCE) > 3)
        assert worker.poll() is None
        assert is_running(database, job)


def test_a_stalling_worker_beats_but_does_not_finish_until_the_job_is_taken_away(database: Database) -> None:
    job = add_job(database)
    with process(database.dsn, "stall"):
        age = "SELECT extract(epoch FROM now() - processing_started_at) FROM extraction_queue"
        eventually(lambda: (database.value(age) or 0) > 4, what="a job that takes longer than any")
        eventually(lambda: database.value(SILENCE) < 3, what="a heartbeat")
        database.execute(
            "UPDATE extraction_queue SET status_id = 1, worker_id = NULL, processing_started_at = NULL"
        )
        eventually(lambda: database.rows(JOB, [job]) == [(3, "ann", 2, True)])


def test_end_of_input_ends_a_worker_even_one_that_hangs(database: Database) -> None:
    job = add_job(database)
    with process(database.dsn, "hang") as worker:
        eventually(lambda: is_running(database, job))
        assert worker.stdin is not None
        worker.stdin.close()
        assert worker.wait(30) == 0
        worker.stdin = None


def test_a_worker_whose_database_goes_away_says_so_and_ends(own_server: OwnServer) -> None:
    with own_server.database() as database:
        with process(database.dsn, stderr=subprocess.PIPE) as worker:
            own_server.halt()
            _, said = worker.communicate(timeout=60)
            assert worker.returncode == 1
        own_server.launch()
    assert said.startswith(b"ann: ")
    assert b"Traceback" not in said


def test_a_claim_passes_over_a_job_that_another_holds(database: Database) -> None:
    held, free = add_job(database, "2 min"), add_job(database, "1 min")
    with database.connect() as mine, database.connect(autocommit=False) as other:
        other.execute("SELECT FROM extraction_queue WHERE id = %s FOR UPDATE", [held])
        worker = Worker(mine, "ann")
        worker.register()
        assert worker.claim() == free
        assert worker.claim() is None
        other.rollback()
        assert worker.claim() == held


@pytest.mark.parametrize("loss", ["worker_id = 'bob'", "status_id = 1, worker_id = NULL"])
def test_a_job_that_is_no_longer_its_own_is_not_finished(database: Database, loss: str) -> None:
    job = add_job(database)
    with database.connect() as connection:
        worker = Worker(connection, "ann")
        worker.register()
        assert worker.claim() == job
        assert worker.beat(job)
        database.execute(f"UPDATE extraction_queue SET {loss}")
        assert not worker.beat(job)
        assert not worker.finish(job)
    assert database.value("SELECT status_id <> 3 AND completed_at IS NULL FROM extraction_queue")
