"""The caretaker: what is due is run once, recorded and told; it ends when the lease, or the daemon, does."""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import kit
import nightly
import pytest
from psycopg import sql
from structlog.testing import capture_logs

from queuewarden.adapters.db import upkeep as db_upkeep
from queuewarden.application.upkeep import caretaker as caretaking
from queuewarden.application.upkeep import running
from queuewarden.application.upkeep.caretaker import Caretaker
from queuewarden.engine.ledger import schema
from queuewarden.engine.resolve import resolve
from queuewarden.engine.upkeep import tasks
from queuewarden.engine.upkeep.config import Upkeep
from queuewarden.engine.upkeep.schedule import spelled
from queuewarden.engine.upkeep.task import Done, Progress, Step
from queuewarden.settings.configuration import EnvironmentConfig
from queuewarden.settings.secret import DsnSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from servers import Database, OwnServer

    from queuewarden.engine.upkeep.config import TaskName
    from queuewarden.engine.upkeep.task import Place

LATER = nightly.AT.replace("0 ", "30 ", 1)
YEARLY = f"0 2 1 {(datetime.now(UTC).month + 5) % 12 + 1} *"
NIGHTLY = Upkeep({"vacuum": nightly.AT, "backup": nightly.AT}, jitter=timedelta(0))
STEP = Step("public.jobs", "vacuumed", "done", amount=3)
TARGET = SimpleNamespace(queue="mail")
SLEEPING = (
    "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"
    " AND datname = current_database()"
)


class Fake:
    """A task that does as it is told."""

    def __init__(self, work: Callable[[Place], Any] | None = None) -> None:
        self.places: list[Place] = []
        self._work = work

    async def run(self, place: Place) -> Done:
        self.places.append(place)
        if self._work is not None:
            await self._work(place)
        return Done((STEP,))


async def sleep(place: Place) -> None:
    await place.connection.run(sql.SQL("SELECT pg_sleep(30)").format())


class Scene:
    """A caretaker on a database, its guard's lease as the test wants it."""

    def __init__(self, database: Database, upkeep: Upkeep, limits: Any = kit.LIMITS) -> None:
        self.database = database
        self.claim = SimpleNamespace(held=True, schema=schema.Schema(schema.VERSION))
        config = EnvironmentConfig(
            "prod", DsnSource("test", value=database.dsn), (kit.MAPPING,), limits, {}, upkeep=upkeep
        )
        self.guard = SimpleNamespace(config=config, targets=[TARGET], status=SimpleNamespace(brakes=()))
        self.caretaker = Caretaker(self.guard, self.claim, "host:1")  # type: ignore[arg-type]
        self.logs: list[Any] = []

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        with capture_logs() as self.logs:
            self.caretaker.start()
            try:
                yield
            finally:
                await self.caretaker.close()

    def missed(self, *names: TaskName, days: int = 3) -> None:
        """So long ago each of them was last run by the clock."""
        for name in names:
            self.database.execute(
                "INSERT INTO queuewarden.upkeep_runs (environment, task, trigger, actor, slot, schedule,"
                " alive_until, finished_at, result) VALUES ('prod', %s, 'schedule', 'before',"
                " now() - make_interval(days => %s), %s, now(), now(), 'done')",
                [name, days, spelled(self.guard.config.upkeep, name)],
            )

    def runs(self) -> list[tuple[Any, ...]]:
        return self.database.rows(
            "SELECT task, result, summary FROM queuewarden.upkeep_runs"
            " WHERE actor <> 'before' ORDER BY number"
        )

    async def until(self, condition: Callable[[], object], seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, (self.runs(), self.logs)
            await asyncio.sleep(0.02)

    def events(self, event: str) -> list[Any]:
        return [line for line in self.logs if line["event"] == event]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caretaking, "EVERY", 0.05)
    monkeypatch.setattr(caretaking, "SOON", 0.05)
    monkeypatch.setattr(caretaking, "LEASE_EVERY", 0.02)
    # A machine that is busy may take longer to end a statement, or to record that.
    monkeypatch.setattr(running, "RECORD_WITHIN", 15.0)
    monkeypatch.setattr(db_upkeep, "GRACE", 15.0)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Fake]:
    def _fake(work: Callable[[Place], Any] | None = None, name: TaskName = "vacuum") -> Fake:
        task = Fake(work)
        monkeypatch.setitem(tasks.TASKS, name, task)
        return task

    return _fake


