"""Commands over the API, with a token only: the same output as with Redis, and clear errors without either."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from pydantic import SecretStr

from relay.config.settings import Settings
from relay.core.access.principal import Principal
from relay.core.access.scopes import EVERY_SCOPE
from relay.process.timings import DEFAULTS
from relay.rules.current import Rules
from relay.services.context import Context
from tests.cli.running import line_with, main_here, relay_process
from tests.sandbox.running import closed_port
from tests.support import KEYS
from tests.web.api.streaming import running_api
from tests.web.api.world import BLUE, KEY, RED, RULES, seeded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.store.driver.client import Redis
    from tests.support import Clock

EVENT = "10000000-0000-4000-8000-00000000000a"
LOOKS = (
    ("event", EVENT),
    ("event", EVENT, "--body", "--utc"),
    ("message", "red-message", "--utc"),
    ("events", "search", "--chat", "red-chat"),
    ("events", "search", "--type", "message.*", "--line", "+16465550101"),
    ("events", "search", "--limit", "1"),
    ("subscriptions", "list"),
    ("dead", "list", "--limit", "2", "--since", "2020-01-01T00:00Z"),
    ("dead", "list", "--subscription", "red-hook", "--type", "message.*", "--since", "2020-01-01T00:00Z"),
    ("attempts", "--id", EVENT),
    ("attempts", "--subscription", "blue-hook", "--outcome", "delivered"),
    ("dead", "replay", "--subscription", "red-hook", "--all", "--dry-run", "--why", "a test"),
    ("dead", "list", "--subscription", "nobody"),
)


class Remote(NamedTuple):
    """An API of a relay with two teams."""

    url: str
    local: dict[str, str]
    """The environment of a command with Redis."""

    def environment(self, token: str) -> dict[str, str]:
        """Return the environment of a command with a token only."""
        return {"RELAY_API_URL": self.url, "RELAY_API_TOKEN": token}


@pytest.fixture
async def remote(redis: Redis, redis_url: str, clock: Clock, tmp_path: Path) -> AsyncIterator[Remote]:
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES)
    settings = Settings(
        redis_url=redis_url, relay_config=rules, relay_secret_key=SecretStr(KEY), relay_api_rate=100_000
    )
    context = Context(settings, redis, Rules(settings, redis, clock), clock)
    await seeded(context)
    async with running_api(context, DEFAULTS) as api:
        api.tokens["red"] = Principal("red ci", RED, EVERY_SCOPE, frozenset({f"{RED}-topic"}), token="red")
        local = {"REDIS_URL": redis_url, "RELAY_CONFIG": str(rules), "RELAY_SECRET_KEY": KEY}
        yield Remote(f"http://127.0.0.1:{api.port}", local)


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
async def test_output_is_the_same_with_a_token_as_with_redis(remote: Remote, form: tuple[str, ...]) -> None:
    for command in LOOKS:
        given = (*command, *form)
        here = await main_here(*given, **remote.local)
        there = await main_here(*given, **remote.environment("ops"))
        if "search" in command and form:
            assert there.json["events"] == here.json["events"], command
        else:
            assert (there.code, there.out) == (here.code, here.out), command
        assert bool(here.out) != bool(here.code == 1 and not here.out), command


async def test_team_does_its_work_with_a_token_only(redis: Redis, remote: Remote) -> None:
    mine = remote.environment("red")
    for command in (("events", "search"), ("subscriptions", "list"), ("dead", "list"), ("attempts",)):
        said = (await main_here(*command, **mine)).out
        assert RED in said, command
        assert BLUE not in said, command
    assert "the topics hold none" in (await main_here("message", "blue-message", **mine)).err
    assert "no event" in (await main_here("event", EVENT.replace("1", "2", 1), **mine)).err
    sent = (await main_here("send-test", "red-hook", "--type", "message.read", "--json", **mine)).json
    assert (sent["subscription"], sent["event_type"]) == ("red-hook", "message.read")
    assert "no subscription" in (await main_here("send-test", "blue-hook", **mine)).err
    refused = await main_here("dead", "replay", "--subscription", "red-hook", "--all", **mine)
    assert (refused.code, "--why" in refused.err) == (2, True)
    replayed = await main_here("dead", "replay", "--id", EVENT, "--why", "it works again", "--json", **mine)
    assert replayed.json == {"replayed": 1, "subscriptions": {"red-hook": 1}}
    assert await redis.xlen(KEYS.lane("red-hook", "dead")) == 0
    async with relay_process("topics", "tail", "red-topic", "--since", "3000d", "--json", **mine) as process:
        assert EVENT in await line_with(EVENT, process.stdout)


async def test_without_redis_and_without_an_api_both_are_named(remote: Remote) -> None:
    said = await main_here("dead", "list")
    assert said.code == 2
    assert all(text in said.err for text in ("REDIS_URL: not set", "--api URL --token TEXT", "RELAY_API_TOKEN"))
    assert "give a token" in (await main_here("event", "e", RELAY_API_URL=remote.url)).err
    assert "does not accept the token" in (await main_here("event", "e", "--api", remote.url, "--token", "x")).err
    with closed_port() as port:
        said = await main_here("event", "e", "--api", f"http://127.0.0.1:{port}", "--token", "x", **remote.local)
    assert f"no relay answers at http://127.0.0.1:{port}" in said.err
