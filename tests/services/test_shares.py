"""A team has a share of what all teams have together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.core.access.principal import Principal
from relay.core.access.scopes import EVERY_SCOPE
from relay.core.errors import TooMany
from relay.services.deliveries import replays
from relay.services.deliveries.replays import Request
from relay.store.topics import replays as stored
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.services.context import Context
    from relay.store.driver.client import Redis

OPERATOR = Principal("ann@host", None, EVERY_SCOPE)
CRM = Principal("crm ci", "crm", EVERY_SCOPE, frozenset({"support"}), token="t1")
ERP = Principal("erp ci", "erp", EVERY_SCOPE, frozenset({"billing"}), token="t2")


async def test_team_runs_a_quarter_of_the_replays(
    context: Context, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "MAX_RUNNING", 4)
    for topic in ("support", "billing"):
        await redis.xadd(KEYS.topic(topic), {"id": "a", "type": "x", "at": "1", "body": "{}"})
        await redis.sadd(KEYS.topics, topic)  # type: ignore[misc]
    await replays.start(context, CRM, Request("support", "crm-bot"))
    with pytest.raises(TooMany, match="1 replay of a team"):
        await replays.start(context, CRM, Request("support", "crm-bot"))
    await replays.start(context, ERP, Request("billing", "erp-bot"))
    await replays.start(context, OPERATOR, Request("support", "crm-bot"))
