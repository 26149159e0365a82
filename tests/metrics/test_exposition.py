"""The text: each metric once, whatever is in the labels; what has no number is absent."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metrics.promtool import promtool
from metrics.stations import samples, value

from queuewarden.adapters.metrics.exposition import merged, part
from queuewarden.adapters.metrics.families import OF_DAEMON, OF_ENVIRONMENT, OF_PROCESS, sqlstate_class
from queuewarden.adapters.metrics.instruments import Instruments


def instruments(environment: str = "prod") -> Instruments:
    return Instruments(OF_ENVIRONMENT, (environment,))


def shown(*ones: Instruments) -> bytes:
    return merged(part(one) for one in ones)


def test_each_metric_is_told_of_once_with_the_samples_of_all() -> None:
    ones = [instruments(name) for name in ("a", "b", "c")]
    for one in ones:
        one.count("sweeps_total", ("ok",))
        one.observe("sweep_duration_seconds", 0.2)
        one.set("up", {(): 1})
    text = shown(*ones)
    for name, samples_each in (("up", 1), ("sweeps_total", 1), ("sweep_duration_seconds", 13)):
        head = f"# HELP queuewarden_{name} ".encode()
        assert text.count(head) == 1
        block = text[text.index(head) :].split(b"# HELP ")[1]
        assert block.count(b"\n") == 2 + 3 * samples_each
    assert set(samples(text)["up"]) == {(("environment", name),) for name in "abc"}


def test_promtool_finds_nothing_wrong() -> None:
    one = instruments()
    for family in OF_ENVIRONMENT:
        labels = ("x",) * (len(family.labels) - 1)
        if family.kind == "histogram":
            one.observe(family.name, 0.3, labels)
        elif family.kind == "counter":
            one.count(family.name, labels)
        else:
            one.set(family.name, {labels: 1})
    assert not promtool("check", "metrics", given=shown(one))


@given(st.text(), st.text(alphabet=string.printable))
def test_any_label_comes_back_as_it_was(environment: str, queue: str) -> None:
    one = instruments(environment)
    one.set("jobs_eligible", {(queue,): 7, ("# HELP x\n# TYPE y\n",): 8})
    found = samples(shown(one, instruments("other")))
    assert value(found, "jobs_eligible", environment=environment, queue=queue) == 7


def test_a_metric_without_a_number_is_absent() -> None:
    one = instruments()
    one.set("jobs_eligible", {("mail",): None})
    one.set("workers", {})
    assert shown(one) == b""


def test_a_duration_counts_for_each_bound_that_it_does_not_pass() -> None:
    one = instruments()
    for seconds in (0.005, 0.3, 99):
        one.observe("sweep_duration_seconds", seconds)
    found = samples(shown(one))
    counted = {
        bound: value(found, "sweep_duration_seconds_bucket", environment="prod", le=bound)
        for bound in ("0.005", "0.25", "0.5", "10.0", "+Inf")
    }
    assert counted == {"0.005": 1, "0.25": 1, "0.5": 2, "10.0": 2, "+Inf": 3}
    assert value(found, "sweep_duration_seconds_sum", environment="prod") == pytest.approx(99.305)
    assert value(found, "sweep_duration_seconds_count", environment="prod") == 3


def test_what_is_gone_is_forgotten_in_every_metric() -> None:
    one = instruments()
    for queue in ("mail", "gone"):
        one.count("repairs_total", (queue, "stuck_jobs"))
        one.set("anomalies", {(queue, "stalled"): 1, ("", "drift"): 1})
    one.observe("check_duration_seconds", 1, ("stuck_jobs",))
    one.keep("queue", {"mail"})
    text = shown(one)
    assert b"gone" not in text
    assert value(samples(text), "repairs_total", environment="prod", queue="mail", check="stuck_jobs") == 1
    assert value(samples(text), "anomalies", environment="prod", queue="", kind="drift") == 1
    assert b"check_duration_seconds_count" in text


@pytest.mark.parametrize(
    ("sqlstate", "label"),
    [("42501", "42"), ("57P01", "57"), (None, "connection"), ("unknown", "other"), ("QX123", "other")],
)
def test_errors_have_few_classes(sqlstate: str | None, label: str) -> None:
    assert sqlstate_class(sqlstate) == label


def test_names_follow_the_rules_of_prometheus() -> None:
    for family in (*OF_ENVIRONMENT, *OF_DAEMON, *OF_PROCESS):
        assert (family.kind == "counter") == family.name.endswith("_total"), family.name
        assert bool(family.buckets) == (family.kind == "histogram"), family.name
        assert list(family.buckets) == sorted(family.buckets)
        assert not {"worker", "job", "lane", "subject", "id"} & set(family.labels), family.name
