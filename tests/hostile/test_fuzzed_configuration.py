"""Whatever stands in the environment and in files: a configuration or short faults, and no secret."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from queuewarden.application.cli import cli
from queuewarden.errors import ConfigurationError
from queuewarden.settings import load
from queuewarden.settings.configuration import Configuration
from queuewarden.settings.names import leaves, variable
from queuewarden.settings.show import shown

from .passwords import ALL, BAD, GOOD, LEFT, leaks
from .terminals import harmless_line

if TYPE_CHECKING:
    from collections.abc import Iterator

NOWHERE = Path("/nowhere/at/all")
LONGEST = 1000
"""Characters of one fault; most have less than 200."""
PATIENCE = 6.0
"""Seconds of processor time for one configuration, however large: ten times what the largest took, of which
coverage's tracer may take three."""

KNOWN = [variable(path) for path in leaves()]
fragments = st.sampled_from(
    ["QUEUEWARDEN_", "ENV", "QUEUE", "DSN", "DSN_FILE", "JOBS", "TABLE", "MODE", "PROD", "MAIL", "*", "_",
     "__", "___", ".", "-", " ", "ü", "\u202e", "\x1b[31m", "\x9b", "a" * 300]
)  # fmt: skip
names = st.one_of(
    st.builds(
        lambda name, one, two: name.replace("*", one, 1).replace("*", two, 1),
        st.sampled_from(KNOWN),
        st.sampled_from(["PROD", "mail", "_", "", "A" * 200, "ü", "x.y", "\u202e"]),
        st.sampled_from(["MAIL", "prod"]),
    ),
    st.lists(fragments, min_size=1, max_size=12).map("".join),
    st.lists(fragments, min_size=1, max_size=12).map(lambda parts: "QUEUEWARDEN_" + "".join(parts)),
    st.text(min_size=1, max_size=30),
).filter(lambda name: "\0" not in name and "=" not in name and name != "")
values = st.one_of(
    st.text(max_size=40),
    st.binary(max_size=40).map(lambda data: data.decode("utf-8", "surrogateescape")),
    st.sampled_from(["", " ", "\0", "\n", "a\nb", "{", '{"a": 1}', "[]", "None", "nan", "-inf", "1e999",
                     "9" * 5000, "30s", "0s", "prod", "mail", "extraction", "public.jobs", '"', '"""', "a,,b",
                     ",", "->", "=", "#", "a # b", "\u202e", "\u2028", "\x9b31m", "\x85", "/", "//", "~",
                     "$HOME", "../../etc/passwd", "repair", "x" * 5000, '"' * 9999, "," * 9999, "a." * 5000]),
    st.sampled_from([spell(ALL) for spell in (*GOOD, *BAD)]),
)  # fmt: skip
environments = st.dictionaries(names, values, max_size=8)
lines = st.one_of(
    st.builds(lambda name, value: f"{name}={value}", names, values),
    st.builds(
        lambda name, quote, value: f"{name}={quote}{value}{quote}", names, st.sampled_from("'\""), values
    ),
    st.text(max_size=40),
    st.sampled_from(["\\", "'", '"', "#", ";", "=", "export A=b", "\r", "\ufeff", "[section]"]),
)
files = st.one_of(
    st.lists(lines, max_size=12).map(lambda all_: "\n".join(all_).encode("utf-8", "surrogateescape")),
    st.binary(max_size=300),
)
fuzzed = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def loads(environ: dict[str, str], file: Path | None = None, **rest: Any) -> load.Loaded | list[str]:
    """The configuration or its faults, in bounded time."""
    began = time.thread_time()
    try:
        found: load.Loaded | list[str] = load.explain(
            environ, file, **{"default_file": NOWHERE, "credentials": NOWHERE} | rest
        )
    except ConfigurationError as error:
        found = error.faults
        assert found
    assert time.thread_time() - began < PATIENCE
    return found


def check(found: load.Loaded | list[str]) -> None:
    """No secret, no forged line, nothing that a terminal obeys, in faults and in `config show`."""
    if isinstance(found, load.Loaded):
        assert isinstance(found.configuration, Configuration)
        texts = list(_texts(shown(found)))
        assert leaks(repr(found.configuration)) == []
    else:
        texts = found
        assert max(map(len, texts)) <= LONGEST
    for text in texts:
        assert harmless_line(text), ascii(text)
        assert leaks(text) == [] or not isinstance(found, list), ascii(text)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield str(name)
            yield from _texts(inner)
    else:
        yield str(value)


