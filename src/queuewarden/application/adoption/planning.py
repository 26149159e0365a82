"""From what was found in each environment to queues: names, variables, and which environment has which."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from queuewarden.application.discovery import placed
from queuewarden.errors import ConfigurationError
from queuewarden.queues.presets import presets
from queuewarden.queues.proposal.choices import Choice
from queuewarden.queues.proposal.propose import Refusal
from queuewarden.settings import load
from queuewarden.settings.names import variable
from queuewarden.settings.types import NAME

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from queuewarden.application.adoption.looking import Looked
    from queuewarden.application.discovery import Recognised
    from queuewarden.model import Mode
    from queuewarden.queues.mapping import TableName
    from queuewarden.queues.presets import Preset
    from queuewarden.queues.proposal.propose import Proposal
    from queuewarden.settings.load import Loaded


@dataclass(frozen=True, slots=True)
class Adopted:
    """A queue that is proposed.

    Attributes:
        proposal: of a table that was mapped by looking at it; else None.
        preset: of a library, or of ours; else None.
        environments: where its table was found.
    """

    name: str
    table: TableName
    choices: tuple[Choice, ...]
    environments: tuple[str, ...]
    proposal: Proposal | None = None
    preset: Preset | None = None

    @property
    def variables(self) -> dict[str, str]:
        """All variables of the queue."""
        return {self.variable(one): one.value for one in self.choices}

    def variable(self, choice: Choice) -> str:
        """The whole name of one of its variables."""
        return variable(("queue", self.name, *choice.variable.lower().split("__")))


@dataclass(frozen=True, slots=True)
class Plan:
    """What is proposed for all environments.

    Attributes:
        having: which environments have which queues, where not all have all, as variables.
        told: the same where it is configured already, and a person has to change it.
        notes: what else there is to know.
        refused: what the settings themselves would not take.
    """

    queues: tuple[Adopted, ...]
    having: Mapping[str, str] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    refused: tuple[Refusal, ...] = ()

    @property
    def variables(self) -> dict[str, str]:
        """All of them."""
        return {name: text for one in self.queues for name, text in one.variables.items()} | dict(self.having)

    def of(self, queues: Collection[str]) -> Plan:
        """The plan with some of its queues only."""
        kept = tuple(one for one in self.queues if one.name in queues)
        gone = {one.name for one in self.queues} - set(queues)
        having = {
            name: ", ".join(one for one in text.split(", ") if one not in gone)
            for name, text in self.having.items()
        }
        return replace(self, queues=kept, having={name: text for name, text in having.items() if text})


def plan(
    found: Mapping[str, Looked],
    loaded: Loaded,
    environ: Mapping[str, str],
    config_file: Path | None,
    mode: Mode | None,
) -> Plan:
    """Queues for all that was found, each of which the settings take.

    Args:
        found: what each environment has.
        loaded: the configuration as it is.
        environ: the process environment.
        config_file: the file that was named on the command line, if any.
        mode: as the person says; by default ``observe`` where a table was mapped by looking at it.
    """
    queues: list[Adopted] = []
    refused: list[Refusal] = []
    taken = set(loaded.queues)
    for one in (*_libraries(found, taken, mode), *_tables(found, taken, mode or "observe")):
        try:
            load.explain({**environ, **one.variables}, config_file)
        except ConfigurationError as error:
            refused.append(Refusal(one.table, f"settings would not take it: {error.faults[0]}"))
        else:
            queues.append(one)
    return Plan(tuple(queues), *_having(queues, loaded, found), tuple(refused))


def _libraries(found: Mapping[str, Looked], taken: set[str], mode: Mode | None) -> Iterator[Adopted]:
    known: dict[str, list[tuple[str, Recognised]]] = {}
    for environment, looked in found.items():
        for one in looked.recognised:
            if one.full:
                known.setdefault(one.preset, []).append((environment, one))
    for name, some in known.items():
        preset, first = presets()[name], some[0][1]
        queue = _free(name, taken)
        said = "all of its tables are there, as it knows them"
        choices = [Choice("PRESET", name, said, "sure"), *_placed(first, preset)]
        if mode is not None:
            choices.insert(0, Choice("MODE", mode, "as you say", "sure"))
        here = tuple(environment for environment, one in some if one.schema == first.schema)
        yield Adopted(queue, first.mapping.jobs.table, tuple(choices), here, preset=preset)


def _placed(one: Recognised, preset: Preset) -> Iterator[Choice]:
    """Where its tables are, unless where tables are by default."""
    for name, place in placed(one.mapping, preset, one.schema).items():
        yield Choice(name, place, f"found in schema {one.schema}", "sure")


def _tables(found: Mapping[str, Looked], taken: set[str], mode: Mode) -> Iterator[Adopted]:
    known: dict[TableName, list[tuple[str, Proposal]]] = {}
    for environment, looked in found.items():
        for one in looked.proposals:
            known.setdefault(one.table, []).append((environment, one))
    why = "look first, then repair" if mode == "observe" else "as you say"
    for table, some in sorted(known.items(), key=lambda item: -max(one.score for _, one in item[1])):
        # The same table may be empty in one environment: the one that tells most decides for all.
        best = max((one for _, one in some), key=lambda one: (one.score, one.seen))
        queue = _free(best.name, taken)
        choices = (Choice("MODE", mode, why, "sure"), *best.choices)
        yield Adopted(queue, table, choices, tuple(environment for environment, _ in some), proposal=best)


def _free(name: str, taken: set[str]) -> str:
    """The name, or one with a number behind it, where it is taken or no name."""
    name = name if NAME.fullmatch(name) else "jobs"
    numbered = (f"{name}_{number}" for number in range(2, len(taken) + 3))
    free = next(one for one in (name, *numbered) if one not in taken)
    taken.add(free)
    return free


def _having(
    queues: Sequence[Adopted], loaded: Loaded, found: Mapping[str, Looked]
) -> tuple[dict[str, str], dict[str, str], tuple[str, ...]]:
    """Which environments have which queues, where that must be said; where it is said already; notes."""
    every = {one.name for one in loaded.configuration.environments}
    everywhere = all(set(one.environments) == every for one in queues)
    having: dict[str, str] = {}
    told: dict[str, str] = {}
    notes: list[str] = []
    for environment in loaded.configuration.environments:
        new = [one.name for one in queues if environment.name in one.environments]
        old = [] if environment.discover else [mapping.name for mapping in environment.queues]
        name, names = variable(("env", environment.name, "queues")), ", ".join([*old, *new])
        if ("env", environment.name, "queues") in loaded.given:
            told[name] = names
            notes += [f"{name} is set already: add {', '.join(new)} to it"] if new else []
        elif not everywhere and names:
            having[name] = names
        elif not everywhere:
            why = "has none of these queues" if environment.name in found else "was not looked at"
            notes.append(f"{environment.name} {why}: where a table is missing, it will say so")
    guarded = {one.preset for looked in found.values() for one in looked.recognised if one.guarded}
    if guarded and not loaded.queues:
        unnamed = ", ".join(sorted(guarded))
        notes.append(f"guarded so far without a name: {unnamed}; once any queue is named, all must be")
    return having, told, tuple(notes)
