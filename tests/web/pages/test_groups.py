"""Pull groups on the page: what they lack, and their dead letters, which a team gives back or drops."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.support import KEYS, eventually
from tests.web.pages.browsing import put_event, site_of

if TYPE_CHECKING:
    from relay.store.driver.client import Redis
    from tests.web.pages.browsing import Browser

STREAM, DEAD = KEYS.topic("messages"), KEYS.group_dead("messages", "crm")
HOSTILE = "<script>alert(1)</script>{{ 123456*7 }}"


async def bury(redis: Redis, *names: str) -> None:
    """Let the group crm give events up."""
    await redis.xgroup_create(STREAM, "crm", id="0", mkstream=True)
    for name in names:
        await put_event(redis, "messages", name)
    for entry, fields in await redis.xrange(STREAM):
        more = {"dead_entry": entry, "dead_at": "1789377302417", "dead_reason": "rejected", "dead_error": HOSTILE}
        letter: dict[Any, Any] = {**fields, **more, "dead_deliveries": "2", "dead_member": HOSTILE}
        await redis.xadd(DEAD, letter)
    await redis.xgroup_setid(STREAM, "crm", "$")


async def run_job(browser: Browser, fields: dict[str, str], *words: str) -> None:
    ordered = await browser.post("/groups/messages/crm/dead", fields)
    assert ordered.status == 303, ordered.words

    async def has_ended() -> bool:
        shown = (await browser.get(ordered.headers["Location"])).words
        return all(each in shown for each in words)

    await eventually(has_ended)


async def test_dead_letters_of_a_group_are_given_back_and_dropped(redis: Redis) -> None:
    await bury(redis, "a", "b", "c")
    [_, (gone, _), _] = await redis.xrange(STREAM)
    await redis.xdel(STREAM, gone)
    async with site_of(redis) as site, site.browser(await site.token(team="crm")) as browser:
        assert "Of pull groups" in (await browser.get("/dead")).words
        assert 'href="/groups/messages/crm/dead">3</a>' in (await browser.get("/groups/messages/crm")).text
        page = await browser.get("/groups/messages/crm/dead")
        chosen = re.findall(r'name="chosen" value="([0-9-]+)"', page.text)
        letter = await browser.get(f"/groups/messages/crm/dead/{chosen[1]}")
        assert "The topic no longer keeps this event" in letter.words
        for shown in (page, letter):
            assert "<script>alert" not in shown.text
            assert "864192" not in shown.text
        assert "Nothing matches" in (await browser.get("/groups/messages/crm/dead?reason=none")).words
        await run_job(browser, {"chosen": chosen[0], "action": "replay"}, "1 event.")
        remark = "no longer keeps the events of 1 dead letter, which stay."
        await run_job(browser, {"all": "1", "action": "replay"}, "1 event.", remark)
        assert (await redis.xpending(STREAM, "crm"))["pending"] == 2
        assert (await browser.post("/groups/messages/crm/dead", {"all": "1", "action": "drop"})).status == 422
        await run_job(browser, {"all": "1", "action": "drop", "why": "a test"}, "1 event.")
        assert await redis.xlen(DEAD) == 0
        assert (await browser.post("/groups/messages/crm/dead", {"action": "replay"})).status == 422  # none chosen
        assert (await browser.get("/groups/messages/erp/dead")).status == 404


async def test_a_group_is_deleted_with_its_dead_letters(redis: Redis) -> None:
    await bury(redis, "a")
    await redis.xgroup_setid(STREAM, "crm", "0")
    await redis.xreadgroup("crm", "host-1", {STREAM: ">"})
    async with site_of(redis) as site, site.browser(await site.token(team="crm")) as browser:
        shown = (await browser.get("/groups/messages/crm")).words
        assert "the oldest delivered 1 time" in shown
        assert "Nothing reads it" not in shown
        await redis.xgroup_createconsumer(STREAM, "crm", "relay:http:1000:web")
        shown = (await browser.get("/groups/messages/crm")).words
        assert "HTTP" in shown
        assert (await browser.post("/groups/messages/crm/delete", {"why": "x", "dead": "drop"})).status == 303
        assert await redis.exists(DEAD) == 0
