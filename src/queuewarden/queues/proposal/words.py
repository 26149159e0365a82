"""Status words: which state each one means, as far as a word alone can tell."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from queuewarden.queues.proposal.names import WORDS, normal, tiers

if TYPE_CHECKING:
    from collections.abc import Iterable

State = Literal["waiting", "running", "done", "failed", "cancelled"]
STATES: tuple[State, ...] = ("waiting", "running", "done", "failed", "cancelled")

_NOISE = frozenset(WORDS["words"]["noise"].split())
_OFFLINE = tuple(WORDS["words"]["offline"].split())
_ACTIVITY = re.compile(r"[a-z]+ing")


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a word means.

    Attributes:
        strength: 3: it says just that; 2: in a queue it does; 1: it might; 0: only where rows agree.
        rank: among words as strong, the more usual ones first.
    """

    state: State
    strength: int
    rank: int = 0


_KNOWN = {
    word: Meaning(cast("State", state), strength, rank)
    for state, named in WORDS["states"].items()
    for rank, (word, strength) in enumerate(tiers(named).items())
}


def meaning(word: str) -> Meaning | None:
    """The state that a status word means, or None."""
    tokens = normal(word).split("_")
    while len(tokens) > 1 and tokens[0] in _NOISE:
        tokens = tokens[1:]
    known = _KNOWN.get("_".join(tokens))
    if known is None and len(tokens) == 1 and _ACTIVITY.fullmatch(tokens[0]):
        return Meaning("running", 0)  # crawling, exporting: some work of the application's own
    return known


def offline(words: Iterable[str]) -> str | None:
    """Of a worker's status words, the one that says that it is gone."""
    known = {normal(word): word for word in words}
    return next((known[word] for word in _OFFLINE if word in known), None)
