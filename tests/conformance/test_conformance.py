"""The short part of `make conformance`: a few libraries, in the scenarios that matter most."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conformance import libraries
from conformance.proof import prove

if TYPE_CHECKING:
    import servers


@pytest.mark.parametrize(
    ("name", "scenario"),
    [
        ("procrastinate", "rescue"),
        ("procrastinate", "collision"),
        ("pgqueuer", "rescue"),
        ("graphile_worker", "rescue"),
    ],
)
def test_a_preset_mends_what_a_killed_worker_of_the_real_library_leaves(
    server: servers.TestServer, name: str, scenario: str
) -> None:
    if name not in libraries.known():
        pytest.skip(f"{name} has no driver")
    library = libraries.library(name)
    if reason := library.missing():
        pytest.skip(reason)
    (result,) = prove(library, server, [scenario])
    assert result.passed, result.detail
