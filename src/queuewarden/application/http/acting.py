"""Acting: whoever changes something through the API leaves a line in the log."""

from __future__ import annotations

from typing import Any

import structlog


def acted(who: str, action: str, **about: Any) -> None:
    """Leave that line.

    Args:
        who: as `Writer` names them.
        action: a word for it.
        about: what it was about; what is None is left out.
    """
    structlog.get_logger().info("http.acted", who=who, action=action, **about)
