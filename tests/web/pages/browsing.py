"""A site over the Redis of the test, and browsers without a screen."""

from __future__ import annotations

import json
import re
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from pydantic import SecretStr

from relay.config.settings import Settings
from relay.core.access.principal import Principal
from relay.core.access.scopes import EVERY_SCOPE, Scope
from relay.core.secret import new_key
from relay.net.http_listener import listening
from relay.net.listen_address import Listen
from relay.rules.current import Rules
from relay.services.account import tokens
from relay.services.context import Context
from relay.web.pages.app import pages_app
from tests.building import LINE, SECRET
from tests.support import KEYS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.store.driver.client import Redis

OPERATOR = Principal("alice@host", None, EVERY_SCOPE)
RULES = f"""
[linq]
opt_outs = true

[[topics]]
name = "messages"
events = ["message.*"]
lines = ["{LINE}"]

[[topics]]
name = "everything"
events = ["*"]

[[subscriptions]]
name = "bot"
topic = "messages"
url = "https://bot.example.com/hook"
secret = "{SECRET.text}"
team = "crm"

[[subscriptions]]
name = "other"
topic = "everything"
url = "https://other.example.com/hook"
secret = "{SECRET.text}"

[[teams]]
name = "crm"
topics = ["messages"]
"""
_TOKEN = re.compile(r'name="form_token" value="([0-9a-f]{64})"')


@dataclass(slots=True)
class Browser:
    """A browser: its cookies, and the token of the last form that it saw."""

    http: aiohttp.ClientSession
    origin: str
    token: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    async def get(self, path: str, **headers: str) -> Answer:
        """Load a page."""
        return await self._ask("GET", path, None, headers)

    async def post(self, path: str, fields: dict[str, Any] | None = None, **headers: str) -> Answer:
        """Send the form of the last page."""
        data = {"form_token": self.token, **(fields or {})}
        return await self._ask("POST", path, data, {"Origin": self.origin, **headers})

    async def sign_in(self, token: str) -> Answer:
        """Sign in with a token."""
        await self.get("/sign-in")
        return await self.post("/sign-in", {"token": token})

    async def _ask(self, method: str, path: str, data: Any, headers: dict[str, str]) -> Answer:
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items() if value}}
        async with self.http.request(
            method, self.origin + path, data=data, headers=sent, allow_redirects=False
        ) as response:
            answer = Answer(response.status, await response.text(), dict(response.headers), response.cookies)
        if found := _TOKEN.search(answer.text):
            self.token = found[1]
        return answer


@dataclass(frozen=True, slots=True)
class Answer:
    """A response."""

    status: int
    text: str
    headers: dict[str, str]
    cookies: Any

    @property
    def words(self) -> str:
        """The text without tags."""
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", self.text)).split())


@dataclass(frozen=True, slots=True)
class Site:
    """A site that is served."""

    context: Context
    origin: str

    async def token(self, *scopes: Scope, team: str | None = None) -> str:
        """Return the text of a new token."""
        made = await tokens.create_token(self.context, OPERATOR, "test", team=team, scopes=scopes or EVERY_SCOPE)
        return made.text

    @asynccontextmanager
    async def browser(self, token: str | None = None) -> AsyncIterator[Browser]:
        """Open a browser, signed in if there is a token."""
        jar = aiohttp.CookieJar(unsafe=True)  # also cookies of an address
        async with aiohttp.ClientSession(cookie_jar=jar) as http:
            browser = Browser(http, self.origin)
            if token is not None:
                assert (await browser.sign_in(token)).status == 303
            yield browser


@asynccontextmanager
async def site_of(redis: Redis, rules: str = RULES, **variables: Any) -> AsyncIterator[Site]:
    """Serve the page."""
    path = Path("relay.toml")
    path.write_text(rules, encoding="utf-8")
    settings = Settings(relay_config=path, relay_secret_key=SecretStr(new_key()), **variables)
    context = Context(settings, redis, Rules(settings, redis), time.time)
    async with listening(pages_app(context), Listen(host="127.0.0.1", port=0)) as port:
        yield Site(context, f"http://127.0.0.1:{port}")


async def put_event(redis: Redis, topic: str, event_id: str, **fields: Any) -> None:
    """Add an event to a topic, now."""
    body = {"event_id": event_id, "data": {"parts": [{"value": fields.pop("text", "hello")}]}}
    row = {"id": event_id, "type": "message.received", "line": LINE, "chat": "c1", "at": round(time.time() * 1000)}
    row |= {"version": "2026-02-03", "body": json.dumps(body), **fields}
    await redis.sadd(KEYS.topics, topic)  # type: ignore[misc]
    await redis.xadd(KEYS.topic(topic), row)  # type: ignore[arg-type]
