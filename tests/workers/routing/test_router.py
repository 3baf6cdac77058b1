from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from structlog.testing import capture_logs

import workers.routing.moves
from relay.core.event import Dialect, VerifiedWebhook
from relay.process.tasks import end_task
from relay.store import wakeups
from relay.store.account_events import AccountEvents
from relay.store.driver.lease import acquire_lease
from relay.store.inbox.claims import CLAIM_BYTES, claim_of
from relay.store.inbox.inbox import Inbox
from relay.store.inbox.quarantine import Quarantine, Readable
from relay.store.ledger.ledger import Ledger
from tests.building import LINE, OTHER_LINE, body_of, webhook_of
from tests.support import KEYS, TIMEOUT, eventually, hash_of
from tests.workers.conftest import TIMINGS, accept, emptied, routing, topic
from workers.routing.router import Router

if TYPE_CHECKING:
    from pathlib import Path

    from relay.config.file import ConfigFile
    from relay.store.driver.client import Redis
    from relay.store.inbox.inbox import Moved


async def test_event_enters_each_matching_topic_with_its_fields(redis: Redis, rules: ConfigFile) -> None:
    webhook = webhook_of("message.failed")
    await accept(redis, webhook)
    async with routing(redis, rules):
        await eventually(lambda: emptied(redis))
    for name in ("messages", "everything"):
        [entry] = await topic(redis, name)
        assert (
            entry.items()
            >= {
                "id": webhook.id,
                "type": "message.failed",
                "line": LINE,
                "chat": "chat-1",
                "version": "2026-02-03",
                "body": webhook.body.decode(),
                "direction": "outbound",
            }.items()
        )


async def test_account_is_a_field_of_its_own_events_only(redis: Redis, rules: ConfigFile) -> None:
    await accept(redis, webhook_of()._replace(account="sales"), webhook_of(), webhook_of()._replace(body=b"odd"))
    async with routing(redis, rules):
        await eventually(lambda: emptied(redis))
    first, second = await topic(redis, "messages")
    assert (first["account"], "account" in second, first["version"]) == ("sales", False, "2026-02-03")


async def test_account_survives_the_quarantine(redis: Redis, rules: ConfigFile) -> None:
    await accept(redis, webhook_of()._replace(account="sales", body=b"odd"))
    async with routing(redis, rules):
        await eventually(lambda: emptied(redis))
    (body,) = [body async for body in Quarantine(redis).all()]
    assert body.dialect == "v3/sales"
    good = body_of(event_id="e1")
    await Quarantine(redis).put(body.dialect, LINE, good, "not readable yet", 1)
    *_, row = [row async for row in Quarantine(redis).all()]
    readable = Readable(row.entry, "e1", "message.received", claim_of(Dialect.V3, LINE, good, "sales"))
    assert await Quarantine(redis).retry([readable], 60_000, 7) == (1, 0)
    async with routing(redis, rules):
        await eventually(lambda: emptied(redis))
    (entry,) = await topic(redis, "messages")
    assert (entry["id"], entry["account"]) == ("e1", "sales")


async def test_topic_has_events_in_the_order_of_acceptance(redis: Redis, rules: ConfigFile) -> None:
    webhooks = [webhook_of() for _ in range(700)]
    async with routing(redis, rules):
        await accept(redis, *webhooks)
        await eventually(lambda: emptied(redis))
    assert [entry["id"] for entry in await topic(redis, "messages")] == [webhook.id for webhook in webhooks]


async def test_unmatched_event_is_counted_and_removed(redis: Redis, rules_file: Path, rules: ConfigFile) -> None:
    rules_file.write_text('[[topics]]\nname = "none"\nevents = ["call.*"]\n')
    rules.reload()
    await accept(redis, webhook_of("message.received"), webhook_of("a.brand_new.type"))
    async with routing(redis, rules):
        await eventually(lambda: emptied(redis))
    assert await hash_of(redis, KEYS.unmatched) == {"message.received": "1", "a.brand_new.type": "1"}