@pytest.fixture
def scene(databases: Callable[..., Database]) -> Callable[..., Scene]:
    return lambda upkeep=NIGHTLY, **rest: Scene(databases(kit.SCHEMA + schema.script()), upkeep, **rest)


def test_what_is_due_is_run_once_recorded_and_told(
    scene: Callable[..., Scene], fake: Callable[..., Fake]
) -> None:
    async def work(place: Place) -> None:
        place.tell(Progress("public.jobs", "scanning heap", 1, 2))

    prod, task = scene(), fake(work)
    prod.missed("vacuum")

    async def main() -> None:
        async with prod.at_work():
            await prod.until(lambda: prod.events("upkeep.done"))
            await asyncio.sleep(0.15)
            assert prod.caretaker.connections == 1, "its record's, and none while nothing is done"

    asyncio.run(main())
    assert len(task.places) == 1
    (place,) = task.places
    assert (place.targets, place.ledger, place.consent, place.dry_run) == ((TARGET,), True, False, False)
    assert ("vacuum", "done", "1 done") in prod.runs()
    (done,) = prod.events("upkeep.done")
    assert (done["environment"], done["task"], done["steps"]) == (
        "prod",
        "vacuum",
        ["public.jobs: vacuumed 3"],
    )
    (progress,) = prod.events("upkeep.progress")
    assert (progress["phase"], progress["done"], progress["total"]) == ("scanning heap", 1, 2)
    assert (
        prod.database.value(
            "SELECT did->0->>'amount' FROM queuewarden.upkeep_runs WHERE actor = 'host:1' AND task = 'vacuum'"
        )
        == "3"
    )


def test_programs_are_noted_and_never_run_here(
    scene: Callable[..., Scene], fake: Callable[..., Fake]
) -> None:
    prod, task = scene(), fake()

    async def main() -> None:
        async with prod.at_work():
            await prod.until(lambda: len(prod.runs()) == 2)
            prod.database.execute(
                "UPDATE queuewarden.upkeep_runs SET slot = now() - interval '25 h' WHERE task = 'backup'"
            )
            await prod.until(lambda: any(late().values()))

    def late() -> dict[str, float]:
        seen = prod.caretaker.sight
        found = seen.readings("prod", time.monotonic())["upkeep_overdue_seconds"] if seen is not None else {}
        return {about.subject: value for about, value in found.items() if about.subject == "backup"}

    asyncio.run(main())
    first = "a new schedule: it begins with the next moment"
    assert prod.runs() == [("vacuum", "skipped", first), ("backup", "skipped", first)]
    assert task.places == []


def test_what_deletes_jobs_is_shown_before_its_first_moment(
    scene: Callable[..., Scene], fake: Callable[..., Fake]
) -> None:
    prod, task = scene(Upkeep({"prune": nightly.AT}, jitter=timedelta(0))), fake(name="prune")
    prod.guard.targets = []

    async def main() -> None:
        async with prod.at_work():
            await asyncio.sleep(0.15)
            assert (task.places, prod.runs()) == ([], []), "it does not know the queues yet"
            prod.guard.targets = [TARGET]
            await prod.until(prod.runs)
            await asyncio.sleep(0.15)

    asyncio.run(main())
    assert [place.dry_run for place in task.places] == [True]
    assert [line["task"] for line in prod.events("upkeep.done")] == ["prune"]
    assert prod.runs() == [("prune", "skipped", "a new schedule: it begins with the next moment")]


def test_without_the_lease_or_a_schedule_it_is_not_even_connected(
    scene: Callable[..., Scene], fake: Callable[..., Fake]
) -> None:
    prod, task = scene(), fake()
    prod.missed("vacuum")

    async def main() -> None:
        prod.claim.held = False
        async with prod.at_work():
            await asyncio.sleep(0.15)
            assert (prod.caretaker.connections, prod.caretaker.sight) == (0, None)
            prod.claim.held = True
            await prod.until(lambda: prod.caretaker.sight is not None and task.places)
            prod.guard.config = replace(prod.guard.config, upkeep=Upkeep())
            await prod.until(lambda: prod.caretaker.connections == 0)

    asyncio.run(main())
    assert len(task.places) == 1


