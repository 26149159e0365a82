"""A daily schedule that no test meets: what is due comes neither while it runs nor within its jitter."""

from __future__ import annotations

from datetime import UTC, datetime

AT = f"0 {(datetime.now(UTC).hour + 12) % 24} * * *"
"""Half a day away from now, in UTC."""
