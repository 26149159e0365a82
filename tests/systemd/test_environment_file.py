"""One file, read by systemd's EnvironmentFile= and by us: the same variables, the same values."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from queuewarden.settings import envfile

from .conftest import SLOW

if TYPE_CHECKING:
    from .conftest import Installed

Variables = dict[str, str]
Reader = Callable[[list[str]], list[Variables]]

UNIT = """\
[Service]
Type=oneshot
EnvironmentFile=/run/dump/%i
ExecStart=/usr/bin/env -0
StandardOutput=truncate:/run/dump/%i.out
"""
PASSWORDS = (
    "plain",
    "p$HOME${HOME}$$",
    "p#not;a#comment",
    'say "hi"',
    "it's",
    "back\\slash\\\\twice",
    "percent%n%%",
    "  blanks around  ",
    "tab\there",
    "a=b=c",
    "`id`$(id)",
    "postgresql://u:p%40ss@h/db?options=-c%20x",
    "ünïcødé ☃",
    "!&*()[]{}<>|~^",
)
ALPHABET = "aZ0 =\\\"'$#;`\t\r%é\n"
FILES = 150


@pytest.fixture
def by_systemd(installed: Installed) -> Reader:
    """Reads texts through systemd, a unit each."""

    def read(texts: list[str]) -> list[Variables]:
        box = installed.box
        box.write("/run/systemd/system/dump@.service", UNIT)
        for number, text in enumerate(texts):
            box.write(f"/run/dump/{number}", text)
        box.run("systemctl", "daemon-reload")
        box.run("systemctl", "start", *(f"dump@{number}" for number in range(len(texts))), timeout=SLOW)
        return [variables(box.run("cat", f"/run/dump/{number}.out").stdout) for number in range(len(texts))]

    return read


def variables(dumped: str) -> Variables:
    pairs = (entry.partition("=") for entry in dumped.split("\0") if entry)
    return {name: value for name, _, value in pairs if name.startswith("SECRET")}


def by_us(text: str) -> Variables:
    return {found.key: found.value for found in envfile.parse(text)}


def test_awkward_passwords_in_every_way_of_writing_them(by_systemd: Reader) -> None:
    escaped = [password.replace("\\", "\\\\").replace('"', '\\"') for password in PASSWORDS]
    texts = [
        *(f"SECRET={password}\nSECRET_AFTER=1\n" for password in PASSWORDS if '"' not in password),
        *(f"SECRET='{password}'\n" for password in PASSWORDS if "'" not in password),
        *(f'SECRET="{password}"\n' for password in escaped),
        *(f' SECRET = "{password}" \n' for password in escaped),
        "# SECRET=commented\n; SECRET=too\nSECRET=a\\\nb\n",
        "SECRET='two\nlines'\nSECRET_B=\"a\"'b'\n",
        "SECRET=\nSECRET_B=''\nSECRET_C=last, without a newline",
    ]
    assert by_systemd(texts) == [by_us(text) for text in texts]


def test_a_quoted_password_is_itself() -> None:
    for password in PASSWORDS:
        escaped = "".join(f"\\{letter}" if letter in '\\"`$' else letter for letter in password)
        assert by_us(f'SECRET="{escaped}"\n') == {"SECRET": password}


def test_random_lines(by_systemd: Reader) -> None:
    randomness = random.Random(20240229)
    texts = ["SECRET=" + "".join(randomness.choices(ALPHABET, k=12)) for _ in range(FILES)]
    accepted = [text for text in texts if is_accepted(text)]
    assert len(accepted) > FILES / 4
    assert by_systemd(accepted) == [by_us(text) for text in accepted]


def is_accepted(text: str) -> bool:
    """Whether we read it; where we are stricter, there is nothing to compare."""
    try:
        names = [found.key for found in envfile.parse(text)]
    except envfile.EnvFileError:
        return False
    return names == ["SECRET"]