def test_a_pause_holds_it_until_it_ends(scene: Callable[..., Scene], fake: Callable[..., Fake]) -> None:
    prod, task = scene(), fake()
    prod.missed("vacuum")
    prod.database.execute(
        "INSERT INTO queuewarden.pauses (environment, reason, set_by, until)"
        " VALUES ('prod', 'migrating', 'anna', now() + interval '1 h')"
    )

    async def main() -> None:
        async with prod.at_work():
            await prod.until(lambda: prod.events("upkeep.held"))
            await asyncio.sleep(0.15)
            assert task.places == []
            assert [line["reason"] for line in prod.events("upkeep.held")] == ["migrating (by anna)"]
            prod.database.execute("UPDATE queuewarden.pauses SET until = now()")
            await prod.until(lambda: prod.events("upkeep.done"))

    asyncio.run(main())


def test_what_was_missed_is_skipped_where_that_is_wanted(
    scene: Callable[..., Scene], fake: Callable[..., Fake]
) -> None:
    prod, task = scene(replace(NIGHTLY, missed="skip", schedule={"vacuum": YEARLY})), fake()
    prod.missed("vacuum", days=800)

    async def main() -> None:
        async with prod.at_work():
            await prod.until(lambda: prod.events("upkeep.skipped"))
            await asyncio.sleep(0.15)

    asyncio.run(main())
    assert (prod.runs(), task.places) == ([("vacuum", "skipped", "missed")], [])


@pytest.mark.parametrize(
    ("failure", "longest", "summary"),
    [
        (RuntimeError("a mistake"), timedelta(minutes=1), "internal error: RuntimeError"),
        ("SELECT 1/0", timedelta(minutes=1), "database error 22012"),
        ("SELECT pg_sleep(60)", timedelta(milliseconds=200), "not done within 0:00:00.200000"),
    ],
)
def test_what_fails_is_recorded_and_told_and_not_tried_again(
    scene: Callable[..., Scene],
    fake: Callable[..., Fake],
    failure: Exception | str,
    longest: timedelta,
    summary: str,
) -> None:
    async def work(place: Place) -> None:
        if isinstance(failure, Exception):
            raise failure
        await place.connection.run(sql.SQL(failure).format())  # type: ignore[arg-type]  # the test's own

    prod, task = scene(replace(NIGHTLY, timeout=longest)), fake(work)
    prod.missed("vacuum")

    async def main() -> None:
        async with prod.at_work():
            await prod.until(lambda: prod.events("upkeep.failed"))
            await asyncio.sleep(0.15)

    asyncio.run(main())
    assert ("vacuum", "failed", summary) in prod.runs()
    assert len(task.places) == 1
    assert prod.database.value(SLEEPING) == 0


