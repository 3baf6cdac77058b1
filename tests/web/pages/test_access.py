"""Access to the page: who gets in, how a session ends, and what another site cannot do."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from relay.config.admin_address import WORKER
from relay.config.page_settings import PageUser
from relay.config.settings import Settings
from relay.core.access.scopes import EVERY_SCOPE, Scope
from relay.net.front import SHUTDOWN_TIMEOUT
from relay.net.listen_address import Listen
from relay.process.timings import Timings
from relay.services.account import sessions as account_sessions
from relay.services.account import tokens
from relay.store import sessions
from relay.store.driver.client import ask
from relay.ui.security import POLICY
from relay.web.admin.listener import listening_for_operators
from relay.web.pages.app import pages_app
from relay.web.pages.shell import site as shell_site
from tests.building import LINE
from tests.support import KEYS
from tests.web.admin.test_listener import observed
from tests.web.pages.browsing import OPERATOR, site_of

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

PAGES = (
    *("/", "/topics", "/topics/messages", "/events", "/subscriptions", "/subscriptions/bot", "/subscriptions/new"),
    *(f"/lines/{LINE}", f"/lines/{LINE}/opt-outs"),
    *("/dead", "/groups", "/replays", "/replays/new", "/lines", "/linq", "/quarantine"),
    *("/contracts", "/teams", "/audit"),
)
OPERATORS_ONLY = {"/linq", "/quarantine", "/contracts"}


async def test_each_page_is_shown_and_asks_to_sign_in_first(redis: Redis) -> None:
    async with site_of(redis) as site, site.browser() as stranger, site.browser(await site.token()) as operator:
        for path in PAGES:
            asked = await stranger.get(path)
            assert (asked.status, asked.headers["Location"].partition("?")[0]) == (303, "/sign-in"), path
            shown = await operator.get(path)
            assert shown.status == 200, shown.words
            for answer in (asked, shown):
                assert answer.headers["Content-Security-Policy"] == POLICY
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.headers["Cache-Control"] == "no-store"
            assert "style=" not in shown.text
            assert "<script>" not in shown.text
            assert " on" + "click=" not in shown.text


async def test_a_team_sees_its_own_and_404_for_the_rest(redis: Redis) -> None:
    async with site_of(redis) as site, site.browser(await site.token(team="crm")) as developer:
        for path in PAGES:
            assert (await developer.get(path)).status == (403 if path in OPERATORS_ONLY else 200), path
        for path in ("/", "/topics", "/subscriptions", "/events", "/teams"):
            words = (await developer.get(path)).words
            assert "everything" not in words
            assert "other" not in words.replace("others", "")
        nothing = await developer.get("/subscriptions/none")
        theirs = await developer.get("/subscriptions/other")
        assert (nothing.status, theirs.status) == (404, 404)
        assert nothing.words.replace("none", "x") == theirs.words.replace("other", "x").replace("none", "x")
        assert (await developer.get("/topics/everything/tail")).status == 404
        assert (await developer.post("/subscriptions/other/pause")).status == 404


async def test_buttons_need_scopes_and_so_do_forms(redis: Redis) -> None:
    async with site_of(redis) as site, site.browser(await site.token(Scope.READ)) as reader:
        page = await reader.get("/subscriptions/bot")
        assert "Pause" not in page.words
        assert "Create" not in (await reader.get("/subscriptions")).words
        for path in ("/subscriptions/bot/pause", "/subscriptions", "/dead", "/replays", "/tokens", "/teams"):
            refused = await reader.post(path, {"action": "replay", "all": "1", "topic": "messages", "to": "bot"})
            assert refused.status == 403, path
        assert not await redis.exists(KEYS.paused)


async def test_revoking_a_token_ends_its_sessions_at_once(redis: Redis) -> None:
    async with site_of(redis) as site:
        text = await site.token(team="crm")
        async with site.browser(text) as browser:
            assert (await browser.get("/")).status == 200
            bearer = await tokens.authenticate(site.context, text, "test")
            assert bearer is not None
            stream = await browser.http.get(f"{site.origin}/live/overview")
            await tokens.revoke_token(site.context, OPERATOR, str(bearer.token))
            assert (await browser.get("/")).headers["Location"] == "/sign-in"
            assert "event: signed-out" in (await stream.text())  # it ends by itself


async def test_signing_out_ends_the_session(redis: Redis) -> None:
    async with site_of(redis) as site, site.browser(await site.token()) as browser:
        [kept] = [cookie.value for cookie in browser.http.cookie_jar if cookie.key == "relay_session"]
        await browser.get("/")
        assert (await browser.post("/sign-out")).status == 303
        assert not [key async for key in redis.scan_iter(f"{KEYS.prefix}:session:*")]
        browser.http.cookie_jar.clear()
        again = await browser.get("/", Cookie=f"relay_session={kept}")
        assert again.headers["Location"] == "/sign-in"


async def test_the_cookie_is_strict_and_redis_has_only_its_hash(redis: Redis) -> None:
    async with site_of(redis) as site, site.browser() as browser:
        answer = await browser.sign_in(await site.token())
        cookie = answer.cookies["relay_session"]
        assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
        [key] = [key async for key in redis.scan_iter(f"{KEYS.prefix}:session:*")]
        assert cookie.value not in key.decode()
        assert cookie.value not in str(await ask(redis.hgetall(key.decode())))
        assert 0 < await redis.ttl(key) <= 12 * 3600
    async with site_of(redis) as site, site.browser() as browser:
        secure = await browser.get("/sign-in", X_Forwarded_Proto="https")
        assert secure.cookies["relay_session"]["secure"]


async def test_a_wrong_token_is_refused_with_what_to_do(redis: Redis) -> None:
    async with site_of(redis) as site, site.browser() as browser:
        for token in ("", "guess", "lrt_cnD7Jy2TsdZs_bwdH7eQErkP8BCf3XyHO48ZlmwUdGQa33uB4BP"):
            refused = await browser.sign_in(token)
            assert (refused.status, "relay token create" in refused.words) == (403, True)


async def test_wrong_sign_ins_of_an_address_are_limited(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell_site, "monotonic", lambda: 1000.0)  # else a slow machine would be let try again
    async with site_of(redis) as site, site.browser() as guesser, site.browser() as known:
        token, other = await site.token(), await site.token()
        assert (await known.sign_in(token)).status == 303
        await guesser.get("/sign-in")
        statuses = [(await guesser.post("/sign-in", {field: "guess"})).status for field in ("token", "code") * 13]
        assert statuses[0] == 403
        assert statuses[-1] == 429
        refused = await guesser.sign_in(other)  # also a right one, which was not used before
        assert (refused.status, refused.headers["Retry-After"]) == (429, "5")
        assert "Wait a few seconds" in refused.words
        assert (await guesser.sign_in(token)).status == 303


async def test_a_token_has_a_number_of_sessions_at_most(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_OF_TOKEN", 3)
    async with site_of(redis) as site, AsyncExitStack() as browsers:
        token, other = await site.token(), await site.token()
        opened = [await browsers.enter_async_context(site.browser(each)) for each in (other, *(token,) * 5)]
        assert [(await browser.get("/")).status for browser in opened] == [200, 303, 303, 200, 200, 200]
        assert len([key async for key in redis.scan_iter(f"{KEYS.prefix}:session:*")]) == 4


async def test_a_sign_in_link_works_once_and_only_by_a_click(redis: Redis) -> None:
    async with site_of(redis) as site, site.browser() as browser, site.browser() as thief:
        code = await tokens.sign_in_code(site.context, OPERATOR)
        assert (await browser.get(f"/sign-in?code={code}")).status == 200
        assert (await browser.get("/")).status == 303  # looking at the link does not sign in, nor use it up
        await browser.get(f"/sign-in?code={code}")
        assert (await browser.post("/sign-in", {"code": code})).status == 303
        assert (await browser.get("/")).status == 200
        await thief.get("/sign-in")
        assert (await thief.post("/sign-in", {"code": code})).status == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 303),
        ({"Sec_Fetch_Site": "same-origin"}, 303),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Origin": "https://evil.example.com"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://[::1"}, 403),
        ({"Origin": ""}, 403),
    ],
)
async def test_a_form_of_another_site_is_refused(redis: Redis, headers: dict[str, str], status: int) -> None:
    async with site_of(redis) as site, site.browser(await site.token()) as browser:
        await browser.get("/subscriptions/bot")
        assert (await browser.post("/subscriptions/bot/pause", {"why": "test"}, **headers)).status == status
        assert await ask(redis.hexists(KEYS.paused, "bot")) == (status == 303)


async def test_a_browser_that_leaves_amid_its_form_is_no_error(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    with capture_logs() as logs:
        async with site_of(redis) as site:
            host = site.origin.removeprefix("http://")
            _, writer = await asyncio.open_connection(*host.split(":"))
            head = f"POST /sign-in HTTP/1.1\r\nHost: {host}\r\nOrigin: {site.origin}\r\nContent-Length: 9\r\n\r\nx"
            writer.write(head.encode())
            writer.close()
    assert (logs, caplog.records) == ([], [])


async def test_signing_in_may_take_longer_than_its_body(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    async def sign_in(*_: Any) -> None:
        await asyncio.sleep(1.0)

    monkeypatch.setattr(account_sessions, "sign_in", sign_in)
    timings, settings = Timings(request_body=0.4), Settings(relay_admin_listen=Listen(host="127.0.0.1", port=0))
    async with site_of(redis) as site:
        portal = {"/": pages_app(site.context)}
        serving = listening_for_operators(observed(), settings, WORKER, portal=portal, timings=timings)
        async with serving as port, replace(site, origin=f"http://127.0.0.1:{port}").browser() as browser:
            await browser.get("/sign-in")
            answer = await browser.post("/sign-in", {"token": "wrong"}, Expect="100-continue")  # its body comes later
    assert answer.status == 403


async def test_a_form_without_the_token_of_the_browser_is_refused(redis: Redis) -> None:
    token = "0" * 64
    async with site_of(redis) as site, site.browser(await site.token()) as browser, site.browser() as other:
        await other.get("/sign-in")
        for wrong in ("", token, other.token):
            refused = await browser.post("/subscriptions/bot/pause", {"form_token": wrong})
            assert (refused.status, "load the page again" in refused.words) == (403, True)
        assert not await redis.exists(KEYS.paused)


async def test_signing_in_never_leads_to_another_site(redis: Redis) -> None:
    async with site_of(redis) as site:
        token = await site.token()
        for path in ("https://evil.example.com", "//evil.example.com", "/\\evil.example.com", "javascript:alert(1)"):
            async with site.browser() as browser:
                await browser.get("/sign-in")
                answer = await browser.post("/sign-in", {"token": token, "next": path})
                assert answer.headers["Location"] == "/"


async def test_a_proxy_names_the_user_only_from_its_address(redis: Redis) -> None:
    users = (PageUser("alice", None, tuple(EVERY_SCOPE)), PageUser("*@crm", "crm", (Scope.READ,)))
    given: dict[str, Any] = {"relay_page_user_header": "Remote-User", "relay_page_users": users}
    async with (
        site_of(redis, **given, relay_page_proxies=(ip_network("127.0.0.1"),)) as site,
        site.browser() as browser,
    ):
        browser.headers["Remote-User"] = "alice"
        page = await browser.get("/subscriptions/bot")
        assert "alice" in page.words
        assert "Sign out" not in page.words
        assert (await browser.post("/subscriptions/bot/pause", {"why": "x"})).status == 303
        browser.headers["Remote-User"] = "bob@crm"
        assert "other" not in (await browser.get("/subscriptions")).words
        assert (await browser.post("/subscriptions/bot/resume")).status == 403
        browser.headers["Remote-User"] = "mallory"
        assert (await browser.get("/")).status == 403
        doubled = [("Remote-User", "alice"), ("Remote-User", "bob@crm")]
        for names in (doubled, doubled[::-1], [("Remote-User", ""), doubled[0]]):
            async with browser.http.get(f"{site.origin}/topics", headers=names) as answer:
                assert (answer.status, f"is there {len(names)} times" in await answer.text()) == (403, True)
    async with (
        site_of(redis, **given, relay_page_proxies=(ip_network("10.0.0.0/8"),)) as site,
        site.browser() as browser,
    ):
        browser.headers["Remote-User"] = "alice"
        assert (await browser.get("/")).headers["Location"] == "/sign-in"


async def test_static_files_are_kept_for_ever_by_their_hash(redis: Redis) -> None:
    async with site_of(redis) as site, site.browser() as browser:
        page = await browser.get("/sign-in")
        [path] = [part for part in page.text.split('"') if part.startswith("/static/page.") and part.endswith(".css")]
        style = await browser.get(path)
        assert (style.status, "immutable" in style.headers["Cache-Control"]) == (200, True)
        assert style.headers["Content-Encoding"] == "gzip"
        assert (await browser.get("/static/page.css")).status == 404


async def test_streams_end_when_the_process_stops(redis: Redis) -> None:
    async with AsyncExitStack() as browsers:
        async with site_of(redis) as site:
            browser = await browsers.enter_async_context(site.browser(await site.token()))
            stream = await browser.http.get(f"{site.origin}/live/overview")
            assert (await stream.content.readuntil(b"\r\n")) == b"event: overview\r\n"
            started = time.monotonic()
        assert time.monotonic() - started < SHUTDOWN_TIMEOUT - 1  # which a request that stays has
        await stream.read()
