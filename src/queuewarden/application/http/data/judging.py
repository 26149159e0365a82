"""Judging: the six checks over the queues that a request names, read-only or with their repairs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from queuewarden.application.by_hand import Place
from queuewarden.application.liveness import Liveness
from queuewarden.application.resolving import resolve_all
from queuewarden.application.sweeping import sweep
from queuewarden.engine import pauses
from queuewarden.engine.ledger.schema import read_schema
from queuewarden.engine.policy import Policy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from queuewarden.application.http.choice import Choice
    from queuewarden.application.http.data.desk import Seat
    from queuewarden.application.http.data.lanes import LaneSearch
    from queuewarden.application.sweeps import Swept
    from queuewarden.engine.lanes import Lane
    from queuewarden.model import BrakeChange, Outcome
    from queuewarden.queues.target import Target
    from queuewarden.settings.configuration import EnvironmentConfig

LISTED = 1000
"""Rows of each rule that are listed."""

LOOK = Policy(daemon=False, write=False, rows=LISTED)
REPAIR = Policy(daemon=False)


@dataclass(slots=True)
class Judged:
    """What came of one environment.

    Attributes:
        looks: what is wrong: after the repair, where there was one.
        repairs: what was repaired.
        pause: what keeps everything from being written, if it does.
        unreadable: queues that cannot be looked at, and why.
        broken: why it ended early, if it did.
    """

    looks: list[Swept] = field(default_factory=list)
    repairs: list[Swept] = field(default_factory=list)
    pause: BrakeChange | None = None
    unreadable: dict[str, str] = field(default_factory=dict)
    broken: str | None = None

    @property
    def valid(self) -> bool:
        """Nothing is wrong, and nothing is unknown."""
        return self.broken is None and not self.unreadable and all(one.clean for one in self.looks)

    @property
    def fixed(self) -> int:
        """Rows that were repaired."""
        return sum(one.mended for one in _outcomes(self.repairs))

    @property
    def left(self) -> int:
        """Rows that are at fault now, counted by each check."""
        return sum(one.found for one in _outcomes(self.looks))

    @property
    def outcomes(self) -> Iterator[Outcome]:
        """What is wrong, rule by rule."""
        return _outcomes(self.looks)


async def judge(
    seat: Seat,
    others: Mapping[str, EnvironmentConfig],
    choice: Choice,
    search: LaneSearch,
    *,
    by: str | None = None,
) -> Judged:
    """One pass over the queues of an environment.

    Args:
        seat: a connection.
        others: all environments, where workers may register.
        choice: which queues.
        search: which lane.
        by: who repairs; None: only look.

    Raises:
        UnavailableError, psycopg.Error: the database failed before anything was done.
    """
    place = await _place(seat, others, choice, by)
    server = await place.server()
    found = Judged()
    for queue, resolution in place.resolutions.items():
        if resolution.target is None:
            found.unreadable[queue] = "; ".join(resolution.faults)
    parts = [part async for part in _parts(place, search)]
    if by is not None:
        if place.schema.usable:
            known = pauses.pauses(await seat.session.rows(pauses.ACTIVE))
            found.pause = next(iter(pauses.brakes(known, server.now)), None)
        place = replace(place, stay=found.pause.kind if found.pause is not None else None)
        await _pass(place, REPAIR, parts, found.repairs)
        found.broken = next((one.broken for one in found.repairs if one.broken is not None), None)
    if found.broken is None:
        await _pass(place, LOOK, parts, found.looks)
        found.broken = next((one.broken for one in found.looks if one.broken is not None), None)
    return found


async def _place(
    seat: Seat, others: Mapping[str, EnvironmentConfig], choice: Choice, by: str | None
) -> Place:
    config = seat.guard.config
    liveness = Liveness(config.name, others)
    seat.others.append(liveness)
    only = None if choice.queue is None else (choice.queue,)
    resolved = await resolve_all(seat.session, config, only)
    schema = await read_schema(seat.session)
    return Place(
        config,
        seat.session,
        resolved.queues,
        liveness,
        resolved.hints,
        0.0,
        schema,
        actor=by,
        pausable=True,
    )


async def _parts(place: Place, search: LaneSearch) -> AsyncIterator[tuple[list[Target], Lane | None]]:
    """Queues that are looked at together: all of them, or each by itself where a lane is named."""
    if search.name is None:
        yield place.targets, None
        return
    for target in place.targets:
        meant, lane = await search.of(place.session, target)
        if meant:
            yield [target], lane


async def _pass(
    place: Place, policy: Policy, parts: list[tuple[list[Target], Lane | None]], into: list[Swept]
) -> None:
    for targets, lane in parts:
        meant = {target.queue for target in targets}
        done = await sweep(place, replace(policy, lane=lane), targets)
        into.append(
            replace(done, faults={queue: faults for queue, faults in done.faults.items() if queue in meant})
        )
        if done.broken is not None:
            return


def _outcomes(passes: list[Swept]) -> Iterator[Outcome]:
    return (outcome for one in passes for outcome in one.outcomes)
