"""`relay shadow report`: a shadow and its original, for people and as JSON."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relay.core.errors import Conflict
from tests.building import SECRET
from tests.cli.attempting import BAD, GOOD, remember
from tests.cli.running import RULES, invoke_beside

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

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
