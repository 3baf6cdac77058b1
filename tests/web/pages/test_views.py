"""The views: hostile data is only text, forms say what is wrong, and changes are made by services."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING

from relay.core.delivery.outcome import Attempt, DeadLettered, Outcome, RetryAt
from relay.store import audit
from relay.store.driver.client import ask
from relay.store.lanes.delivery import Tries
from relay.store.lanes.lane import Lane
from relay.store.lanes.settler import Settlement, Settler
from relay.store.ledger.kept import KeptStates
from relay.store.state.history import MINUTE_MS, record_minute
from tests.support import KEYS, eventually
from tests.web.pages.browsing import put_event, site_of

if TYPE_CHECKING:
    from relay.store.driver.client import Redis
    from tests.web.pages.browsing import Browser

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 123456*7 }}"
REJECTED = Attempt(Outcome.REJECTED, at_ms=1_789_377_302_000, took_ms=1, status=400, detail=HOSTILE)
DEAD = DeadLettered(HOSTILE)


async def kill(redis: Redis, count: int, verdict: DeadLettered | RetryAt = DEAD) -> None:
    """Let deliveries of `bot` fail, for good."""
    lane = Lane(redis, "bot", "messages")
    await lane.ensure()
    for number in range(count):
        await put_event(redis, "messages", f"event-{number}", chat=HOSTILE, line=HOSTILE, text=HOSTILE)
    await redis.set(KEYS.lease("job"), "me")
    async with Settler(redis, "job", "me") as settler:
        for delivery in await lane.read_new(count):
            tries = Tries(1, 900, REJECTED.outcome)
            await settler.settle(Settlement(lane, delivery, REJECTED, tries, verdict, REJECTED.ended_ms))


async def test_hostile_data_is_shown_as_text(redis: Redis) -> None:
    await kill(redis, 1)
    await audit.record(redis, HOSTILE, HOSTILE, HOSTILE, 1, HOSTILE)
    async with site_of(redis) as site, site.browser(await site.token()) as browser:
        [(entry, _)] = await redis.xrange(KEYS.lane("bot", "dead"))
        assert "after 1 attempt:" in (await browser.get(f"/dead/bot/{entry.decode()}")).words
        paths = [f"/dead/bot/{entry.decode()}", "/dead", "/events/event-0", "/events", "/audit", "/subscriptions/bot"]
        paths += ["/topics/messages", f"/subscriptions?q={HOSTILE}", f"/dead?reason={HOSTILE}", f"/events/{HOSTILE}"]
        for path in paths:
            answer = await browser.get(path)
            assert answer.status in {200, 404}, answer.words
            assert "<script>alert" not in answer.text, path
            assert "<img" not in answer.text, path
            assert "864192" not in answer.text, path
        await browser.get(paths[-1])
        refused = await browser.post("/subscriptions", {"name": HOSTILE, "topic": HOSTILE, "url": HOSTILE})
        assert (refused.status, "<script>alert" in refused.text) == (422, False)


async def test_a_retry_that_is_due_is_not_said_to_be_made(redis: Redis) -> None:
    await kill(redis, 1, RetryAt(REJECTED.at_ms + 5000))
    async with site_of(redis) as site, site.browser(await site.token()) as browser:
        for path in ("/subscriptions/bot", "/events/event-0"):
            shown = (await browser.get(path)).words
            assert re.search(r"(retry|next attempt) due \d+ d ago", shown), shown


async def test_the_form_says_what_is_wrong_and_keeps_the_rest(redis: Redis) -> None:
    async with site_of(redis) as site, site.browser(await site.token(team="crm")) as browser:
        await browser.get("/subscriptions/new")
        given = {"name": "mine", "topic": "messages", "url": "ftp://x", "retry": "soon", "headers": "no colon"}
        refused = await browser.post("/subscriptions", given)
        assert (refused.status, "write one a line" in refused.words) == (422, True)
        refused = await browser.post("/subscriptions", {**given, "headers": ""})
        assert refused.status == 422
        assert 'value="mine"' in refused.text
        assert len(re.findall('class="problem"', refused.text)) == 2
        made = await browser.post(
            "/subscriptions", {**given, "headers": "X-Team: crm", "url": "https://a.com", "retry": ""}
        )
        assert (made.status, "whsec_" in made.text) == (200, True)
        assert "whsec_" not in (await browser.get("/subscriptions/mine")).text
        taken = await browser.post("/subscriptions", {"name": "mine", "topic": "messages", "url": "https://a.com"})
        assert (taken.status, "cannot be used" in taken.words) == (422, True)


async def test_a_subscription_is_changed_rotated_tested_and_deleted(redis: Redis) -> None:
    async with site_of(redis) as site, site.browser(await site.token(team="crm")) as browser:
        await browser.get("/subscriptions/new")
        table = {"name": "mine", "topic": "messages", "url": "https://a.com/?key=secret", "retry": "5s 1m"}
        assert (await browser.post("/subscriptions", table)).status == 200
        form = await browser.get("/subscriptions/mine/change")
        assert "secret" not in form.text.replace("Rotate secret", "")
        shown = dict(re.findall(r'name="(url|retry|version)"[^>]* value="([^"]*)"', form.text))
        changed = {**shown, "version": "1", "topic": "messages", "events": "message.received"}
        assert (await browser.post("/subscriptions/mine/change", changed)).status == 303
        stored = (await site.context.config()).subscriptions[-1]
        assert (stored.url, stored.events, stored.retry) == (
            "https://a.com/?key=secret",
            ("message.received",),
            (5, 60),
        )
        stale = await browser.post("/subscriptions/mine/change", {**changed, "events": ""})
        assert (stale.status, "version" in stale.words) == (422, True)
        assert "whsec_" in (await browser.post("/subscriptions/mine/rotate", {"overlap": "1h"})).text
        sent = await browser.post("/subscriptions/mine/test")
        assert sent.headers["Location"] == "/subscriptions/mine"
        assert "A test message.received is on its way" in (await browser.get("/subscriptions/mine")).words
        assert "is on its way" not in (await browser.get("/subscriptions/mine")).words  # it is said once
        assert (await browser.post("/subscriptions/mine/delete")).status == 422  # without a reason
        assert (await browser.post("/subscriptions/mine/delete", {"why": "not used"})).status == 303


async def test_dead_letters_are_replayed_and_dropped_with_progress(redis: Redis) -> None:
    await kill(redis, 3)
    async with site_of(redis) as site, site.browser(await site.token(team="crm")) as browser:
        page = await browser.get("/dead")
        chosen = re.findall(r'name="chosen" value="(bot [0-9-]+)"', page.text)
        assert len(chosen) == 3
        await run_job(browser, {"chosen": chosen[0], "action": "replay"}, "1 event.")
        assert await redis.xlen(KEYS.lane("bot", "replay")) == 1
        assert (await browser.post("/dead", {"all": "1", "action": "drop"})).status == 422  # without a reason
        await run_job(browser, {"all": "1", "action": "drop", "why": "a test"}, "2 events.")
        assert await redis.xlen(KEYS.lane("bot", "dead")) == 0
        assert (await browser.post("/dead", {"action": "replay"})).status == 422  # none chosen
        theirs = {"chosen": f"other {chosen[0].split()[1]}", "action": "replay"}
        assert (await browser.post("/dead", theirs)).status == 404
        record = (await browser.get("/audit")).words
        assert "dead drop" in record
        assert "a test" in record


async def run_job(browser: Browser, fields: dict[str, str], result: str) -> None:
    """Order a change of dead letters, and wait for its end."""
    ordered = await browser.post("/dead", fields)
    assert ordered.status == 303, ordered.words
    path = ordered.headers["Location"]

    async def has_ended() -> bool:
        return result in (await browser.get(path)).words

    await eventually(has_ended)


async def test_a_job_is_its_owners(redis: Redis) -> None:
    await kill(redis, 1)
    async with (
        site_of(redis) as site,
        site.browser(await site.token()) as browser,
        site.browser(await site.token()) as other,
    ):
        await browser.get("/dead")
        path = (await browser.post("/dead", {"all": "1", "action": "replay"})).headers["Location"]
        assert (await browser.get(path)).status == 200
        assert (await other.get(path)).status == 404
        assert (await other.get(f"{path}/live")).status == 404


async def test_an_event_is_sent_again(redis: Redis) -> None:
    await put_event(redis, "messages", "event-1")
    async with site_of(redis) as site, site.browser(await site.token(team="crm")) as browser:
        page = await browser.get("/events/event-1")
        assert (page.status, "message.received" in page.words) == (200, True)
        sent = await browser.post("/events/event-1/resend", {"subscription": "bot"})
        assert sent.headers["Location"] == "/events/event-1"
        assert await redis.xlen(KEYS.lane("bot", "replay")) == 1
        assert (await browser.post("/events/event-1/resend", {"subscription": "other"})).status == 404
        missing = await browser.get("/events/nothing")
        assert (missing.status, "nothing" in missing.words) == (404, True)


async def test_new_events_come_by_themselves(redis: Redis) -> None:
    async with site_of(redis) as site, site.browser(await site.token(team="crm")) as browser:
        stream = await browser.http.get(f"{site.origin}/topics/messages/tail")
        reading = asyncio.create_task(stream.content.readuntil(b"</tr>"))

        async def has_come() -> bool:
            await put_event(redis, "messages", "new")  # until the stream has begun, none is new to it
            return reading.done()

        await eventually(has_come)
        assert b'href="/events/new"' in reading.result()
        stream.close()


async def test_a_token_is_shown_once_and_works(redis: Redis) -> None:
    async with site_of(redis) as site, site.browser(await site.token()) as browser, site.browser() as other:
        await browser.get("/teams")
        fields = {"label": "laptop", "team": "crm", "scopes": "read", "lifetime": "30d"}
        made = await browser.post("/tokens", fields)
        [text] = set(re.findall(r"lrt_\w+", made.text))
        assert text not in (await browser.get("/teams")).text
        assert (await other.sign_in(text)).status == 303
        assert "laptop" in (await other.get("/")).words
        refused = await browser.post("/tokens", {"label": "", "team": "crm"})
        assert refused.status == 422
        assert "label" in refused.words


async def test_teams_are_made_changed_and_deleted(redis: Redis) -> None:
    async with site_of(redis) as site, site.browser(await site.token()) as browser:
        await browser.get("/teams")
        assert (await browser.post("/teams", {"name": "sales", "topics": "everything"})).status == 303
        assert "sales" in (await browser.get("/teams")).words
        change = {"topics": "messages", "version": "1", "contact": "#sales"}
        assert (await browser.post("/teams/sales/change", change)).status == 303
        assert (await browser.post("/teams/sales/change", change)).status == 409  # of a version that is gone
        assert (await browser.post("/teams/sales/delete")).status == 303
        assert (await browser.post("/teams/crm/delete")).status == 409  # of relay.toml


async def test_the_overview_shows_the_last_hour(redis: Redis) -> None:
    async with site_of(redis) as site, site.browser(await site.token()) as browser:
        now_ms = site.context.now_ms
        for minute in (2, 1):
            await ask(redis.hset(redis.key.counts, mapping={"accepted": 600 * (3 - minute)}))
            await record_minute(redis, now_ms - minute * MINUTE_MS, KeptStates(redis))
        page = await browser.get("/")
        assert "accepted now 10" in page.text


async def test_errors_are_pages_that_say_what_to_do(redis: Redis) -> None:
    async with site_of(redis) as site, site.browser(await site.token()) as browser:
        for path, status, words in (
            ("/nothing", 404, "no such page"),
            ("/topics/none", 404, "messages"),
            ("/events?since=soon", 422, "2h or 7d"),
            ("/dead?cursor=x!", 422, "cursor"),
        ):
            answer = await browser.get(path)
            assert (answer.status, words in answer.words) == (status, True), answer.words
        part = await browser.get("/events?since=soon", HX_Request="true")
        assert (part.status, "<html" in part.text) == (422, False)


async def test_the_life_of_a_message_has_a_page(redis: Redis) -> None:
    told = {"event_id": "event-1", "data": {"id": "m-1", "sender_handle": {"handle": HOSTILE}}}
    await put_event(redis, "messages", "event-1", message="m-1", body=json.dumps(told), chat=HOSTILE)
    reply = {"event_id": "event-2", "data": {"id": "m-2", "reply_to": {"message_id": "m-1"}}}
    await put_event(redis, "messages", "event-2", message="m-2", body=json.dumps(reply))
    async with site_of(redis) as site, site.browser(await site.token(team="crm")) as browser:
        assert 'href="/messages/m-1"' in (await browser.get("/events/event-1")).text
        page = await browser.get("/messages/m-1")
        assert page.status == 200
        for text in ("Received", "Reply : m-2", "bot: waiting"):
            assert text in page.words
        assert "<script>alert" not in page.text
        assert 'href="/messages/m-2"' in page.text
        missing = await browser.get("/messages/nothing")
        assert (missing.status, "the topics hold none" in missing.words) == (404, True)
