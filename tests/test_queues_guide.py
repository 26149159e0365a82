"""The guide to queue libraries says what the presets say."""

from __future__ import annotations

from queues_guide import BEGIN, END, GUIDE, libraries, told


def test_the_guide_is_what_the_presets_tell() -> None:
    part = GUIDE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert part == told(), "run `make reference`"


def test_only_what_the_suite_has_run_is_repaired_by_default() -> None:
    repaired = {preset.name for preset, _ in libraries() if preset.guard.get("mode", "repair") == "repair"}
    assert repaired == {"procrastinate", "graphile_worker"}
    assert all(library.tested for preset, library in libraries() if preset.name in repaired)


def test_each_library_says_all_that_the_table_asks() -> None:
    for preset, library in libraries():
        said = (library.stuck, library.does, library.never, library.versions, library.sources)
        assert all(said), preset.name
        assert not any(text.endswith(".") for text in said[:3]), preset.name
