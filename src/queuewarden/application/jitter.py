"""Chance, for what daemons or environments would otherwise all do in the same moment."""

from __future__ import annotations

import random

_CHANCE = random.Random()  # noqa: S311 -- spreads load, keeps no secret


def jittered(seconds: float, least: float, most: float) -> float:
    """A time of about so many seconds: between so large a part of them and another."""
    return seconds * _CHANCE.uniform(least, most)
