"""A live page in a real Chromium whose session ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from relay.services.account import tokens
from tests.web.pages.browsing import OPERATOR, site_of

if TYPE_CHECKING:
    from relay.store.driver.client import Redis
    from tests.web.pages.chromium import Chromium

pytestmark = [
    pytest.mark.needs_tool("chromium", "chromium-browser", "google-chrome"),
    pytest.mark.needs_tool("chromedriver"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of selenium's sockets
]


def _signed_in(browser: Chromium, origin: str, text: str) -> None:
    browser.driver.get(origin)
    browser.fill("token", text)
    browser.press("Sign in")
    browser.wait(lambda: browser.says("Overview"))


async def test_a_live_page_asks_to_sign_in_after_revocation(redis: Redis) -> None:
    from tests.web.pages.chromium import chromium  # noqa: PLC0415  selenium, only where there is a browser

    async with site_of(redis) as site:
        loop = asyncio.get_running_loop()
        told, missed = await site.token(), await site.token()

        def run(coroutine: object) -> object:
            return asyncio.run_coroutine_threadsafe(coroutine, loop).result()  # type: ignore[arg-type]

        def revoke(text: str) -> None:
            bearer = run(tokens.authenticate(site.context, text, "test"))
            run(tokens.revoke_token(site.context, OPERATOR, str(bearer.token)))  # type: ignore[attr-defined]

        def watch() -> None:
            with chromium() as browser:
                _signed_in(browser, site.origin, told)
                browser.wait(lambda: browser.driver.find_elements("css selector", ".live:not(.off)"))
                revoke(told)
                browser.wait(lambda: browser.says("With a token of your team"))
                _signed_in(browser, site.origin, missed)
                browser.go("/lines")
                revoke(missed)
                element = (
                    "document.body.insertAdjacentHTML('beforeend', '<i hx-ext=sse sse-connect=/live/overview></i>')"
                )
                browser.driver.execute_script(f"{element}; htmx.process(document.body)")
                browser.wait(lambda: browser.says("With a token of your team"))

        await asyncio.to_thread(watch)
