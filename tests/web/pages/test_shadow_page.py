"""A shadow beside its original, on the page."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.building import SECRET
from tests.cli.attempting import BAD, GOOD, remember
from tests.web.pages.browsing import RULES, site_of

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

SHADOW = f"""
[[subscriptions]]
name = "next"
shadow_of = "bot"
url = "https://next.example.com/hook"
secret = "{SECRET.text}"
"""


async def test_shadow_is_compared_on_its_page(redis: Redis) -> None:
    at_ms = round(time.time() * 1000) - 60_000
    for name, attempt in (("bot", GOOD), ("next", BAD._replace(due_ms=None, dead="failed"))):
        await remember(redis, name, GOOD._replace(at_ms=at_ms, topic="messages"))
        await remember(redis, name, attempt._replace(at_ms=at_ms + 1, event_id="e-2", topic="messages"))
    await remember(redis, "bot", GOOD._replace(at_ms=at_ms + 2, event_id="e-3", topic="messages"))
    async with site_of(redis, RULES + SHADOW) as site, site.browser(await site.token()) as browser:
        assert "shadow of bot" in (await browser.get("/subscriptions")).words
        answer = await browser.get("/subscriptions/next")
        assert 'href="/subscriptions/next/shadow"' in answer.text
        compared = await browser.get("/subscriptions/next/shadow")
        assert compared.status == 200, compared.words
        assert "outcome, status" in compared.words
        assert "was removed from the topic before it was sent" in compared.words
        assert (await browser.get("/subscriptions/bot/shadow")).status == 409
