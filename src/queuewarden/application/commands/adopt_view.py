"""What was found and is proposed, for a person at a terminal of eighty columns."""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING

from queuewarden.application.adoption.writing import line
from queuewarden.application.commands.paint import safe, say
from queuewarden.settings.names import variable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuewarden.application.adoption.looking import Looked
    from queuewarden.application.adoption.planning import Adopted, Plan
    from queuewarden.application.adoption.trying import Tried
    from queuewarden.application.by_hand import Visit
    from queuewarden.application.sweeps import Swept
    from queuewarden.queues.presets import Preset
    from queuewarden.queues.proposal.choices import Choice
    from queuewarden.queues.proposal.propose import Proposal, Refusal

_NARROW, _WIDE = 60, 110
_MARKS = {"sure": "+", "likely": "~", "guess": "?"}
_COLOURS = {"sure": None, "likely": None, "guess": "yellow"}
_WORDS = {
    "high": "a queue of jobs (confidence: high)",
    "likely": "likely a queue of jobs (confidence: medium)",
    "weak": "hardly a queue of jobs (confidence: low)",
}
_VALUE = 21
_SIGNS = 6
_RESEMBLING = 3
_DIFFERING = 2


def show_found(visits: Sequence[Visit[Looked]], plan: Plan, *, named: bool = False) -> None:
    """What each environment has, then each proposal with its reasons and its lines.

    Args:
        visits: what was looked at.
        plan: what is proposed.
        named: a person has named the tables.
    """
    for one in visits:
        if one.result is not None:
            _show_looked(one.environment, one.result)
    for queue in plan.queues:
        say()
        _show_queue(queue, len(visits) > 1)
    _show_refusals(
        [*plan.refused, *(one for each in visits if each.result for one in each.result.refusals)], named=named
    )


def show_lines(plan: Plan) -> None:
    """All variables as lines of a configuration file."""
    say()
    say("As lines of a configuration file:", bold=True)
    for queue in plan.queues:
        say()
        for name, value in queue.variables.items():
            say(line(name, value))
    if plan.having or plan.notes:
        say()
    for name, value in plan.having.items():
        say(line(name, value))
    for note in plan.notes:
        _paragraph(note, colour="yellow")


def show_counts(visits: Sequence[Visit[Swept]]) -> None:
    """How many jobs and workers there are, as the proposed mapping counts them."""
    for one in visits:
        for queue in one.result.report.queues if one.result is not None else ():
            counts = queue.counts
            if counts is None:
                continue
            parts = [
                f"{number} {word}"
                for word, number in (
                    ("waiting", counts.waiting), ("running", counts.running), ("failed", counts.failed),
                    ("workers alive", counts.live_workers), ("workers silent", counts.silent_workers),
                )
                if number is not None
            ]  # fmt: skip
            say(f"{one.environment}/{queue.queue}: {', '.join(parts)}")


def show_needed(tried: Sequence[Visit[Tried]], plan: Plan) -> None:
    """What each queue lacks before it may be repaired."""
    observed = {one.name for one in plan.queues if any(_is_observe(choice) for choice in one.choices)}
    for one in tried:
        for queue, needed in one.result.needed.items() if one.result is not None else ():
            if needed:
                say()
                say(f"{one.environment}/{queue}: before it can repair anything, see to this:", bold=True)
                for fault in needed:
                    _paragraph(safe(fault, 1000), first="  - ", rest="    ")
    if observed:
        name = variable(("queue", min(observed), "mode"))
        such = "it only looks and reports" if len(observed) == 1 else "(and so on) they are only looked at"
        say()
        _paragraph(
            f"Until you set {name}=repair {such}. Watch for a while first.",
            colour="cyan",
        )


def _is_observe(choice: Choice) -> bool:
    return choice.variable == "MODE" and choice.value == "observe"


def _show_looked(environment: str, looked: Looked) -> None:
    known = sum(one.full for one in looked.recognised)
    parts = [f"{known} of queues known by name"] if known else []
    parts += [f"{looked.near} looked at closely"] if looked.near else []
    near = ", ".join(parts) or "none of them looks like a queue"
    count = "1 table" if looked.count == 1 else f"{looked.count} tables and views"
    say(f"{environment}: {count}, {near} ({looked.seconds:.1f} s)", bold=True)
    for table, queue in looked.mapped:
        say(f"  {safe(table)} is queue {queue} already", "green")
    for one in [one for one in looked.recognised if not one.full][:_RESEMBLING]:
        place = safe(f"{one.schema}.{one.mapping.jobs.table.name}")
        some = ", ".join(map(safe, one.differing[:_DIFFERING]))
        more = f" and {len(one.differing) - _DIFFERING} more" if len(one.differing) > _DIFFERING else ""
        _paragraph(f"{place} resembles {one.preset}, and differs: {some}{more}", first="  ", rest="    ")
    for unknown in looked.unknown:
        _paragraph(safe(unknown, 500), first="  ", rest="    ", colour="red")
    if not looked.count:
        _paragraph(
            "There is no table in any schema that this role may use: look as another one, such as the tables'"
            " owner; then `queuewarden grants` prints what the guard's own role needs",
            first="  ",
            rest="  ",
            colour="red",
        )
        return
    told = looked.proposals or looked.mapped or looked.refusals or looked.unknown
    if not (told or any(one.full for one in looked.recognised)):
        _paragraph(
            "Nothing here can be guarded as it is. A queue must tell which jobs wait and which run, and when"
            " a job started, who has it, or when it last gave a sign of life. To map a table by hand:"
            " queuewarden config reference",
            first="  ",
            rest="  ",
        )


