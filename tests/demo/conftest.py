"""The demo's tables in a database of the test's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from queuewarden.application.demo import schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Database


@pytest.fixture
def database(databases: Callable[..., Database]) -> Database:
    return databases(schema.EXTRACTION + schema.INTERVIEWS + schema.PEOPLE)
