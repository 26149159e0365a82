"""From plain strings to the typed tree: unknown names, presets, empty values, bad values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import ValidationError

from queuewarden.queues.presets import presets
from queuewarden.settings import mapped
from queuewarden.settings.guard_section import Guard
from queuewarden.settings.mappings import preset_values
from queuewarden.settings.names import fault, nearest, template
from queuewarden.settings.sections import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuewarden.settings.sources import Given, VariablePath

_COMMENTED = "a # within a line is part of the value: put the comment on a line of its own, or"
_IN_FILE = (
    """; a file takes the outer quotes away, so put single ones around the whole: '"My Schema"."my.table"'"""
)


@dataclass(slots=True)
class Tree:
    """What was given, typed as far as it is right.

    Attributes:
        given: all values by path, those of presets included.
        bad: paths whose value was refused, and which the settings therefore lack.
        faults: a line for each of them, and for each unknown variable.
    """

    given: dict[VariablePath, Given]
    bad: set[VariablePath] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    settings: Settings = field(init=False)


def read(given: Mapping[VariablePath, Given]) -> Tree:
    """The typed tree of what was given."""
    tree = Tree({})
    for path, one in given.items():
        wrong = fault(path)
        if wrong:
            tree.faults.append(f"{one}: {wrong}")
            continue
        tree.given[path] = one
        if one.commented:
            quote = "quote the value" if one.in_file else 'put "double quotes" inside the value, around it'
            _refuse(tree, path, f"{_COMMENTED} {quote}")
    _add_presets(tree)
    _drop_empty(tree)
    try:
        tree.settings = Settings(given=tree.given)
    except ValidationError as error:
        for details in error.errors(include_url=False, include_input=False):
            path = tuple(str(part) for part in details["loc"])
            # Pydantic's own messages may repeat the value; ours never do.
            reason = details.get("ctx", {}).get("error", "not a valid value")
            unquoted = tree.given[path].in_file and isinstance(reason, mapped.UnquotedError)
            _refuse(tree, path, f"{reason}{_IN_FILE if unquoted else ''}")
        tree.settings = Settings(given=tree.given)
    return tree


def _refuse(tree: Tree, path: VariablePath, reason: str) -> None:
    tree.faults.append(f"{tree.given.pop(path)}: {reason}")
    tree.bad.add(path)


def _add_presets(tree: Tree) -> None:
    for path, one in list(tree.given.items()):
        if template(path) == ("queue", "*", "preset") and (name := one.text.strip().lower()):
            if name in presets():
                tree.given = preset_values(path[1], presets()[name]) | tree.given
            else:
                _refuse(tree, path, f"unknown preset; {nearest(name, presets())}")


def _drop_empty(tree: Tree) -> None:
    for path, one in list(tree.given.items()):
        if one.text.strip():
            continue
        if path[0] == "queue" and path[2] != "preset" and path[2] not in Guard.model_fields:
            # How a user takes away what a preset maps.
            del tree.given[path]
        else:
            _refuse(tree, path, "empty; give it a value, or remove the variable")
