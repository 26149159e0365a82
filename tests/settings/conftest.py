"""Loading without the machine's own configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from queuewarden.settings.load import explain

if TYPE_CHECKING:
    from pathlib import Path

# Examples take as long as they take: the machine has other work, too.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    return tmp_path / "nowhere"


@pytest.fixture
def explained(tmp_path: Path, nowhere: Path) -> Any:
    """Loads variables, named without their prefix, and the text of a file."""

    def _explained(
        variables: dict[str, str] | None = None,
        text: str | None = None,
        *,
        default: Path | None = None,
        credentials: Path | None = None,
        environ: dict[str, str] | None = None,
    ) -> Any:
        file = None
        if text is not None:
            file = tmp_path / "given.env"
            file.write_text(text)
        given = {f"QUEUEWARDEN_{name}": value for name, value in (variables or {}).items()}
        return explain(
            given | (environ or {}), file, default_file=default or nowhere, credentials=credentials or nowhere
        )

    return _explained


@pytest.fixture
def loaded(explained: Any) -> Any:
    def _loaded(*arguments: str, **options: Any) -> Any:
        return explained(*arguments, **options).configuration

    return _loaded