async def test_inbox_with_a_group_of_an_earlier_release_is_routed(redis: Redis, rules: ConfigFile) -> None:
    webhooks = [webhook_of() for _ in range(3)]
    await accept(redis, *webhooks)
    await redis.xgroup_create(KEYS.inbox, "route", "0")
    await redis.xreadgroup("route", "relay", {KEYS.inbox: ">"}, count=2)
    async with routing(redis, rules):
        await eventually(lambda: emptied(redis))
    assert [entry["id"] for entry in await topic(redis, "messages")] == [webhook.id for webhook in webhooks]


async def test_killed_router_leaves_all_unrouted_events_to_the_next(redis: Redis, rules: ConfigFile) -> None:
    webhooks = [webhook_of() for _ in range(500)]
    await accept(redis, *webhooks)

    async def are_routed() -> bool:
        return len(await topic(redis, "messages")) > 0

    async with acquire_lease(redis, wakeups.route(KEYS).job_id) as lease:
        task = asyncio.create_task(Router(redis, rules, time.time, TIMINGS).drain(lease, asyncio.Event()))
        await eventually(are_routed)
        await end_task(task)
    async with routing(redis, rules):
        await eventually(lambda: emptied(redis))
    for name in ("messages", "everything"):
        assert [entry["id"] for entry in await topic(redis, name)] == [webhook.id for webhook in webhooks]


