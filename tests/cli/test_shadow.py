"""`relay shadow report`: a shadow and its original, for people and as JSON."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from relay.config.settings import Settings
from relay.core.errors import Conflict
from relay.core.secret import new_key
from relay.process.timings import DEFAULTS
from relay.rules.current import Rules
from relay.services.context import Context
from tests.building import SECRET
from tests.cli.attempting import BAD, GOOD, remember
from tests.cli.running import RULES, invoke_beside, main_here
from tests.web.api.streaming import running_api

if TYPE_CHECKING:
    from relay.store.driver.client import Redis
    from tests.support import Clock

SUBSCRIPTIONS = f"""
[[subscriptions]]
name = "bot"
topic = "support"
url = "https://bot.example.com"
secret = "{SECRET.text}"

[[subscriptions]]
name = "bot-v2"
shadow_of = "bot"
compare = "body"
url = "https://v2.example.com"
secret = "{SECRET.text}"
"""
FIRST, SECOND = "6f1e8e0c-5b1e-4f3a-9f52-0a4e3b8f2d11", "6f1e8e0c-5b1e-4f3a-9f52-0a4e3b8f2d12"


async def test_report_fits_80_columns(redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    Path("relay.toml").write_text(RULES + SUBSCRIPTIONS)
    at_ms = round(time.time() * 1000) - 60_000
    for name in ("bot", "bot-v2"):
        await remember(redis, name, GOOD._replace(event_id="e-0", at_ms=at_ms), "{}")
        await remember(redis, name, GOOD._replace(event_id=FIRST, at_ms=at_ms + 1), f'{{"by":"{name}"}}')
    await remember(redis, "bot", GOOD._replace(event_id=SECOND, at_ms=at_ms + 2), "{}")
    dead = BAD._replace(event_id=SECOND, at_ms=at_ms + 2, due_ms=None, dead="failed: no attempt left of 3", number=3)
    await remember(redis, "bot-v2", dead, "boom")
    said = await invoke_beside("shadow", "report", "bot-v2")
    assert said.code == 1
    assert max(map(len, said.out.splitlines())) <= 80, said.out
    assert "agreement" in said.out
    assert f'Answers to {FIRST}:\n  bot: {{"by":"bot"}}\n  bot-v2: {{"by":"bot-v2"}}' in said.out
    found = (await invoke_beside("shadow", "report", "bot-v2", "--json")).json
    assert (found["compared"], found["same"], found["same_status"], found["same_answer"]) == (3, 1, 2, 1)
    assert [each["id"] for each in found["differences"]] == [SECOND, FIRST]
    with pytest.raises(Conflict, match="bot shadows no other subscription; its shadows: bot-v2"):
        await invoke_beside("shadow", "report", "bot")


async def test_report_with_a_token_is_that_with_redis(
    redis: Redis, redis_url: str, clock: Clock, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES + SUBSCRIPTIONS)
    settings = Settings(redis_url=redis_url, relay_config=rules, relay_secret_key=SecretStr(new_key()))
    at_ms = GOOD.at_ms - 60_000
    for name in ("bot", "bot-v2"):
        await remember(redis, name, GOOD._replace(event_id=FIRST, at_ms=at_ms), f'{{"by":"{name}"}}')
        await remember(redis, name, GOOD._replace(event_id="e-9", at_ms=at_ms + 2), "{}")
    await remember(redis, "bot", GOOD._replace(event_id=SECOND, at_ms=at_ms + 1), "{}")
    async with running_api(Context(settings, redis, Rules(settings, redis, clock), clock), DEFAULTS) as api:
        there = {"RELAY_API_URL": f"http://127.0.0.1:{api.port}", "RELAY_API_TOKEN": "ops"}
        for form in (("--utc",), ("--json",), ("--limit", "0", "--since", "2020-01-01T00:00Z", "--utc")):
            command = ("shadow", "report", "bot-v2", *form)
            here = await main_here(*command, REDIS_URL=redis_url, RELAY_CONFIG=str(rules))
            assert (here.code, SECOND in here.out) == (1, "--limit" not in form), here.err
            said = await main_here(*command, **there)
            assert (said.code, said.out) == (here.code, here.out), said.err
        refused = await main_here("shadow", "report", "bot", **there)
        assert (refused.code, "bot shadows no other subscription; its shadows: bot-v2" in refused.err) == (1, True)
