"""Contracts on the page: what changed is said with its payloads, and an operator accepts it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.contracts.facts import FACTS
from relay.core.access.scopes import Scope
from relay.store.audit import records
from tests.cli.test_contracts import learned
from tests.web.pages.browsing import site_of

if TYPE_CHECKING:
    from relay.store.driver.client import Redis


async def test_a_lost_fact_is_shown_and_accepted(redis: Redis) -> None:
    await learned(redis, 60, *FACTS)
    await learned(redis, 20, "message", "direction", "service")
    async with site_of(redis) as site, site.browser(await site.token()) as browser:
        listed = (await browser.get("/contracts")).words
        assert "message.received 2026-02-03 lost chat lost line 80 0 % 0 % 100 %" in listed
        shown = (await browser.get("/contracts/message.received")).words
        assert "data.chat: removed, was object" in shown
        assert "Changed payload, without its content" in shown
        assert "+1646" not in shown
        async with site.browser(await site.token(Scope.READ)) as reader:
            assert "Accept changes" not in (await reader.get("/contracts/message.received")).words
            assert (await reader.post("/contracts/message.received/accept")).status == 403
        accepted = await browser.post("/contracts/message.received/accept", {"why": "both are read"})
        assert accepted.headers["Location"] == "/contracts/message.received"
        after = (await browser.get("/contracts/message.received")).words
        assert ("2 changes accepted." in after, "Lost" in after, "Accept changes" in after) == (True, False, False)
        assert (await browser.get("/contracts/no.such")).status == 404
    assert [(each.command, each.target, each.why) async for each in records(redis)][:1] == [
        ("contracts accept", "message.received", "both are read")
    ]


async def test_contracts_of_one_api_are_listed(redis: Redis) -> None:
    await learned(redis, 60, *FACTS)
    async with site_of(redis) as site, site.browser(await site.token()) as browser:
        assert "Both APIs" not in (await browser.get("/contracts")).words
        await learned(redis, 60, *FACTS, version="v2")
        row_of = {"v3": "message.received 2026-02-03", "v2": "message.received v2"}
        both = (await browser.get("/contracts?api=v1")).words
        assert ("Both APIs · v2 · v3" in both, *(row in both for row in row_of.values())) == (True, True, True)
        for api, other in (("v3", "v2"), ("v2", "v3")):
            listed = (await browser.get(f"/contracts?api={api}")).words
            assert (row_of[api] in listed, row_of[other] in listed) == (True, False)
