"""Every operation of the API against its own description."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import ledgers
import pytest
import schemathesis
from commands_kit import LANES, MAIL, MESS
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from served import WRITE, Served

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers
    from hypothesis.strategies import SearchStrategy
    from schemathesis import Case

EXAMPLES = 12
ENDLESS = frozenset({"/api/events"})
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture
def served(databases: Callable[..., servers.Database], serve: Callable[..., Served]) -> Served:
    database = databases(ledgers.SCHEMA)
    named = {name.removeprefix("QUEUEWARDEN_"): value for name, value in (MAIL | LANES).items()}
    served = serve({"ENV__PROD__DSN": database.dsn, "ENV__SECOND__DSN": database.dsn} | named)
    database.execute(MESS)
    assert served.post("/api/consistency").status == 200
    database.execute("UPDATE jobs SET label = '=x', error = E'a\\nb\\u2603' WHERE id < 4")
    return served


HEADERS = {"Authorization": f"Bearer {WRITE}"}
SETTINGS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)


@pytest.mark.timeout(400)
@pytest.mark.slow
def test_no_request_leads_where_the_description_does_not(served: Served) -> None:
    schema = schemathesis.openapi.from_url(f"{served.url}/api/openapi.json", headers=HEADERS)
    asked: Counter[str] = Counter()
    broken: dict[str, str] = {}
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path in ENDLESS:
            continue
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                strategy = operation.as_strategy(generation_mode=mode)
                fuzz(strategy, asked)
            except Unsatisfiable:
                continue
            except FailureGroup as failures:
                told = "\n".join(str(one) for one in failures.exceptions)
                broken[f"{operation.label} {mode.name}"] = told
    assert not broken, "\n\n".join(f"{name}:\n{told}" for name, told in broken.items())
    assert len(asked) >= 15
    assert sum(asked.values()) > 300


def fuzz(strategy: SearchStrategy[Case], asked: Counter[str]) -> None:
    @SETTINGS
    @given(case=strategy)
    def ask(case: Case) -> None:
        asked[case.operation.label] += 1
        case.call_and_validate(headers=HEADERS, checks=CHECKS, timeout=30)

    ask()


@pytest.mark.timeout(30)
def test_every_path_is_described(served: Served) -> None:
    described = served.json("/api/openapi.json")["paths"]
    assert {
        "/api/jobs",
        "/api/workers",
        "/api/errors",
        "/api/history",
        "/api/report",
        "/api/consistency",
        "/api/export",
        "/api/status",
        "/api/alerts",
    } <= set(described)
