"""A relay of four shards seen as one: its ledger, topics and subscriptions are the sums of the parts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from relay.alerts import history
from relay.alerts.samples import Counts
from relay.core.config.relay_toml import parse_config
from relay.core.config.topics import DeadBounds
from relay.core.errors import Conflict
from relay.metrics import declared
from relay.services.deliveries import subscriptions
from relay.services.operators import ledger
from relay.services.topics import topics
from relay.store import keys
from relay.store.driver.client import WORKER_TIMEOUT, ask
from relay.store.lanes.lane import Lane
from relay.store.ledger.kept import KeptStates
from relay.store.sharding.shards import Shards, open_shards
from relay.store.state.history import last_hour, record_minute
from relay.store.state.kept import KeptState
from relay.store.state.reading import read_state
from relay.store.state.sample import Sample, whole_samples
from relay.store.state.server import whole_server_samples
from relay.store.topics.registry import register_topics
from relay.store.topics.retention import Bounds
from tests.building import SECRET
from tests.services.conftest import OPERATOR

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.services.context import Context


@pytest.fixture
async def shards(redis_url: str) -> AsyncIterator[Shards]:
    async with open_shards(redis_url, WORKER_TIMEOUT, count=4) as shards:
        yield shards


@pytest.fixture
async def whole(context: Context, shards: Shards) -> Context:
    """The lanes of two subscriptions on each shard: the first one has 1 event of support, the next one 2, and so on."""
    for number, shard in enumerate(shards.all, 1):
        await register_topics(shard, ["support", "billing"])
        for name, topic in (("crm-bot", "support"), ("erp-bot", "billing"), ("gone", "support")):
            await Lane(shard, name, topic).ensure()
        for n in range(number):
            await shard.xadd(shard.key.topic("support"), {"id": f"e-{number}-{n}", "body": "{}"})
        counts = {"accepted": number, "routed": number, f"routed:{shard.key.topic('support')}": number}
        await ask(shard.hset(shard.key.counts, mapping=counts))
        await ask(shard.hset(shard.key.unmatched, "x.y", str(number)))
    return replace(context, redis=shards.home)


async def test_ledger_is_the_sum_and_balances(whole: Context) -> None:
    books = await ledger.read(whole, OPERATOR, is_exact=True)
    assert (books.totals.accepted, books.totals.routed, books.totals.inbox) == (10, 10, 0)
    assert books.unmatched == {"x.y": 10}
    assert {each.subscription: (each.routed, each.waiting) for each in books.subscriptions} == {
        "crm-bot": (10, 10),
        "erp-bot": (0, 0),
        "gone": (10, 10),
    }
    assert books.balances


async def test_deliveries_on_any_shard_count(whole: Context, shards: Shards) -> None:
    for shard in shards.all[1:3]:
        lane = Lane(shard, "crm-bot", "support")
        [first, *_] = await lane.read_new(1)
        await shard.xack(lane.topic_stream, keys.push_group("crm-bot"), first.ref.entry)
        await ask(shard.hincrby(lane.key, "delivered", 1))
        await ask(shard.hincrby(lane.key, f"settled:{lane.topic_stream}", 1))
    [crm, *_] = (await ledger.read(whole, OPERATOR, is_exact=True)).subscriptions
    assert (crm.delivered, crm.waiting, crm.balances) == (2, 8, True)


async def test_overwritten_key_of_one_shard_is_a_fault_of_the_whole(whole: Context, shards: Shards) -> None:
    await shards.all[2].set(shards.all[2].key.lane("crm-bot", "retries"), "of a wrong type")
    books = await ledger.read(whole, OPERATOR)
    assert not books.balances
    assert "relay/2:lane:crm-bot:retries" in books.subscriptions[0].fault
    [crm, *_] = await subscriptions.list_states(whole, OPERATOR)
    assert "relay/2:lane:crm-bot:retries" in crm.why


@pytest.mark.parametrize("is_exact", [True, False])
async def test_topic_is_the_sum_of_its_streams(whole: Context, is_exact: bool) -> None:  # noqa: FBT001
    support, billing = await topics.list_states(whole, OPERATOR, is_exact=is_exact)
    assert (support.name, support.events, billing.events) == ("support", 10, 0)
    assert {group.name: group.lag for group in support.groups} == {"crm-bot": 10, "gone": 10}
    assert support.size > 0
    assert support.oldest_ms


@pytest.mark.parametrize("is_exact", [True, False])
async def test_subscription_is_the_sum_of_its_lanes(whole: Context, is_exact: bool) -> None:  # noqa: FBT001
    states = {each.name: each for each in await subscriptions.list_states(whole, OPERATOR, is_exact=is_exact)}
    assert (states["crm-bot"].waiting, states["crm-bot"].state) == (10, "delivering")
    await subscriptions.pause(whole, OPERATOR, "crm-bot")
    states = {each.name: each for each in await subscriptions.list_states(whole, OPERATOR, is_exact=is_exact)}
    assert states["crm-bot"].state == "paused"


async def test_dropped_subscription_leaves_no_shard_with_its_lane(whole: Context, shards: Shards) -> None:
    with pytest.raises(Conflict, match="10 events waiting"):
        await subscriptions.drop(whole, OPERATOR, "gone")
    assert await subscriptions.drop(whole, OPERATOR, "gone", even_with_events=True) == 10
    for shard in shards.all:
        assert not await shard.keys(f"{shard.key.lane('gone')}*")


async def test_dropped_topic_leaves_no_shard_with_its_stream(whole: Context, shards: Shards) -> None:
    for shard in shards.all:
        await register_topics(shard, ["old"])
        await shard.xadd(shard.key.topic("old"), {"id": "e", "body": "{}"})
    assert (await topics.drop(whole, OPERATOR, "old")).events == 4
    assert all([not await shard.exists(shard.key.topic("old")) for shard in shards.all])


async def test_metrics_are_sums_and_of_states_the_worst(whole: Context, shards: Shards) -> None:
    await subscriptions.pause(whole, OPERATOR, "crm-bot")
    await shards.all[2].xadd(shards.all[2].key.inbox, {"id": "e"}, id="1-1")
    config = await whole.config()
    parts = [part async for part in read_state(shards.home, config)]
    found = {(each.metric.name, tuple(each.labels)): each.value for part in parts for each in part}
    assert len(found) == sum(map(len, parts))
    assert found["relay_topic_events_total", ("support",)] == 10
    assert found["relay_subscription_waiting", ("crm-bot", "support")] == 10
    assert found["relay_subscription_paused", ("crm-bot", "support")] == 1
    assert found["relay_inbox_events", ()] == 1
    assert found["relay_inbox_oldest_age_seconds", ()] > 1e9


async def test_alerts_look_at_all_shards(whole: Context, shards: Shards) -> None:
    await shards.all[3].hset(shards.all[3].key.refused, "store_unavailable", "2")  # type: ignore[misc]
    assert await history.count(shards.home) == Counts(10, 12, 2)
    servers = {sample.metric: sample.value for sample in await whole_server_samples(shards.home)}
    assert servers[declared.REDIS_UP] == 1
    assert len([metric for metric in servers if metric is declared.REDIS_MEMORY_USED]) == 1
    await subscriptions.pause(whole, OPERATOR, "crm-bot")
    kept = KeptState(shards.home, KeptStates(shards.home))
    config = await whole.config()
    for _ in range(2):  # of the second reading, what is at rest is left out
        parts = [part async for part in read_state(shards.home, config, kept=kept)]
        found = {(each.metric.name, tuple(each.labels)): each.value for part in parts for each in part}
        assert found["relay_subscription_waiting", ("crm-bot", "support")] == 10
        assert found["relay_subscription_paused", ("crm-bot", "support")] == 1


async def test_topic_near_its_cap_on_one_shard_is_notable(shards: Shards) -> None:
    """A quarter of a hard cap of 4 MiB is a shard's share."""
    topic = '[[topics]]\nname = "support"\nevents = ["*"]\nsize = "2MiB"\nhard_size = "4MiB"\n'
    config = parse_config(f'{topic}[alerts]\nurl = "https://x.example.com"\nsecret = "{SECRET.text}"\n')
    full = shards.all[2]
    for n in range(18):
        await full.xadd(full.key.topic("support"), {"id": f"e-{n}", "body": "x" * 50_000})
    kept = KeptState(shards.home, KeptStates(shards.home))
    samples = [each async for part in read_state(shards.home, config, kept=kept) for each in part]
    ratio = next(each.value for each in samples if each.metric is declared.TOPIC_CAP_RATIO)
    assert 0.8 < ratio < 1.2


async def test_history_counts_all_shards(whole: Context, shards: Shards) -> None:
    assert await record_minute(shards.home, whole.now_ms, KeptStates(shards.home))
    [minute], _ = await last_hour(shards.home, whole.now_ms)
    assert (minute.accepted, minute.routed, minute.waiting) == (10, 10, 20)
    assert minute.topics == {"support": 10}


@pytest.mark.parametrize("parts", [1, 4])
def test_shards_share_the_bounds_of_sizes(parts: int) -> None:
    whole, bounds = Bounds.of(None), Bounds.of(None, parts)
    assert (bounds.size * parts, bounds.hard_size * parts, bounds.age) == (whole.size, whole.hard_size, whole.age)
    assert DeadBounds().share(parts).size * parts == DeadBounds().size


def test_topic_is_as_near_to_its_cap_as_its_fullest_part() -> None:
    near = [[Sample(declared.TOPIC_CAP_RATIO, value, ("support",))] for value in (0.25, 0.125)]
    assert whole_samples(near) == [Sample(declared.TOPIC_CAP_RATIO, 0.5, ("support",))]
