"""What alerts are called."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuewarden.engine.alerting.identity import alert_id
from queuewarden.engine.alerting.notices import About

TEXTS = st.text(max_size=50) | st.from_regex(r"[a-zA-Z0-9_.~-]{0,45}", fullmatch=True)
ABOUTS = st.builds(About, TEXTS, TEXTS, TEXTS)


@pytest.mark.parametrize(
    ("about", "name"),
    [
        (About("prod", "mail", "w1"), "zombie.prod.mail.w1"),
        (About("prod", "mail"), "zombie.prod.mail"),
        (About("prod"), "zombie.prod"),
        (About(), "zombie"),
        (About("prod", "", "ledger"), "zombie.prod.-.ledger"),
        (About("", "", "ops"), "zombie.-.-.ops"),
    ],
)
def test_plain_names_stay_readable(about: About, name: str) -> None:
    assert alert_id("zombie", about) == name


def test_a_strange_name_keeps_what_can_be_read() -> None:
    name = alert_id("zombie", About("prod", "mail", "host 1/böse?<script>"))
    assert re.fullmatch(r"zombie\.prod\.mail\.host-1-b-se-script~[0-9a-f]{12}", name)


def test_a_long_name_is_cut() -> None:
    assert alert_id("r", About("e", "q", "a" * 40)) == "r.e.q." + "a" * 40
    assert re.fullmatch(r"r\.e\.q\.a{20}~[0-9a-f]{12}", alert_id("r", About("e", "q", "a" * 41)))


def test_names_that_differ_in_what_is_dropped_differ_all_the_same() -> None:
    names = ["a b", "a/b", "a-b", "a.b", "-", "", "a b ", "a" * 41, "a" * 42, "\ud800", "日本", "日本語"]
    assert len({alert_id("r", About("e", "q", name)) for name in names}) == len(names)


@given(ABOUTS)
def test_an_id_is_safe_in_a_url_and_a_shell_and_short(about: About) -> None:
    name = alert_id("rule", about)
    assert re.fullmatch(r"[A-Za-z0-9._~-]+", name)
    assert len(name) < 160
    assert alert_id("rule", about) == name


@given(ABOUTS, ABOUTS)
def test_an_id_is_of_one_alert_alone(one: About, other: About) -> None:
    assert (alert_id("rule", one) == alert_id("rule", other)) == (one == other)
