"""`config/queues.md`, made of the presets: what is stuck in each library, what is done, on what proof."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from queuewarden.queues.presets import presets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuewarden.queues.presets import Library, Preset

GUIDE = Path(__file__).parents[1] / "config" / "queues.md"
BEGIN, END = "<!-- presets: begin -->\n", "<!-- presets: end -->\n"


def libraries() -> list[tuple[Preset, Library]]:
    """The presets of libraries: those that are repaired, then those that the suite has run, by name."""
    found = [(one, one.library) for one in presets().values() if one.library is not None]
    return sorted(found, key=lambda pair: (mode(pair[0]) != "repair", not pair[1].tested, pair[1].name))


def mode(preset: Preset) -> str:
    return preset.guard.get("mode", "repair")


def told() -> str:
    """The part of the guide that the presets tell."""
    return "\n".join([*_table(), "", *_each()])


def _table() -> Iterator[str]:
    yield "| library | what stuck means there | what we do | what we never do | by default | tested version |"
    yield "|---|---|---|---|---|---|"
    for preset, library in libraries():
        tested = library.tested or f"none: documented schema, {library.versions}"
        cells = (f"{library.name} (`{preset.name}`)", library.stuck, library.does, library.never)
        yield "| " + " | ".join([*cells, f"{mode(preset)}s", tested]) + " |"


def _each() -> Iterator[str]:
    for preset, library in libraries():
        yield f"### {library.name}"
        yield ""
        yield preset.notes
        yield ""
        yield f"- Versions: {library.versions}; tested: {library.tested or 'none of them'}."
        yield f"- Its own remedy: {library.rescuer or 'none'}{_after(library)}."
        yield f"- Side effects of a repair: {library.effects or 'none'}."
        if library.rights:
            yield f"- Further rights: {', '.join(f'`{right}`' for right in library.rights)}."
        yield f"- Read in: {'; '.join(library.sources)}."
        yield ""


def _after(library: Library) -> str:
    return f" (after {library.rescue_after})" if library.rescue_after else ""


def main() -> None:
    """Write the part anew."""
    head, _, rest = GUIDE.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    GUIDE.write_text(head + BEGIN + told() + END + tail)


if __name__ == "__main__":
    main()
