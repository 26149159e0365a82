from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuewarden.settings.envfile import EnvFileError, parse

# What systemd 252 makes of each line, or of the lines.
GRAMMAR = {
    "A=plain": "plain",
    "A=": "",
    "A=p$HOME${HOME}$$": "p$HOME${HOME}$$",
    "A=p#not;comment": "p#not;comment",
    "A=p # not": "p # not",
    "A=  blanks  around  \t": "blanks  around",
    "  A  =  b": "b",
    "A='  kept  '": "  kept  ",
    'A="  kept  "  ': "  kept  ",
    "A='it''s'": "its",
    "A=it's": "it's",
    'A=say"hi"': 'say"hi"',
    "A='single \\ $x'": "single \\ $x",
    'A="\\" \\\\ \\` \\$ \\n"': '" \\ ` $ \\n',
    "A=back\\slash": "backslash",
    "A=back\\\\slash": "back\\slash",
    "A=end\\ ": "end ",
    "A=one\\\ntwo": "onetwo",
    "A=one \\\n  two": "one   two",
    'A="one\\\ntwo"': "onetwo",
    'A="one\ntwo"': "one\ntwo",
    "A='one\ntwo'": "one\ntwo",
    "A=\"a\" 'b' c": "abc",
    "A=a=b==": "a=b==",
    "A=postgresql://u:p%40s$s'w\"d@h/db?x=1": "postgresql://u:p%40s$s'w\"d@h/db?x=1",
    "A=ünïcødé ☃": "ünïcødé ☃",
    "A=b\r\n": "b",
    "A=\\": "",
}


@pytest.mark.parametrize(("text", "value"), GRAMMAR.items())
def test_grammar(text: str, value: Any) -> None:
    [one] = parse(text)
    assert (one.key, one.value) == ("A", value)


COMMENTED = {
    "A=b # c": True,
    "A=b\t#c": True,
    "A=   # c": True,
    "A='b' # c": True,
    'A="b # c" # d': True,
    "A=b \\\n # c": True,
    "A=#c": False,
    "A=b#c": False,
    "A='b'#c": False,
    "A='b # c'": False,
    'A="b # c"': False,
    "A=b \\# c": False,
    "A=b\n# c": False,
}


@pytest.mark.parametrize(("text", "commented"), COMMENTED.items())
def test_what_looks_like_a_comment_behind_a_value_is_marked(text: str, commented: Any) -> None:
    [one] = parse(text)
    assert one.commented is commented


def test_comments_stand_at_the_start_of_a_line() -> None:
    assert [one.key for one in parse("# A=1\n ; B=2\n\nC=3\n  # D=4")] == ["C"]


def test_a_comment_is_never_continued() -> None:
    assert [one.key for one in parse("# path\\\nA=1")] == ["A"]


def test_lines_are_counted_through_continuations() -> None:
    text = "#\nA=1\\\n2\nB='x\ny'\nC=3"
    assert [(one.key, one.line) for one in parse(text)] == [("A", 2), ("B", 4), ("C", 6)]


@pytest.mark.parametrize("text", ["A=1\nhunter2", "A=1\nhunter2\nB=2", "A=1\nexport"])
def test_a_line_without_assignment(text: str) -> None:
    with pytest.raises(EnvFileError, match=r"^line 2: no '='"):
        parse(text)


def test_a_line_without_name() -> None:
    with pytest.raises(EnvFileError, match=r"^line 2: no name"):
        parse("A=1\n =hunter2\n")


@pytest.mark.parametrize("text", ["A=1\nB='hunter2\nC=3\n", 'A=1\nB="hunter2', 'A=1\nB="hunter2\\'])
def test_a_quote_that_is_never_closed(text: str) -> None:
    with pytest.raises(EnvFileError, match=r"^line 2: a quote") as raised:
        parse(text)
    assert "hunter2" not in str(raised.value)


@given(st.text(alphabet=st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=60))
def test_any_password_can_be_quoted(password: str) -> None:
    escaped = "".join(f"\\{one}" if one in '\\"`$' else one for one in password)
    assert [one.value for one in parse(f'A="{escaped}"\nB=1')] == [password, "1"]


@given(st.text(alphabet="aA= \t\n\r\\'\"#;$`", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse(text)
    except EnvFileError as error:
        assert str(error).startswith("line ")  # noqa: PT017 -- the message is what users read
    else:
        assert all(one.key and "=" not in one.key for one in found)
