"""What is shown of statements."""

from __future__ import annotations

import pytest

from queuewarden.engine.upkeep.health.wording import statement


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("SELECT 'geheim', 'a''geheim'", "SELECT '…', '…''…'"),
        (
            r"UPDATE t SET a = E'x\'geheim', b = e'y''\'geheim' WHERE c",
            "UPDATE t SET a = '…', b = '…' WHERE c",
        ),
        (r"SELECT date'geheim\', 'geheim', 1", "SELECT date'…', '…', 1"),
        (r"SELECT E'a\'geheim\\"[:-1], "SELECT '…'"),
        ("/* don't tell */ SELECT 'geheim' -- it's geheim\n, 'geheim'", "SELECT '…' , '…'"),
        ("""SELECT "it's" FROM t WHERE a = 'geheim'""", """SELECT "it's" FROM t WHERE a = '…'"""),
        ("SELECT $1, $2, $a$ geheim $a$", "SELECT $1, $2, '…'"),
    ],
)
def test_a_statement_is_shown_without_values_and_comments(query: str, shown: str) -> None:
    assert statement(query) == shown