def test_a_task_of_which_a_step_failed_has_failed(
    scene: Callable[..., Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Half(Fake):
        async def run(self, place: Place) -> Done:  # noqa: ARG002 -- the protocol's
            return Done((STEP, Step("public.x", "vacuumed", "failed", why="a lock")))

    prod = scene()
    monkeypatch.setitem(tasks.TASKS, "vacuum", Half())
    prod.missed("vacuum")

    async def main() -> None:
        async with prod.at_work():
            await prod.until(lambda: prod.events("upkeep.failed"))

    asyncio.run(main())
    assert ("vacuum", "failed", "1 done, 1 failed; public.x: a lock") in prod.runs()
    (failed,) = prod.events("upkeep.failed")
    assert failed["steps"][0] == "public.x: vacuumed (a lock)"


@pytest.mark.parametrize("how", ["killed", "failed"])
def test_what_a_task_did_before_it_was_ended_is_recorded_and_told(
    scene: Callable[..., Scene], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(caretaking, "TELL_EVERY", 0.0)
    upkeep = Upkeep({"prune": nightly.AT}, timeout=timedelta(seconds=60 if how == "killed" else 5))
    prod = scene(upkeep)
    prod.database.execute(
        "INSERT INTO jobs (status, finished_at) SELECT 'done', '2020-01-01' FROM generate_series(1, 900);"
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN IF OLD.id > 500 THEN PERFORM pg_sleep(0.3); END IF; RETURN OLD; END $$;"
        "CREATE TRIGGER slow BEFORE DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION slow()"
    )
    prod.missed("prune")

    async def main() -> None:
        async with kit.session(prod.database.dsn) as session:
            resolution = await resolve(session, "prod", kit.MAPPING, kit.LIMITS)
        prod.guard.targets = [resolution.target]
        async with prod.at_work():
            await prod.until(lambda: any(one["done"] >= 500 for one in prod.events("upkeep.progress")))
            if how == "killed":
                prod.claim.held = False
            await prod.until(lambda: prod.events(f"upkeep.{how}"))

    asyncio.run(main())
    (told,) = prod.events(f"upkeep.{how}")
    assert told["steps"][0].startswith("mail: public.jobs: deleted")
    recorded = "SELECT (did -> 0 ->> 'amount')::int FROM queuewarden.upkeep_runs WHERE result = %s"
    assert prod.database.rows(recorded, [how])[0][0] >= 500


def test_a_task_ends_with_the_lease_and_is_made_up_for(
    scene: Callable[..., Scene], fake: Callable[..., Fake]
) -> None:
    prod, task = scene(), fake(sleep)
    prod.missed("vacuum")

    async def main() -> None:
        async with prod.at_work():
            await prod.until(lambda: prod.database.value(SLEEPING) == 1)
            prod.claim.held = False
            await prod.until(lambda: ("vacuum", "killed", "ended before it was done") in prod.runs())
            assert prod.database.value(SLEEPING) == 0
            prod.claim.held = True
            await prod.until(lambda: len(task.places) == 2)

    asyncio.run(main())
    assert prod.runs()[-1][1] == "killed"


def test_a_task_ends_as_a_reload_says_so_and_not_for_another_schedule(
    scene: Callable[..., Scene], fake: Callable[..., Fake]
) -> None:
    prod = scene()
    fake(sleep)
    prod.missed("vacuum")

    async def main() -> None:
        async with prod.at_work():
            await prod.until(lambda: prod.database.value(SLEEPING) == 1)
            config = prod.guard.config
            later = replace(config.upkeep, schedule=config.upkeep.schedule | {"vacuum": LATER})
            prod.guard.config = replace(config, upkeep=later)
            await asyncio.sleep(0.2)
            assert prod.database.value(SLEEPING) == 1
            prod.guard.config = replace(config, limits=replace(config.limits, mode="observe"))
            await prod.until(lambda: ("vacuum", "killed", "ended before it was done") in prod.runs())
            assert prod.database.value(SLEEPING) == 0

    asyncio.run(main())


@pytest.mark.parametrize("name", ["prune", "vacuum"])
def test_what_deletes_jobs_ends_with_a_pause_and_the_rest_goes_on(
    scene: Callable[..., Scene], fake: Callable[..., Fake], name: TaskName
) -> None:
    prod = scene(Upkeep({name: nightly.AT}, jitter=timedelta(0)))
    fake(sleep, name)
    prod.missed(name)

    async def main() -> None:
        async with prod.at_work():
            await prod.until(lambda: prod.database.value(SLEEPING) == 1)
            prod.guard.status.brakes = (SimpleNamespace(kind="pause"),)
            if name == "prune":
                await prod.until(lambda: prod.events("upkeep.killed"))
            await asyncio.sleep(0.2)
            assert prod.database.value(SLEEPING) == int(name == "vacuum")

    asyncio.run(main())


def test_a_reload_that_names_another_database_leads_to_its_record(
    scene: Callable[..., Scene], fake: Callable[..., Fake], databases: Callable[..., Database]
) -> None:
    prod, task = scene(), fake()
    other = databases(kit.SCHEMA + schema.script())

    async def main() -> None:
        async with prod.at_work():
            await prod.until(prod.runs)
            prod.guard.config = replace(prod.guard.config, dsn=DsnSource("test", value=other.dsn))
            await prod.until(lambda: other.value("SELECT count(*) FROM queuewarden.upkeep_runs"))

    asyncio.run(main())
    assert not task.places


def test_a_direct_way_into_another_database_is_not_taken(
    scene: Callable[..., Scene], fake: Callable[..., Fake], databases: Callable[..., Database]
) -> None:
    prod, task = scene(), fake()
    prod.missed("vacuum")
    config = prod.guard.config

    async def main() -> None:
        other = DsnSource("test", value=databases(kit.SCHEMA).dsn)
        prod.guard.config = replace(config, upkeep_dsn=other)
        async with prod.at_work():
            await prod.until(lambda: prod.events("upkeep.held"))
            await asyncio.sleep(0.2)
            assert not task.places
            prod.guard.config = replace(config, upkeep_dsn=config.dsn)
            await prod.until(lambda: task.places)

    asyncio.run(main())
    (held,) = prod.events("upkeep.held")
    assert held["reason"] == "UPKEEP_DSN leads to another database, or server, than DSN"
    assert held["log_level"] == "warning"


def test_it_ends_quickly_though_the_server_is_frozen(
    own_server: OwnServer,
    fake: Callable[..., Fake],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(running, "RECORD_WITHIN", 1.0)
    monkeypatch.setattr(db_upkeep, "GRACE", 2.0)
    task = fake(sleep)

    def ended(database: Database) -> tuple[float, str]:
        """Seconds that it took, and what was recorded of the run."""
        prod = Scene(database, NIGHTLY)
        prod.missed("vacuum")

        async def main() -> float:
            async with prod.at_work():
                await prod.until(lambda: database.value(SLEEPING) == 1)
                own_server.freeze()
                begun = time.monotonic()
            return time.monotonic() - begun

        try:
            took = asyncio.run(main())
        finally:
            own_server.thaw()
        return took, prod.runs()[-1][1]

    with own_server.database(kit.SCHEMA + schema.script()) as database:
        took, result = ended(database)
    assert took < 8
    assert result in {"running", "killed"}, "what was sent before it froze may have arrived"
    # asyncio tells of an exception that nobody asked for when its task is forgotten.
    task.places.clear()
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_one_that_was_killed_is_found_by_the_next(
    scene: Callable[..., Scene], fake: Callable[..., Fake]
) -> None:
    prod, task = scene(), fake()
    prod.missed("vacuum")
    prod.database.execute(
        "INSERT INTO queuewarden.upkeep_runs (environment, task, trigger, actor, alive_until)"
        " VALUES ('prod', 'backup', 'hand', 'gone', now() + interval '1 h')"
    )

    async def main() -> None:
        async with prod.at_work():
            await prod.until(lambda: prod.events("upkeep.held"))
            assert task.places == []
            prod.database.execute(
                "UPDATE queuewarden.upkeep_runs SET alive_until = now() - interval '1 s' WHERE actor = 'gone'"
            )
            await prod.until(lambda: prod.events("upkeep.done"))

    asyncio.run(main())
    (held,) = prod.events("upkeep.held")
    assert held["reason"] == "backup of prod is under way (by gone)"
    assert prod.runs()[0] == ("backup", "killed", "it gave no sign of life any more")


def test_a_run_beats_for_as_long_as_it_takes(
    scene: Callable[..., Scene], fake: Callable[..., Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running.runs, "BEAT", 0.05)
    prod, _ = scene(), fake(sleep)
    prod.missed("vacuum")
    alive = "SELECT alive_until FROM queuewarden.upkeep_runs WHERE result = 'running'"
    seen = set()

    def renewed() -> bool:
        seen.add(prod.database.value(alive))
        return len(seen) > 5

    async def main() -> None:
        async with prod.at_work():
            await prod.until(lambda: prod.database.value(SLEEPING) == 1)
            await prod.until(renewed)
            assert max(seen) > prod.database.value("SELECT now()")

    asyncio.run(main())


def test_where_everything_is_only_observed_it_only_says_what_it_would_do(
    scene: Callable[..., Scene], fake: Callable[..., Fake]
) -> None:
    prod, task = scene(limits=replace(kit.LIMITS, mode="observe")), fake()
    prod.missed("vacuum")

    async def main() -> None:
        async with prod.at_work():
            await prod.until(lambda: task.places)

    asyncio.run(main())
    assert task.places[0].dry_run


def test_rights_that_are_missing_are_told_once(scene: Callable[..., Scene]) -> None:
    prod = scene()
    prod.claim.schema = schema.Schema(schema.VERSION, unscheduled="rights missing on upkeep_runs")

    async def main() -> None:
        async with prod.at_work():
            await asyncio.sleep(0.15)

    asyncio.run(main())
    (told,) = prod.events("upkeep.unscheduled")
    assert told["reason"] == "rights missing on upkeep_runs"


def test_a_mistake_of_ours_does_not_end_it(
    scene: Callable[..., Scene], fake: Callable[..., Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    prod, task = scene(), fake()
    prod.missed("vacuum")
    look = caretaking.sight.look

    async def broken(*_: Any) -> Any:
        monkeypatch.setattr(caretaking.sight, "look", look)
        raise KeyError("nothing")

    monkeypatch.setattr(caretaking.sight, "look", broken)

    async def main() -> None:
        async with prod.at_work():
            await prod.until(lambda: task.places)

    asyncio.run(main())
    (told,) = prod.events("upkeep.mistake")
    assert told["log_level"] == "error"
