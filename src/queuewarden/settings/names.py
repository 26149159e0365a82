"""Names of variables: which there are, and which one somebody may have meant."""

from __future__ import annotations

import re
from difflib import SequenceMatcher, get_close_matches
from functools import cache, partial
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, get_args

from pydantic import BaseModel

from queuewarden.settings import types
from queuewarden.settings.sections import Settings
from queuewarden.settings.sources import PREFIX

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from pydantic.fields import FieldInfo

    from queuewarden.settings.sources import VariablePath

_ALIKE = 0.6
_LONGEST = 200
"""Characters of a name for which a right one is looked for; the longest right ones have about 170."""
_REFERENCE = "`queuewarden config reference` lists all there are"

_CALLED = {
    "alerts": "alert",
    "channel": "alert",
    "channels": "alert",
    "rules": "rule",
    "severity": "severities",
    "hold": "for",
    "duration": "for",
    "url": "dsn",
    "database_url": "dsn",
    "listen": "http",
    **dict.fromkeys(("http_address", "http_bind", "http_host", "http_listen", "http_port"), "http"),
    "http_socket": "http",
    "http_read": "http_read_token",
    "http_write": "http_write_token",
}
"""What others call a part of a variable, where it is none of ours."""

ANY = "*"
"""Stands in a path for the name of an environment, a queue, an alert channel or an alert rule."""

NAMED = ("env", "queue", "alert", "rule")
"""Behind these parts of a variable stands a name."""


def variable(path: VariablePath) -> str:
    """The variable of a path."""
    return PREFIX + "__".join(path).upper()


@cache
def leaves() -> dict[VariablePath, FieldInfo]:
    """Every variable there is, in the order of the tree, ``ANY`` standing for names."""
    return dict(_leaves(Settings, ()))


def _leaves(section: type[BaseModel], path: VariablePath) -> Iterator[tuple[VariablePath, FieldInfo]]:
    for name, field in section.model_fields.items():
        here = (*path, field.alias or name)
        inner = get_args(field.annotation)[-1:] if field.default_factory is dict else (field.annotation,)
        deeper = (*here, ANY) if field.default_factory is dict else here
        if inner and isinstance(inner[0], type) and issubclass(inner[0], BaseModel):
            yield from _leaves(inner[0], deeper)
        else:
            yield here, field


def template(path: VariablePath) -> VariablePath:
    """A path with ``ANY`` in place of the names of environments and queues."""
    if path[:1] == ("env",) and path[2:3] == ("queue",):
        named = {1, 3}
    else:
        named = {1} if path[:1] in {(part,) for part in NAMED} else set()
    return tuple(ANY if at in named else part for at, part in enumerate(path))


def fault(path: VariablePath) -> str | None:
    """What is wrong with a variable's name, and the nearest right one; None if nothing is."""
    pattern = template(path)
    if pattern in leaves():
        names = [part for part, place in zip(path, pattern, strict=True) if place == ANY]
        wrong = [name for name in names if not types.NAME.fullmatch(name)]
        return types.NAME_RULE if wrong else None
    return f"unknown variable; {_hint(path)}"


def nearest(word: str, words: Collection[str]) -> str:
    """``did you mean …?``, or what there is to choose from."""
    close = get_close_matches(word, words, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"there is {', '.join(sorted(words))}" if words else "there is none"


def _hint(path: VariablePath) -> str:
    flat = re.sub("_{3,}", "__", "__".join(path))  # many ways to divide a long run would take for ever
    if len(flat) > _LONGEST:
        return _REFERENCE
    if called := _called_otherwise(path):
        return f"did you mean {variable(called)}?"
    for leaf in leaves():
        # One underscore where two belong.
        if found := re.fullmatch("_+".join("([a-z0-9_]+?)" if part == ANY else part for part in leaf), flat):
            names = iter(found.groups())
            meant = [next(names) if part == ANY else part for part in leaf]
            if all(types.NAME.fullmatch(name) for name in found.groups()):
                return f"did you mean {variable(tuple(meant))}?"
    known = [_filled(leaf, path) for leaf in leaves()]
    same_end = [leaf for leaf in known if leaf[-1] == path[-1]]
    likest = max(same_end or known, key=partial(_likeness, path))
    if same_end or _likeness(path, likest) >= _ALIKE:
        return f"did you mean {variable(likest)}?"
    return _REFERENCE


def _called_otherwise(path: VariablePath) -> VariablePath | None:
    first = (path[0] if len(path) == 1 else _CALLED.get(path[0], path[0]), *path[1:])
    pattern = template(first)
    names = [part for part, place in zip(first, pattern, strict=True) if place == ANY]
    if not all(map(types.NAME.fullmatch, names)):
        return None
    other = tuple(
        part if place == ANY else _CALLED.get(part, part) for part, place in zip(first, pattern, strict=True)
    )
    return next((one for one in (first, other) if template(one) in leaves() or one == ("dsn",)), None)


def _likeness(path: VariablePath, leaf: VariablePath) -> float:
    # What both begin with tells nothing: beside a long common part any two words look alike.
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(path, leaf, strict=False)))
    return SequenceMatcher(None, "__".join(path[common:]), "__".join(leaf[common:])).ratio()


def _filled(leaf: VariablePath, path: VariablePath) -> VariablePath:
    """A leaf with the names that a path has for its environment and queue."""
    names = {kind: name for kind, name in pairwise(path[:-1]) if kind in NAMED}
    return tuple(names.get(leaf[at - 1], "name") if part == ANY else part for at, part in enumerate(leaf))
