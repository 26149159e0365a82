"""Loading without the machine's own configuration."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from queuewarden.application.commands.config import config
from queuewarden.settings import load
from queuewarden.settings.load import explain

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "hunter2"


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


@pytest.fixture
def validate(monkeypatch: pytest.MonkeyPatch, nowhere: Path) -> Any:
    """What `config validate` says, and `config show` no less; never the secret."""
    elsewhere = partial(load.explain, default_file=nowhere, credentials=nowhere)
    monkeypatch.setattr(load, "explain", elsewhere)

    def _validate(variables: dict[str, str], *arguments: str) -> Any:
        environ = {f"QUEUEWARDEN_{name}": value for name, value in variables.items()}
        outputs = []
        for command in ("validate", "show"):
            with monkeypatch.context() as patched:
                patched.setattr("os.environ", environ)
                result = CliRunner().invoke(config, [command, *arguments])
            assert SECRET not in result.output + str(result.exception) + repr(result.exc_info)
            outputs.append((result.exit_code, result.stdout, result.stderr))
        assert outputs[0] == outputs[1]
        return outputs[0]

    return _validate


def the_line(outcome: Any) -> Any:
    """The one line that is said of a wrong configuration."""
    code, stdout, stderr = outcome
    assert (code, stdout) == (78, "")
    assert stderr.startswith("queuewarden: ")
    assert stderr.endswith("\n")
    [line] = stderr.splitlines()
    assert "Traceback" not in line
    return line
