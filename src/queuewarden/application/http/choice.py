"""Choice: the parameters ``env``, ``queue`` and ``lane``; each of them may be absent, and then means all."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query

from queuewarden.application.guard import Guard
from queuewarden.application.http.access import StationOf
from queuewarden.application.http.problems import Problem
from queuewarden.engine.alerting.notices import About
from queuewarden.queues.target import Target
from queuewarden.settings.names import nearest

LONGEST_NAME = 63
LONGEST_LANE = 200


@dataclass(frozen=True, slots=True)
class Choice:
    """What a request is about.

    Attributes:
        guards: of the environments that were chosen and have the queue.
        queue: None for all.
        lane: None for all.
        everything: neither an environment nor a queue was chosen: what belongs to none is meant, too.
    """

    guards: tuple[Guard, ...]
    queue: str | None
    lane: str | None
    everything: bool = False

    def has(self, queue: str | None) -> bool:
        """Whether a queue is meant."""
        return self.queue is None or queue == self.queue

    def about(self, about: About) -> bool:
        """Whether an alert is meant; those of the daemon itself belong to no environment."""
        named = any(guard.config.name == about.environment for guard in self.guards)
        return (named or self.everything) and self.has(about.queue)

    @property
    def targets(self) -> list[tuple[Guard, Target]]:
        """The queues, as far as they are known: none where a database is down."""
        return [(guard, one) for guard in self.guards for one in guard.targets if self.has(one.queue)]


def queues_of(guard: Guard) -> set[str]:
    """The queues that an environment has, as far as they are known."""
    configured = {mapping.name for mapping in guard.config.queues}
    return configured | {one.queue for one in guard.targets} | set(guard.status.counts)


_Env = Annotated[str | None, Query(max_length=LONGEST_NAME, description="An environment; all without.")]
_Queue = Annotated[str | None, Query(max_length=LONGEST_NAME, description="A queue; all without.")]


async def environments(station: StationOf, env: _Env = None) -> tuple[Guard, ...]:
    """The guards of the environments that a request is about.

    Raises:
        Problem: no such environment; names the nearest.
    """
    if env is None:
        return tuple(station.guards.values())
    name = _folded(env)
    if name not in station.guards:
        raise Problem(404, f"env: no environment of this name; {nearest(name, station.guards)}")
    return (station.guards[name],)


async def choose(
    station: StationOf,
    env: _Env = None,
    queue: _Queue = None,
    lane: Annotated[str | None, Query(max_length=LONGEST_LANE, description="A lane; all without.")] = None,
) -> Choice:
    """What a request is about.

    Raises:
        Problem: no such environment, or none of them has such a queue; names the nearest.
    """
    guards = await environments(station, env)
    if queue is None:
        return Choice(guards, None, lane, everything=env is None)
    name = _folded(queue)
    queues = {guard.config.name: queues_of(guard) for guard in guards}
    there = set().union(*queues.values())
    if name not in there:
        raise Problem(404, f"queue: no queue of this name; {nearest(name, there)}")
    return Choice(tuple(one for one in guards if name in queues[one.config.name]), name, lane)


async def places(
    station: StationOf,
    env: _Env = None,
    queue: _Queue = None,
) -> Choice:
    """What a request is about that knows no lanes; see `choose`."""
    return await choose(station, env, queue, None)


def _folded(name: str) -> str:
    return name.strip().lower()


EnvironmentsOf = Annotated[tuple[Guard, ...], Depends(environments)]
"""The parameter ``env`` alone, as a parameter of a route."""

ChoiceOf = Annotated[Choice, Depends(choose)]
"""All three parameters, as a parameter of a route."""

PlacesOf = Annotated[Choice, Depends(places)]
"""The same without ``lane``."""