async def test_batch_whose_response_was_lost_is_not_routed_twice(
    redis: Redis, rules: ConfigFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = Inbox.commit
    lost: list[Moved] = []

    async def lose(self: Inbox, *what: Any) -> Moved:
        moved = await commit(self, *what)
        if len(lost) < 2:
            lost.append(moved)
            raise RedisConnectionError("the response was lost")
        return moved

    monkeypatch.setattr(Inbox, "commit", lose)
    webhooks = [webhook_of() for _ in range(700)]
    await accept(redis, *webhooks)
    async with routing(redis, rules):
        await eventually(lambda: emptied(redis))
    assert [moved.routed for moved in lost] == [128, 128]
    for name in ("messages", "everything"):
        assert [entry["id"] for entry in await topic(redis, name)] == [webhook.id for webhook in webhooks]
    assert (await Ledger(redis).totals()).balances


async def test_entries_deleted_by_an_operator_do_not_block_others(redis: Redis, rules: ConfigFile) -> None:
    webhooks = [webhook_of() for _ in range(300)]
    await accept(redis, *webhooks)
    entries = [entry for entry, _ in await redis.xrange(KEYS.inbox)]
    async with routing(redis, rules):
        await redis.xdel(KEYS.inbox, *entries[250:])
        await eventually(lambda: emptied(redis))
    routed = [entry["id"] for entry in await topic(redis, "messages")]
    assert routed == [webhook.id for webhook in webhooks[: len(routed)]]
    assert len(routed) >= 250


async def test_inbox_with_ids_that_went_back_is_routed(redis: Redis, rules: ConfigFile) -> None:
    """A replica that was behind has become the primary, or the inbox was lost."""
    async with routing(redis, rules):
        await accept(redis, *(webhook_of() for _ in range(3)))
        await eventually(lambda: emptied(redis))
        await redis.delete(KEYS.inbox)
        fields = {"dialect": "v3", "line": LINE, "at": "1", "body": body_of(event_id="x")}
        await redis.xadd(KEYS.inbox, {"id": "x", **fields}, id="1-1")  # type: ignore[dict-item]  # a dict is invariant
        await eventually(lambda: emptied(redis))
    assert [event["id"] for event in await topic(redis, "everything")][3:] == ["x"]


@pytest.mark.parametrize("events", [1, 400])
async def test_router_with_a_lost_lease_moves_nothing(redis: Redis, rules: ConfigFile, events: int) -> None:
    async with acquire_lease(redis, wakeups.route(KEYS).job_id) as lease:
        await redis.set(KEYS.lease(wakeups.route(KEYS).job_id), "another worker")
        await accept(redis, *(webhook_of() for _ in range(events)))
        async with asyncio.timeout(TIMEOUT):
            await Router(redis, rules, time.time, TIMINGS).drain(lease, asyncio.Event())
    assert await redis.xlen(KEYS.inbox) == events
    assert await topic(redis, "messages") == []


async def test_undecodable_entry_is_quarantined_and_its_batch_continues(redis: Redis, rules: ConfigFile) -> None:
    good = webhook_of()
    await redis.xadd(KEYS.inbox, {"id": "x", "line": "", "at": "5", "dialect": "v3", "webhook_id": "x", "body": "{"})
    await redis.xadd(KEYS.inbox, {"foreign": "entry"})
    await accept(redis, good)
    with capture_logs() as logs:
        async with routing(redis, rules):
            await eventually(lambda: emptied(redis))
    notes = [line["note"] for line in logs if line["event"] == "event.quarantined"]
    assert len(notes) == 2
    assert all("relay quarantine list" in note for note in notes)
    assert [entry["id"] for entry in await topic(redis, "messages")] == [good.id]
    reasons = [fields[b"reason"] for _, fields in await redis.xrange(KEYS.quarantine)]
    assert len(reasons) == 2
    assert all(reason.startswith(b"the body is not JSON") for reason in reasons)


async def test_poison_message_is_quarantined_and_can_be_retried(
    redis: Redis, rules: ConfigFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = webhook_of()._replace(webhook_id="another id")
    with monkeypatch.context() as patch:
        patch.setattr(workers.routing.moves, "fields_of", None)
        await accept(redis, webhook)
        async with routing(redis, rules):
            await eventually(lambda: emptied(redis))
    ledger = Ledger(redis)
    totals = await ledger.totals()
    assert (totals.accepted, totals.poisoned, totals.quarantined, totals.balances) == (1, 1, 1, True)
    [body] = [body async for body in Quarantine(redis).all()]
    readable = Readable(body.entry, webhook.id, webhook.type, bytes(CLAIM_BYTES))
    assert await Quarantine(redis).retry([readable], 60_000, 7) == (1, 0)
    assert await Quarantine(redis).retry([readable], 60_000, 7) == (0, 0)
    assert (await ledger.totals()).balances
    async with routing(redis, rules):
        await eventually(lambda: emptied(redis))
    [event] = await topic(redis, "messages")
    assert (event["id"], event["webhook_id"], event["line"]) == (webhook.id, "another id", webhook.line)
    assert event["body"] == webhook.body.decode()
    totals = await ledger.totals()
    assert (totals.accepted, totals.routed, totals.poisoned, totals.balances) == (1, 1, 0, True)


async def test_text_that_cannot_be_encoded_blocks_no_event(redis: Redis, rules: ConfigFile) -> None:
    body = b'{"event_type": "message.sent", "event_id": "e1", "trace_id": "\\ud83d", "data": {"chat_id": "\\ud83d"}}'
    await accept(redis, VerifiedWebhook("e1", "message.sent", Dialect.V3, "e1", None, body), webhook_of())
    async with routing(redis, rules):
        await eventually(lambda: emptied(redis))
    first, _ = await topic(redis, "messages")
    assert (first["id"], first["chat"], first["body"]) == ("e1", "", body.decode())


@pytest.mark.parametrize("damage", ["forget that it is prepared", "delete the inbox", "lose everything"])
async def test_router_heals_when_redis_lost_its_groups(redis: Redis, rules: ConfigFile, damage: str) -> None:
    async with routing(redis, rules):
        await accept(redis, webhook_of())
        await eventually(lambda: emptied(redis))
        match damage:
            case "forget that it is prepared":
                await redis.delete(KEYS.prepared)
            case "delete the inbox":
                await redis.delete(KEYS.inbox)
            case _:
                await redis.flushall()
        after = webhook_of()
        await accept(redis, after)

        async def arrived() -> bool:
            return any(entry["id"] == after.id for entry in await topic(redis, "everything"))

        await eventually(arrived)
    # The groups of the lanes existed before the first event was routed again, so no lane missed it.
    [group] = [row for row in await redis.xinfo_groups(KEYS.topic("everything")) if row["name"] == b"push:crm"]
    assert group["lag"] == (1 if damage == "lose everything" else 2)


async def test_lane_is_created_before_events_are_routed_by_its_rules(redis: Redis, rules: ConfigFile) -> None:
    await accept(redis, webhook_of())
    async with routing(redis, rules):
        await eventually(lambda: emptied(redis))
    for name, group in (("messages", b"push:bot"), ("everything", b"push:crm")):
        [row] = await redis.xinfo_groups(KEYS.topic(name))
        assert (row["name"], row["lag"]) == (group, 1)


async def test_changed_rules_apply_to_the_next_event(redis: Redis, rules_file: Path, rules: ConfigFile) -> None:
    async with routing(redis, rules):
        await accept(redis, webhook_of())
        await eventually(lambda: emptied(redis))
        rules_file.write_text('[[topics]]\nname = "only"\nevents = ["*"]\n')
        rules.reload()
        await accept(redis, webhook_of())
        await eventually(lambda: emptied(redis))
    assert [len(await topic(redis, name)) for name in ("messages", "everything", "only")] == [1, 1, 1]


async def test_url_line_wins_over_payload_line(redis: Redis, rules: ConfigFile) -> None:
    chat = {"id": "c", "owner_handle": {"handle": OTHER_LINE, "is_me": True}}
    body = body_of("message.received", "e1", chat=chat)
    await accept(redis, VerifiedWebhook("e1", "message.received", Dialect.V3, "e1", LINE, body))
    async with routing(redis, rules):
        await eventually(lambda: emptied(redis))
    assert [entry["line"] for entry in await topic(redis, "messages")] == [LINE]


async def test_v2_event_gets_its_line_from_its_payload(redis: Redis, rules: ConfigFile) -> None:
    data = {"chat_id": "7", "chat_handles": [{"identifier": LINE, "is_me": True}]}
    body = json.dumps({"api_version": "v2", "event_type": "message.sent", "event_id": "e1", "data": data}).encode()
    await accept(redis, VerifiedWebhook("e1", "message.sent", Dialect.V2, "e1", None, body))
    async with routing(redis, rules):
        await eventually(lambda: emptied(redis))
    [entry] = await topic(redis, "messages")
    assert (entry["line"], entry["version"], entry["chat"]) == (LINE, "v2", "7")


async def test_router_survives_a_redis_outage(redis: Redis, rules: ConfigFile) -> None:
    async with routing(redis, rules):
        await accept(redis, webhook_of())
        await eventually(lambda: emptied(redis))
        with suppress(Exception):
            await redis.client_kill_filter(_type="normal", skipme=True)
        webhooks = [webhook_of() for _ in range(5)]
        await accept(redis, *webhooks)
        await eventually(lambda: emptied(redis))
    assert len(await topic(redis, "messages")) == 6


# --- Account events -----------------------------------------------------------------------------------


@pytest.mark.parametrize("line", [None, LINE], ids=["by the account's subscription", "by a line's"])
async def test_account_event_wakes_the_reaction(redis: Redis, rules: ConfigFile, line: str | None) -> None:
    assigned = webhook_of("phone_number.assigned", line)
    body = json.dumps({**json.loads(assigned.body), "data": {"phone_number": OTHER_LINE}}).encode()
    await accept(redis, assigned._replace(body=body), webhook_of())
    async with routing(redis, rules):
        await eventually(lambda: emptied(redis))
    assert [(event.type, event.line) for event in await AccountEvents(redis).waiting()] == [
        ("phone_number.assigned", OTHER_LINE)
    ]
    assert await redis.zscore(KEYS.slow_queue, wakeups.react(KEYS).job_id) is not None


async def test_overwritten_key_of_account_events_delays_no_event(redis: Redis, rules: ConfigFile) -> None:
    await redis.set(KEYS.linq_events, "overwritten")
    await accept(redis, webhook_of("phone_number.assigned"), webhook_of())
    async with routing(redis, rules):
        await eventually(lambda: emptied(redis))
    assert len(await topic(redis, "everything")) == 2
