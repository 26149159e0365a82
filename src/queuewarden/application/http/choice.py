"""Choice: the parameters ``env``, ``queue`` and ``lane``; each of them may be absent, and then means all."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query

from queuewarden.application.guard import Guard
from queuewarden.application.http.access import StationOf
from queuewarden.application.http.problems import Problem
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
    """

    guards: tuple[Guard, ...]
    queue: str | None
    lane: str | None

    def has(self, queue: str | None) -> bool:
        """Whether a queue is meant."""
        return self.queue is None or queue == self.queue

    @property
    def targets(self) -> list[tuple[Guard, Target]]:
        """The queues, as far as they are known: none where a database is down."""
        return [(guard, one) for guard in self.guards for one in guard.targets if self.has(one.queue)]


def queues_of(guard: Guard) -> set[str]:
    """The queues that an environment has, as far as they are known."""
    configured = {mapping.name for mapping in guard.config.queues}
    return configured | {one.queue for one in guard.targets} | set(guard.status.counts)


async def choose(
    station: StationOf,
    env: Annotated[
        str | None, Query(max_length=LONGEST_NAME, description="An environment; all without.")
    ] = None,
    queue: Annotated[str | None, Query(max_length=LONGEST_NAME, description="A queue; all without.")] = None,
    lane: Annotated[str | None, Query(max_length=LONGEST_LANE, description="A lane; all without.")] = None,
) -> Choice:
    """What a request is about.

    Raises:
        Problem: no such environment, or none of them has such a queue; names the nearest.
    """
    known = dict(station.guards)
    if env is not None:
        env = _folded(env)
        if env not in known:
            raise Problem(404, f"env: no environment of this name; {nearest(env, known)}")
        known = {env: known[env]}
    if queue is not None:
        queue = _folded(queue)
        queues = {name: queues_of(guard) for name, guard in known.items()}
        there = set().union(*queues.values())
        if queue not in there:
            raise Problem(404, f"queue: no queue of this name; {nearest(queue, there)}")
        known = {name: guard for name, guard in known.items() if queue in queues[name]}
    return Choice(tuple(known.values()), queue, lane)


def _folded(name: str) -> str:
    return name.strip().lower()


ChoiceOf = Annotated[Choice, Depends(choose)]