@fuzzed
@given(environments)
def test_variables(environ: dict[str, str]) -> None:
    check(loads(environ))


@fuzzed
@given(
    st.dictionaries(
        st.sampled_from(KNOWN).map(lambda name: name.replace("*", "a", 1).replace("*", "a")), values
    )
)
def test_known_variables_with_any_value(environ: dict[str, str]) -> None:
    check(loads({"QUEUEWARDEN_ENV__A__DSN": "host=h"} | environ))


@fuzzed
@given(files, environments)
def test_files(tmp_path: Path, data: bytes, environ: dict[str, str]) -> None:
    file = tmp_path / "fuzzed.env"
    file.write_bytes(data)
    check(loads(environ, file))


@fuzzed
@given(st.binary(max_size=200) | st.sampled_from([spell(ALL).encode() for spell in (*GOOD, *BAD)]))
def test_a_secret_in_a_file_is_read_or_named(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "dsn"
    file.write_bytes(data)
    for told in (["config", "validate"], ["config", "show"]):
        result = CliRunner().invoke(cli, told, env={"QUEUEWARDEN_ENV__A__DSN_FILE": str(file)})
        assert result.exit_code == 0
        assert leaks(result.output) == []
        assert all(map(harmless_line, result.output.splitlines()))


HOSTILE_NAME = f"a\x1b]0;x\x07\u202e\x9b31m {LEFT[:2]}\n.env"


def test_names_of_files_reach_no_terminal_raw(tmp_path: Path) -> None:
    place = tmp_path / HOSTILE_NAME
    place.mkdir()
    file = place / HOSTILE_NAME
    file.write_text("QUEUEWARDEN_ENV__A__DSN=host=h\nQUEUEWARDEN_MODE=x\nQUEUEWARDEN_INTERVALL=1s\n")
    (place / "dsn_b").write_text(BAD[0](ALL))
    (place / f"dsn_{HOSTILE_NAME}").write_text("host=h")
    check(loads({}, file, credentials=place))
    check(loads({"CREDENTIALS_DIRECTORY": str(place)}, file))
    check(loads({}, place))
    check(loads({}, place / "missing"))
    file.write_text("QUEUEWARDEN_ENV__A__DSN=host=h\n")
    (place / f"dsn_{HOSTILE_NAME}").unlink()
    for arguments in (["config", "show"], ["config", "show", "--json"], ["config", "validate"]):
        env = {"CREDENTIALS_DIRECTORY": str(place)}
        result = CliRunner().invoke(cli, [*arguments, "--config", str(file)], env=env)
        assert result.exit_code == 0
        assert [line for line in result.output.split("\n") if not harmless_line(line)] == []


@pytest.mark.parametrize(
    "name", ["JOBS__TABLE", "JOBS__STATUS", "STATES__WAITING", "JOBS__LABEL", "REFERENCES"]
)
def test_names_of_columns_reach_no_terminal_raw(name: str) -> None:
    value = {"REFERENCES": '"\x9bm\u202e" -> "\u2066".id'}.get(name, '"\x9bm\u202e\u0085 x"')
    variables = {
        "QUEUEWARDEN_DSN": "host=h",
        **{
            f"QUEUEWARDEN_QUEUE__MAIL__{one}": "x"
            for one in ("JOBS__TABLE", "JOBS__ID", "JOBS__STATUS", "STATES__WAITING")
        },
        "QUEUEWARDEN_QUEUE__MAIL__STATES__RUNNING": "running",
        f"QUEUEWARDEN_QUEUE__MAIL__{name}": value,
    }
    for arguments in (["config", "show"], ["config", "show", "--json"], ["config", "validate"]):
        result = CliRunner().invoke(cli, arguments, env=variables)
        assert result.exit_code == 0, result.output
        assert [line for line in result.output.split("\n") if not harmless_line(line)] == []


def test_many_variables_take_no_time() -> None:
    many = {f"QUEUEWARDEN_ENV__E{number}__INTERVALL": "1s" for number in range(100)}
    faults = loads(many)
    assert isinstance(faults, list)
    assert len(faults) >= 100
