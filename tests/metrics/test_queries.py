"""Every query that we ship is about metrics and labels that a daemon shows, and the guide tells of each."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from metrics.promql import parsed
from metrics.promtool import promtool
from metrics.stations import samples

from queuewarden.adapters.metrics.exposition import merged, part
from queuewarden.adapters.metrics.families import OF_DAEMON, OF_ENVIRONMENT, OF_PROCESS, PREFIX
from queuewarden.adapters.metrics.instruments import Instruments
from queuewarden.application.watching import health_measures
from queuewarden.engine.upkeep.health.signs import Health, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metrics.stations import Samples

CONFIG = Path(__file__).parents[2] / "config"
RULES = sorted((CONFIG / "prometheus/rules").glob("*.yml"))
DASHBOARD = json.loads((CONFIG / "grafana/queuewarden.json").read_text())
FAMILIES = {PREFIX + family.name: family for family in (*OF_ENVIRONMENT, *OF_DAEMON, *OF_PROCESS)}
GIVEN = {"instance", "job"}
"""Labels that Prometheus adds."""


def rules() -> Iterator[dict[str, Any]]:
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def dashboard_queries() -> Iterator[str]:
    for panel in panels():
        for target in panel["targets"]:
            yield target["expr"]
    for note in DASHBOARD["annotations"]["list"]:
        if "expr" in note:
            yield note["expr"]


QUERIES = [*dict.fromkeys(rule["expr"] for rule in rules()), *dict.fromkeys(dashboard_queries())]


def samples_of_health() -> Samples:
    """Of a database with standbys, slots, TLS and large tables, which that of the scene has not."""
    instruments = Instruments(OF_ENVIRONMENT, ("prod",))
    readings = [Where(metric) for metric in health_measures.OF_SERVER]
    readings += [Where(f"{kind}_indexes", "mail") for kind in health_measures.INDEXES]
    figures = [(name, "") for name in health_measures.FIGURES]
    figures += [(name, "mail") for name in health_measures.OF_QUEUE]
    found = Health((), dict.fromkeys(readings, 1.0), dict.fromkeys(figures, 1.0), (), frozenset())
    health_measures.show(instruments, found)
    return samples(merged([part(instruments)]))


def shown(scene: Samples) -> dict[str, set[str]]:
    """Labels of each sample that came out of the daemon."""
    everything = samples_of_health() | scene
    found = {PREFIX + name: set().union(*map(dict, values)) for name, values in everything.items()}
    return found | {"up": set()}


def test_every_query_speaks_of_what_a_daemon_shows(scene: Samples) -> None:
    real = shown(scene)
    for query in QUERIES:
        found = parsed(query)
        assert found.selectors, query
        labels = set(GIVEN)
        for metric, chosen in found.selectors:
            assert metric in real, f"{metric} does not come out of a daemon: {query}"
            assert chosen <= real[metric] | GIVEN, f"{metric} has no label {chosen - real[metric]}: {query}"
            labels |= real[metric]
        assert found.grouped <= labels, f"no metric has a label {found.grouped - labels}: {query}"


def test_every_value_that_a_query_names_exists(scene: Samples) -> None:
    values = {text for series in scene.values() for labels in series for _, text in labels}
    known = values | {"5xx", "queuewarden"}
    for query in QUERIES:
        for text in (text for text in re.findall(r'"([^"]*)"', query) if "$" not in text):
            assert set(text.split("|")) <= known, query


def test_the_rules_annotations_name_labels_that_their_alerts_have() -> None:
    for rule in (rule for rule in rules() if "alert" in rule):
        found = parsed(rule["expr"])
        aggregated = re.match(r"(sum|max|histogram_quantile)\b", rule["expr"])
        labels = found.grouped if aggregated else _labels_of(found.selectors[0][0]) | GIVEN
        text = " ".join(rule["annotations"].values())
        assert set(re.findall(r"\$labels\.(\w+)", text)) <= labels, rule["alert"]
        assert {"summary", "hint"} == set(rule["annotations"])
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}


def test_every_metric_comes_out_of_the_daemon_with_its_labels(scene: Samples) -> None:
    real = shown(scene)
    for name, family in FAMILIES.items():
        sample = f"{name}_bucket" if family.kind == "histogram" else name
        bucket = {"le"} if family.kind == "histogram" else set()
        assert real.get(sample) == set(family.labels) | bucket, name


def test_no_metric_comes_out_that_is_not_told_of(scene: Samples) -> None:
    named = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown(scene)} | set(shown(scene))
    undocumented = {name for name in shown(scene) if name not in FAMILIES and name != "up"}
    histograms = {name for name, family in FAMILIES.items() if family.kind == "histogram"}
    suffixed = {name + suffix for name in histograms for suffix in ("_bucket", "_count", "_sum")}
    assert undocumented <= suffixed, named


def test_the_guide_tells_of_each_metric_as_it_is() -> None:
    rows = re.findall(r"^\| `(queuewarden_\w+)` \| (\w+) \| (.*?) ?\| (.+) \|$", _guide(), re.MULTILINE)
    told = {
        name: (kind, tuple(re.findall(r"`(\w+)`", labels)), meaning) for name, kind, labels, meaning in rows
    }
    assert told == {name: (one.kind, one.labels, one.meaning) for name, one in FAMILIES.items()}


def test_the_guide_names_only_metrics_that_exist() -> None:
    assert set(re.findall(r"\bqueuewarden_\w+", _guide())) <= set(FAMILIES)


@pytest.mark.parametrize(
    "rule", [rule for rule in rules() if "record" in rule], ids=lambda rule: rule["record"]
)
def test_a_recorded_series_is_named_by_the_labels_that_it_keeps(rule: dict[str, Any]) -> None:
    assert re.fullmatch(r"queuewarden:[a-z0-9_]+:[a-z0-9_]+", rule["record"])


def test_the_dashboard_shows_what_it_should() -> None:
    titles = {panel["title"] for panel in panels()}
    assert titles >= {
        "Operations a minute", "Success and failure", "Average time", "Connections", "Query time",
        "Check results", "Execution time", "Errors a second", "Jobs by state", "Oldest waiting", "Workers",
        "Repairs by check", "Lease", "Brakes", "Alerts that fire", "Security", "Memory", "Processor",
    }  # fmt: skip
    assert DASHBOARD["schemaVersion"] >= 39
    assert [one["name"] for one in DASHBOARD["templating"]["list"]] == ["datasource", "environment", "queue"]
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["description"]


def test_no_panels_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_promtool_parses_every_query_of_the_dashboard(tmp_path: Path) -> None:
    rules = [
        {"record": f"query:{number}", "expr": _filled(query)}
        for number, query in enumerate(dashboard_queries())
    ]
    path = tmp_path / "queries.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", str(path))


def test_the_variables_ask_for_metrics_and_labels_that_exist(scene: Samples) -> None:
    real = shown(scene)
    for variable in DASHBOARD["templating"]["list"][1:]:
        metric, label = re.fullmatch(
            r"label_values\((\w+)(?:\{.*\})?, (\w+)\)", variable["definition"]
        ).groups()  # type: ignore[union-attr]
        assert label in real[metric]
        assert variable["query"]["query"] == variable["definition"]


def _filled(query: str) -> str:
    return query.replace("$__rate_interval", "2m").replace("$environment", "prod").replace("$queue", "mail")


def _guide() -> str:
    return (CONFIG / "metrics.md").read_text()


def _labels_of(metric: str) -> set[str]:
    return set(FAMILIES[metric].labels) if metric in FAMILIES else set()
