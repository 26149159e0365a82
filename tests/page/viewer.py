"""Somebody who looks at the page in a browser, and everything the browser complains of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from playwright.sync_api import Browser, Locator

READ, WRITE = "a-token-that-only-reads", "a-token-that-writes-too"

_AUDIT = (Path(__file__).parent / "audit.js").read_text()

_BEFORE = """
window.violations = [];
document.addEventListener('securitypolicyviolation', event =>
    window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
new MutationObserver(() => {
    const seen = (name, found) => { if (found) window[name] ??= found === true ? performance.now() : found; };
    seen('painted', [...document.querySelectorAll('.card dd')].some(one => /\\d/.test(one.textContent)));
    const repairs = [...document.querySelectorAll('#repair-list li')];
    const reset = repairs.some(one => /put back/.test(one.textContent));
    seen('repaired', reset && Date.now());
}).observe(document, {subtree: true, childList: true, characterData: true});
"""


class Viewer:
    """One tab of its own.

    Args:
        tokens: those that it has already, by kind.
        script: runs before those of the page.
        options: of the browser's context.
    """

    def __init__(
        self,
        browser: Browser,
        url: str,
        *,
        tokens: Mapping[str, str] | None = None,
        script: str = "",
        wait: bool = True,
        **options: Any,
    ) -> None:
        self.context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
        self.context.set_default_timeout(20_000)
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        self.requests: list[str] = []
        self._host = urlsplit(url).netloc
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: self._said(message.type, message.text))
        self.page.on("request", lambda request: self._asked(request.url))
        given = {"read": READ} if tokens is None else tokens
        kept = "".join(
            f"sessionStorage.setItem('queuewarden.{kind}', '{token}');" for kind, token in given.items()
        )
        self.context.add_init_script(_BEFORE + kept + script)
        self.page.goto(url)
        if wait:
            self.page.wait_for_selector(".card[data-key=prod]:has(.word:text-is('Up'))")

    def _said(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"} and "Failed to load resource" not in text:
            self.errors.append(text)

    def _asked(self, url: str) -> None:
        self.requests.append(url)
        if not url.startswith(("data:", "blob:")):
            self.hosts.add(urlsplit(url).netloc)

    def asked(self, path: str) -> int:
        """How often a path was asked for by now."""
        self.page.wait_for_timeout(1)  # What the browser did is told only while we wait for it.
        return sum(urlsplit(one).path == f"/{path}" for one in self.requests)

    def all(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def text(self, selector: str) -> str:
        return self.page.locator(selector).first.inner_text()

    def card(self, name: str) -> Locator:
        return self.page.locator(f".card[data-key={name}]")

    def choose(self, environment: str) -> None:
        """Have the queues of an environment shown, with all that is known of them."""
        self.card(environment).locator(".pick").click()
        self.page.wait_for_selector(f"#queue-list > [data-key='{environment}/mail']")

    def audit(self, inside: str = "body") -> list[str]:
        """What is wrong for people who do not see, see little, or use no mouse."""
        # Colours on their way to others are not those that anybody reads by.
        self.page.evaluate("Promise.allSettled(document.getAnimations().map(one => one.finished))")
        found: list[str] = self.page.evaluate(f"inside => {{ {_AUDIT} return audit(inside); }}", inside)
        return found

    def require_harmless(self) -> None:
        """Nothing that the policy forbids was tried, no script failed, and nobody else was asked."""
        assert self.page.evaluate("window.violations") == []
        assert self.errors == []
        assert self.hosts == {self._host}