def _show_refusals(refusals: Sequence[Refusal], *, named: bool) -> None:
    if refusals:
        say()
        say("Not proposed:", bold=True)
    for one in {one.table: one for one in refusals}.values():
        _paragraph(f"{safe(one.table)}: {safe(one.why, 500)}", first="  - ", rest="    ")
    if refusals and not named:
        say("  To see what one of them would be like: --table NAME")


def _show_queue(queue: Adopted, several: bool) -> None:  # noqa: FBT001 -- of environments
    where = f", in {', '.join(queue.environments)}" if several else ""
    if queue.preset is not None:
        _paragraph(f"{safe(queue.table)}: {safe(queue.preset.title, 100)}{where}", rest="  ", bold=True)
        _show_preset(queue.preset)
    elif queue.proposal is not None:
        _paragraph(f"{safe(queue.table)}: {_WORDS[queue.proposal.confidence]}{where}", rest="  ", bold=True)
        _show_proposal(queue.proposal)
    say()
    _show_choices(queue.choices)
    if queue.proposal is not None and queue.proposal.open:
        say("  left open:")
        for one in queue.proposal.open:
            _paragraph(f"{one.variable}: {safe(one.why, 300)}", first="  - ", rest="    ")


def _show_preset(preset: Preset) -> None:
    library = preset.library
    observes = preset.guard.get("mode") == "observe"
    mode = "only looks, until you set MODE=repair" if observes else "repairs; with MODE=observe it only looks"
    if library is None:
        _paragraph(preset.notes, first="  ", rest="  ")
        _paragraph(mode, first="  by default:  ", rest=" " * 15)
        return
    known = f"proven on {library.name} {library.tested}" if library.tested else f"read for {library.versions}"
    for title, text in (
        ("stuck there", library.stuck),
        ("queuewarden", library.does),
        ("never", library.never),
        ("by itself", library.rescuer),
        ("by default", mode),
        ("preset", known),
    ):
        if text:
            _paragraph(text, first=f"  {title + ':':13}", rest=" " * 15)


def _show_proposal(proposal: Proposal) -> None:
    signs = ", ".join(safe(one, 40) for one in proposal.signs[:_SIGNS])
    _paragraph(f"speaking for it: {signs}", first="  ", rest="  ")
    about = (
        f"about {proposal.rows} rows, " if proposal.rows is not None and proposal.rows > proposal.seen else ""
    )
    looked = f"{proposal.seen} rows looked at" if proposal.seen else "no row looked at"
    twins = f"; {proposal.twins} more schemas have this table" if proposal.twins else ""
    say(f"  {about}{looked}{twins}")


def _show_choices(choices: Sequence[Choice]) -> None:
    """The variables in columns: how sure, name, value, why."""
    shown = [(one, safe(one.value, 200)) for one in choices]
    name = max(len(one.variable) for one in choices)
    width = min(max(len(value) for _, value in shown), _VALUE)
    at = 4 + name + 2 + width + 2
    for one, value in shown:
        head = f"  {_MARKS[one.sure]} {one.variable:{name}}  "
        if len(value) > width:
            _paragraph(value, first=head, rest=" " * len(head), colour=_COLOURS[one.sure])
            _paragraph(safe(one.why, 300), first=" " * at, rest=" " * at, colour=_COLOURS[one.sure])
        else:
            first = f"{head}{value:{width}}  "
            _paragraph(safe(one.why, 300), first=first, rest=" " * at, colour=_COLOURS[one.sure])
    marks = {one.sure for one in choices}
    if marks != {"sure"}:
        legend = (("sure", "+ sure"), ("likely", "~ likely"), ("guess", "? a guess"))
        say(f"  ({', '.join(text for mark, text in legend if mark in marks)})")


def _paragraph(
    text: str, *, first: str = "", rest: str = "", colour: str | None = None, bold: bool = False
) -> None:
    width = min(max(shutil.get_terminal_size((80, 24)).columns, _NARROW), _WIDE)
    wrapper = textwrap.TextWrapper(
        width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
    for one in wrapper.wrap(text) or [first]:
        say(one, colour, bold=bold)
