"""One request, done through Apprise: a message sent, or a URL understood; only in the sending process."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from queuewarden.adapters.notify.reasons import clean, reason

if TYPE_CHECKING:
    from apprise import NotifyBase

NOT_UNDERSTOOD = "Apprise does not understand the URL"
DONE = {"ok": True, "permanent": False, "reason": ""}


class _NotUnderstoodError(Exception):
    pass


class _Lines(logging.Handler):
    """Keeps what Apprise logs of one request."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.quiet: list[str] = []
        self.loud: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        kept = self.loud if record.levelno >= logging.WARNING else self.quiet
        kept.append(record.getMessage())


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Do what is asked; what to answer."""
    lines = _Lines()
    logger = logging.getLogger("apprise")
    logger.addHandler(lines)
    try:
        return _answer(request, lines)
    except _NotUnderstoodError as error:
        return {"ok": False, "permanent": True, "reason": str(error)}
    except Exception as error:  # noqa: BLE001 -- a plugin's mistake is the answer to this request alone
        return {"ok": False, "permanent": False, "reason": f"internal error: {type(error).__name__}"}
    finally:
        logger.removeHandler(lines)


def _answer(request: dict[str, Any], lines: _Lines) -> dict[str, Any]:
    from apprise import Apprise, NotifyFormat, NotifyType

    plugin = _plugin(request["url"], request["timeout"], request.get("key"), lines)
    if request["do"] == "check":
        return dict(DONE)
    sender = Apprise(plugin, asset=plugin.asset)
    # The result is false, too, where there was nobody to send to.
    taken = sender.notify(
        request["body"],
        title=request["title"],
        notify_type=NotifyType(request["kind"]),
        body_format=NotifyFormat.TEXT,
    )
    if taken:
        return dict(DONE)
    why, refused = reason(lines.loud, lines.quiet, request["url"])
    return {"ok": False, "permanent": refused, "reason": f"{plugin.service_name}: {why}"}


def _plugin(url: str, timeout: float, key: str | None, lines: _Lines) -> NotifyBase:
    from apprise import Apprise, AppriseAsset
    from apprise.plugins import url_to_dict
    from apprise.utils.parse import parse_urls

    if len(parse_urls(url)) > 1:  # type: ignore[no-untyped-call]
        raise _NotUnderstoodError("there are several URLs; make a channel of each")
    results = url_to_dict(url)  # type: ignore[no-untyped-call]
    if results is None:
        raise _NotUnderstoodError(_why(NOT_UNDERSTOOD, lines, url))
    _complete(results, timeout, key)
    asset = AppriseAsset(
        app_id="queuewarden",
        app_desc="queuewarden alerts",
        app_url="",
        image_url_mask="",
        image_url_logo="",
        async_mode=False,
        interpret_emojis=False,
        http_redirects=False,  # a POST that is redirected becomes a GET, whose success says nothing
        pgp_autogen=False,
        pem_autogen=False,
        storage_mode="memory",
        service_timeout=0,  # whoever asked keeps the time
    )
    try:
        plugin = Apprise.instantiate(results, asset=asset, suppress_exceptions=False)
    except Exception as error:  # noqa: BLE001 -- a plugin raises anything over a URL that is not to its liking
        raise _NotUnderstoodError(_why(NOT_UNDERSTOOD, lines, url, str(error))) from None
    if plugin is None:
        raise _NotUnderstoodError(_why("its plugin cannot be used here", lines, url))
    return plugin


def _complete(results: dict[str, Any], timeout: float, key: str | None) -> None:
    """What a URL leaves unsaid."""
    # Less than the whole, so that the answer tells what took so long.
    for name in ("cto", "rto"):
        results.setdefault(name, str(max(timeout * 0.8, 0.1)))
    results.setdefault("overflow", "truncate")  # rather than refused for its length
    if results["schema"] == "pagerduty":
        results["source"] = results.get("source") or "queuewarden"
        # Otherwise each message opens an incident, the good news included.
        if key is not None and not results.get("action") and not results.get("dedup"):
            results |= {"action": "map", "dedup": key}


def _why(what: str, lines: _Lines, url: str, error: str = "") -> str:
    told = next(filter(None, (clean(line, url) for line in (error, *reversed(lines.loud)))), "")
    return f"{what}: {told}" if told else what


def prepare() -> str:
    """Load Apprise with its plugins; why that is impossible, if it is."""
    try:
        from apprise.plugins import url_to_dict
    except ImportError:
        return "Apprise is not installed: pip install 'queuewarden[notify]'"
    logger = logging.getLogger("apprise")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    url_to_dict("json://localhost")  # type: ignore[no-untyped-call]
    return ""
