"""The configuration as a person may read it: each value with its origin, secrets masked."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from queuewarden.redact import visible
from queuewarden.settings import show_alerts, types

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuewarden.queues.mapping import Mapping
    from queuewarden.settings.load import Loaded
    from queuewarden.settings.precedence import Level
    from queuewarden.settings.secret import DsnSource
    from queuewarden.settings.sources import Given

Shown = dict[str, dict[str, str]]
"""Name to value and origin, both as text."""

_MASK = "***"
_OPEN = {
    "application_name", "connect_timeout", "dbname", "host", "hostaddr", "port", "service", "sslmode",
    "target_session_attrs", "user",
}  # fmt: skip


def masked(dsn: str) -> str:
    """A DSN as a keyword string: what says which database, and nothing that could be a secret."""
    try:
        parts = conninfo_to_dict(dsn)
    except (ProgrammingError, UnicodeError):
        return _MASK
    return " ".join(f"{name}={_harmless(name, str(value))}" for name, value in sorted(parts.items()))


def _harmless(name: str, value: str) -> str:
    # A whole DSN may stand in dbname; where @ or / is not encoded, part of the password in host or port.
    pattern = r"[\d,]*" if name == "port" else r"[\w./,:*-]*"
    plain = name in _OPEN and re.fullmatch(pattern, value) and "://" not in value
    return value if plain else _MASK


def shown(loaded: Loaded) -> dict[str, Any]:
    """All values with their origins, nested as ``config show --json`` prints them."""
    return {
        "source": loaded.configuration.source,
        "settings": _top(loaded),
        "queues": {name: dict(_mapping(loaded, queue)) for name, queue in loaded.queues.items()},
        "channels": {
            one.name: dict(show_alerts.channel(loaded, one)) for one in loaded.configuration.channels
        },
        "rules": {name: dict(show_alerts.rule(loaded, name)) for name in show_alerts.changed_rules(loaded)},
        "environments": {
            one.name: {
                "dsn": _source(one.dsn),
                **({"ping_url": show_alerts.hidden(one.ping)} if one.ping is not None else {}),
                **({"upkeep_dsn": _source(one.upkeep_dsn)} if one.upkeep_dsn is not None else {}),
                **({"scratch_dsn": _source(one.scratch_dsn)} if one.scratch_dsn is not None else {}),
                "discover": one.discover,
                "settings": _settled(loaded.settled[one.name, None]),
                "upkeep": _upkeep(loaded.upkeep[one.name]),
                "queues": {queue: _settled(loaded.settled[one.name, queue]) for queue in one.queue_limits},
            }
            for one in loaded.configuration.environments
        },
    }


def _source(source: DsnSource) -> dict[str, str]:
    return {"value": _dsn(source), "origin": source.origin}


def _upkeep(level: Level) -> Shown:
    """What is switched on or was set; tasks that are off by default are not worth a line each."""
    return {
        name: {
            "value": visible(types.spelled("off" if setting.value is None else setting.value)),
            "origin": setting.origin,
        }
        for name, setting in level.items()
        if setting.value is not None or setting.origin != "default"
    }


def _dsn(source: DsnSource) -> str:
    return f"(read from {visible(str(source.path))})" if source.value is None else masked(source.value)


def _top(loaded: Loaded) -> Shown:
    top = _settled(loaded.top)
    for name in ("profile", "status_file", "backup_dir"):
        one = loaded.given.get((name,))
        value = getattr(loaded.settings, name)
        if value is not None:
            top[name] = {"value": visible(types.spelled(value)), "origin": _origin(one)}
    top |= show_alerts.listening(loaded)
    if loaded.configuration.ping is not None:
        top["ping_url"] = show_alerts.hidden(loaded.configuration.ping)
    return top


def _settled(level: Level) -> Shown:
    alive = {"stuck_after_alive": "as stuck_after"}
    return {
        name: {
            "value": alive[name] if setting.value is None else types.spelled(setting.value),
            "origin": setting.origin,
        }
        for name, setting in level.items()
    }


def _mapping(loaded: Loaded, mapping: Mapping) -> Iterator[tuple[str, dict[str, str]]]:
    for path, value in _parts(mapping):
        if path != ("name",) and value not in (None, ()):
            one = loaded.given.get(("queue", mapping.name, *path))
            yield "__".join(path), {"value": visible(_spelled(path, value)), "origin": _origin(one)}


def _parts(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for field in fields(value):
        part = getattr(value, field.name)
        if is_dataclass(part) and not path:
            yield from _parts(part, (field.name,))
        else:
            yield (*path, field.name), part


def _origin(given: Given | None) -> str:
    if given is None:
        return "default"
    return given.origin if given.origin.startswith("preset ") else str(given)


def _spelled(path: tuple[str, ...], value: Any) -> str:
    if path == ("timestamps",):
        return ", ".join(f"{status}={column}" for status, column in value)
    return types.spelled(value)
