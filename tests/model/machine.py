"""The model: an application, two daemons and a person do what they may do, in any order, on a real server.

After each step of a guard the tables are held against the ledger, and each change against the rules; after
each step of anybody, what must always hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from model import commands
from model.draws import SPANS, daemons, lanes, meanwhile, picks, setups
from model.events import WAKING, happen
from model.rest import at_rest
from model.world import Hub, World

if TYPE_CHECKING:
    import datetime as dt

    from model.fleet import Worker
    from model.guards import Daemon, Interrupted
    from model.tables import Setup

LEGAL = {"waiting", "running", "done", "failed", "cancelled"}


class Model(RuleBasedStateMachine):
    """Rules for the application first, then for time, daemons and people.

    Attributes:
        hub: set by the test: the connections that all examples share.
        tally: how often what happened, in all examples.
    """

    hub: ClassVar[Hub]
    tally: ClassVar[dict[str, int]] = {}
    world: World

    @initialize(setup=setups, hands=st.integers(2, 4), jobs=st.integers(2, 6), claims=st.booleans())
    def begin(self, *, setup: Setup, hands: int, jobs: int, claims: bool) -> None:
        self.world = World(self.hub, setup)
        for _ in range(hands):
            self.world.fleet.hire()
        for number in range(jobs):
            self.world.fleet.enqueue(1 + number % 2, number % 3 // 2, "last", None, None)
        for worker in self.world.fleet.workers if claims else ():
            self.world.fleet.claim(worker, keeps=True)
        self.world.hub.run(self.world.daemons["A"].look())
        self.world.witness.rebase()

    # -- the application

    @rule(
        lane=lanes,
        priority=st.integers(0, 2),
        place=st.sampled_from(("last", "last", "none", "first", "far")),
        parent=st.sampled_from((None, None, 1, 99)),
        most=st.sampled_from((None, None, 0, 2)),
        number=st.integers(1, 3),
    )
    def enqueue(
        self, lane: int | None, priority: int, place: str, parent: int | None, most: int | None, number: int
    ) -> None:
        for _ in range(number):
            self.world.fleet.enqueue(lane, priority, place, parent, most)
        self.world.witness.rebase()

    @precondition(lambda self: self._jobs("waiting") and self._some(lives=True))
    @rule(number=st.integers(1, 2), keeps=st.booleans())
    def claim(self, *, number: int, keeps: bool) -> None:
        for worker in self._some(lives=True):
            for _ in range(number):
                self.world.fleet.claim(worker, keeps=keeps)
        self.world.witness.rebase()

    @precondition(lambda self: self._some(lives=True))
    @rule(pick=picks, tells=st.booleans())
    def beat(self, *, pick: int, tells: bool) -> None:
        self.world.fleet.beat(self._one(pick, lives=True), tells=tells)
        self.world.witness.rebase()

    @precondition(lambda self: any(one.jobs for one in self._some(lives=True)))
    @rule(pick=picks, status=st.sampled_from(("done", "done", "failed")), stamped=st.booleans())
    def finish(self, *, pick: int, status: str, stamped: bool) -> None:
        busy = [one for one in self._some(lives=True) if one.jobs]
        self.world.fleet.finish(busy[pick % len(busy)], status, stamped=stamped or status == "failed")
        self.world.witness.rebase()

    @precondition(lambda self: self._some(lives=True))
    @rule(pick=picks, leaves=st.sampled_from((False, False, True)))
    def crash(self, *, pick: int, leaves: bool) -> None:
        """It dies, or hangs; or it ends, and its row with it."""
        worker = self._one(pick, lives=True)
        worker.lives = False
        if leaves:
            self.world.fleet.sign_off(worker)
            self.world.witness.rebase()

    @precondition(lambda self: self._some(lives=False))
    @rule(pick=picks)
    def wake_up(self, pick: int) -> None:
        self.world.fleet.wake(self._one(pick, lives=False))
        self.world.witness.rebase()

    @rule(pick=picks)
    def start_again(self, pick: int) -> None:
        """Another process under the same name, or one more."""
        workers = self.world.fleet.workers
        if pick < len(workers):
            self.world.fleet.rehire(workers[pick])
        else:
            self.world.fleet.hire()
        self.world.witness.rebase()

    @precondition(lambda self: self._jobs("waiting"))
    @rule(pick=picks, place=st.sampled_from(("none", "first", "odd", "far")), priority=st.integers(0, 2))
    def scramble(self, pick: int, place: str, priority: int) -> None:
        keys = self._jobs("waiting")
        self.world.fleet.scramble(keys[pick % len(keys)], place, priority)
        self.world.witness.rebase()

    @precondition(lambda self: self._jobs("waiting", "running"))
    @rule(pick=picks)
    def lock(self, pick: int) -> None:
        keys = self._jobs("waiting", "running")
        self.world.lock(keys[pick % len(keys)])

    @rule(span=st.sampled_from(SPANS))
    def time_passes(self, span: dt.timedelta) -> None:
        self.world.age(span)

    # -- daemons

    @rule(who=daemons, after=st.sampled_from(SPANS))
    def guard(self, who: str, after: dt.timedelta) -> None:
        """Nobody guards for a while; then a daemon sees whether it may, and sweeps."""
        self.world.age(after)
        self.world.hub.run(self.world.daemons[who].look())
        self._sweep(who, None)

    @rule(who=daemons, after=st.sampled_from(SPANS), event=meanwhile)
    def guard_disturbed(self, who: str, after: dt.timedelta, event: tuple[int, str, int]) -> None:
        """As above, with something to repair in two lanes, and something happens in the middle of it."""
        if event[1] in WAKING and (worker := self.world.fleet.busy(event[2])) is not None:
            worker.lives = False  # it comes back just as it is taken for dead
        self.world.age(after)
        for lane in (1, 2):
            self.world.fleet.enqueue(lane, 0, "none", None, None)
        self.world.witness.rebase()
        self.world.hub.run(self.world.daemons[who].look())
        self._sweep(who, event)

    @rule(who=daemons, after=st.none() | st.sampled_from(SPANS), taken=st.booleans())
    def guard_late(self, *, who: str, after: dt.timedelta | None, taken: bool) -> None:
        """A daemon was suspended after its last look, and sweeps by what it saw then."""
        if after is not None:
            self.world.age(after)
        if taken:
            self.world.hub.run(self.world.daemons["AB".replace(who, "")].look())
        self._sweep(who, None)

    @rule(who=daemons, end=st.sampled_from(("crash", "stop", "go on")))
    def lease(self, who: str, end: str) -> None:
        daemon = self.world.daemons[who]
        if end == "go on":
            self.world.hub.run(daemon.look())
        else:
            self.world.hub.run(daemon.restart(release=end == "stop"))
        self.world.witness.rebase()

    @rule()
    def keep_house(self) -> None:
        self.world.hub.run(commands.keep_house(self.world))
        self.world.witness.rebase()

    # -- people

    @rule(event=st.none() | meanwhile)
    def repair_by_hand(self, event: tuple[int, str, int] | None) -> None:
        world, session = self.world, self.world.person.session()
        stopped = self._interrupt(session, None, event)
        report = world.hub.run(world.person.repair(session))
        booked = world.witness.account()
        if stopped:
            assert not booked, f"rows were put back meanwhile: {booked}"
        elif event is None or session.meanwhile is not None:
            at_rest(world, report, commands.STATELESS())

    @precondition(lambda self: self._jobs("running"))
    @rule(pick=picks, by=st.sampled_from(("age", "worker", "key")))
    def reset(self, pick: int, by: str) -> None:
        keys = self._jobs("running")
        commands.reset(self.world, by, keys[pick % len(keys)])

    @precondition(lambda self: self._jobs("failed"))
    @rule()
    def retry(self) -> None:
        commands.retry(self.world)

    @precondition(lambda self: self.world.witness.history)
    @rule(pick=st.integers(0, 15), what=st.sampled_from(("id", "id", "sweep", "undo", "time")))
    def undo(self, pick: int, what: str) -> None:
        self.count(f"undone by {what}", commands.undo(self.world, pick, what))

    @rule(window=st.sampled_from((False, False, False, True)))
    def pause_or_resume(self, *, window: bool) -> None:
        if self.world.is_paused():
            commands.resume(self.world)
        else:
            commands.pause(self.world, window=window)

    @rule()
    def plan(self) -> None:
        """Make a plan; apply the one that was made before."""
        if self.world.plan is None:
            self.world.plan = self.world.hub.run(self.world.person.plan()).findings
            self.world.witness.rebase()
        else:
            self.count("planned changes", commands.apply(self.world))

    # -- what always holds

    @invariant()
    def nothing_is_lost(self) -> None:
        world = self.world
        jobs = world.witness.base.of("jobs")
        assert jobs.keys() == world.fleet.enqueued
        for key, job in jobs.items():
            assert job["status"] in LEGAL, job
            if job["status"] == "running":
                assert job["worker"] is not None, job
            if job["status"] == "waiting":
                assert job["worker"] is None, job
            if key in world.fleet.done:
                assert job["status"] == "done", f"it was finished: {job}"

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.unlock()
            for change in self.world.witness.history:
                self.count(f"change: {change.event} {change.reason}".replace(" undo", ""))
            for what, number in self.world.fleet.tally.items():
                self.count(what, number)
            self.count("examples")

    # -- helpers

    def count(self, what: str, number: int = 1) -> None:
        self.tally[what] = self.tally.get(what, 0) + number

    def _sweep(self, who: str, event: tuple[int, str, int] | None) -> None:
        world, daemon = self.world, self.world.daemons[who]
        may = world.holds_lease(daemon) and not world.is_paused()
        stopped = self._interrupt(daemon.session, daemon, event)
        report = world.hub.run(daemon.sweep(world.target))
        undisturbed = event is None or daemon.session.meanwhile is not None
        daemon.session.meanwhile = None
        booked = world.witness.account()
        if not may or stopped:
            assert not booked, f"it had no right to: {booked}"
            self.count("sweep: stopped on the way" if stopped else "sweep: no right to repair")
        elif undisturbed:
            rests = at_rest(world, report, daemon.sweeper.state("mail"))
            self.count("sweep: came to rest" if rests else "sweep: under a brake")
        else:
            self.count("sweep: disturbed")

    def _interrupt(
        self, session: Interrupted, daemon: Daemon | None, event: tuple[int, str, int] | None
    ) -> list[str]:
        """Let something happen in the middle of a sweep; filled where it must write nothing from then on."""
        stopped: list[str] = []
        if event is not None:
            before, name, pick = event

            async def happens() -> None:
                self.world.witness.account()
                if await happen(self.world, name, pick, daemon):
                    stopped.append(name)
                self.count(f"meanwhile: {name}")

            session.meanwhile = (before, happens)
        return stopped

    def _one(self, pick: int, *, lives: bool) -> Worker:
        found = self._some(lives=lives)
        return found[pick % len(found)]

    def _some(self, *, lives: bool) -> list[Worker]:
        return [one for one in self.world.fleet.workers if one.lives is lives]

    def _jobs(self, *states: str) -> list[str]:
        jobs = self.world.witness.base.of("jobs")
        return [key for key, row in jobs.items() if row["status"] in states]
