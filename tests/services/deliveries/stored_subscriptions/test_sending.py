from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from relay.core.errors import Invalid, NotFound
from relay.services.deliveries import stored_subscriptions as service
from relay.store.ledger.ledger import Ledger
from tests.services.deliveries.stored_subscriptions.conftest import OPERATOR, SALES, TEAM_RULES, table
from tests.support import KEYS

if TYPE_CHECKING:
    from pathlib import Path

    from relay.services.context import Context
    from relay.store.driver.client import Redis


async def test_sample_waits_in_the_lane_and_the_ledger_balances(context: Context, redis: Redis) -> None:
    await service.create(context, SALES, table())
    sent = await service.send_test(context, SALES, "crm")
    assert sent.event_id.startswith("test_")
    assert (sent.event_type, sent.waits_for) == ("message.received", "")
    [(_, fields)] = await redis.xrange(KEYS.lane("crm", "replay"))
    assert fields[b"id"].decode() == sent.event_id
    assert fields[b"dead_topic"] == b"messages"
    [lane] = await Ledger(redis).lanes()
    assert (lane.balances, lane.waiting, lane.from_history) == (True, 1, 1)
    assert not await redis.xlen(KEYS.topic("messages"))


async def test_sample_passes_the_filters_of_its_subscription(context: Context) -> None:
    keys: dict[str, Any] = {"events": ["message.read"], "lines": ["+16465550124"], "freshness": "history"}
    await service.create(context, SALES, table(**keys))
    sent = await service.send_test(context, SALES, "crm")
    assert (sent.event_type, sent.line) == ("message.read", "+16465550124")
    with pytest.raises(Invalid, match=r"crm filters it out: type .* matches none"):
        await service.send_test(context, SALES, "crm", "message.sent")
    with pytest.raises(Invalid, match=r'no sample of "message\.odd"; did you mean message\.edited'):
        await service.send_test(context, SALES, "crm", "message.odd")


async def test_sample_is_of_the_api_that_the_subscription_gets(context: Context, redis: Redis) -> None:
    await service.create(context, SALES, table(api="v2", events=["message.*"]))
    sent = await service.send_test(context, SALES, "crm")
    [(_, fields)] = await redis.xrange(KEYS.lane("crm", "replay"))
    assert (sent.event_type, fields[b"version"]) == ("message.received", b"v2")
    with pytest.raises(Invalid, match=r'no sample of "message\.edited"; did you mean'):
        await service.send_test(context, SALES, "crm", "message.edited")


async def test_subscription_of_the_file_can_be_tested_by_its_owner(context: Context, rules_file: Path) -> None:
    rules_file.write_text(
        TEAM_RULES.replace("/bot", '/bot"\npaused = true\nteam = "ops').replace('"messages"]', '"*"]')
    )
    sent = await service.send_test(context, OPERATOR, "bot", "message.sent")
    assert "it is paused" in sent.waits_for
    with pytest.raises(NotFound):
        await service.send_test(context, SALES, "bot")
