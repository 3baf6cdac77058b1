"""Growing to more shards: planned, prepared, applied, and killed anywhere on the way."""

from __future__ import annotations

import asyncio
import functools
import random
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any

import pytest
from redis.asyncio.client import Pipeline

from relay.core.errors import Conflict, Invalid
from relay.process.lifecycle import Lifecycle
from relay.services.account import audit
from relay.services.operators import growth
from relay.store.driver.client import WORKER_TIMEOUT, Redis
from relay.store.driver.scripts import Script
from relay.store.fleet.processes import Reporter
from relay.store.keys import CONSUMER, push_group
from relay.store.lanes.lane import Lane
from relay.store.sharding.growth.fence import fence_of
from relay.store.sharding.growth.state import Phase, cancel, decide, read_growth, read_placement
from relay.store.sharding.number import require_number_of_shards
from relay.store.sharding.shards import Shards, open_shards
from tests.services.conftest import CRM, OPERATOR, RULES
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from relay.services.context import Context

ORDERED = RULES.replace('name = "own-bot"', 'name = "own-bot"\nordered = "chat"')
POLL = 0.01


@pytest.fixture
async def shards(context: Context, redis_url: str) -> AsyncIterator[Shards]:
    """Four shards, of which two are in use."""
    context.settings.relay_config.write_text(ORDERED)
    async with open_shards(redis_url, WORKER_TIMEOUT, count=2) as former:
        await require_number_of_shards(former.home)
    async with open_shards(redis_url, WORKER_TIMEOUT, count=4) as shards:
        for shard in shards.all[:2]:
            await Lane(shard, "own-bot", "support").ensure()
        yield shards


@pytest.fixture
async def three(shards: Shards, redis_url: str) -> AsyncIterator[Shards]:
    """The first three."""
    del shards
    async with open_shards(redis_url, WORKER_TIMEOUT, count=3) as three:
        yield three


@pytest.fixture
def growing(context: Context, shards: Shards) -> Context:
    return replace(context, redis=shards.home)


class Told:
    """What `apply` told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, text: str) -> None:
        self.texts.append(text)

    def has(self, part: str) -> bool:
        return any(part in text for text in self.texts)


async def test_plan_changes_nothing(growing: Context, shards: Shards) -> None:
    await shards.all[1].hset(shards.all[1].key.chats, "v3:chat", "+1")  # type: ignore[misc]
    before = await shards.home.dbsize()
    found = await growth.plan(growing, OPERATOR, 4)
    assert (found.shards, found.target, found.share, found.chats) == (2, 4, 0.5, 1)
    assert [each.subscription for each in found.backlogs] == ["own-bot"]
    assert await shards.home.dbsize() == before


async def test_more_shards_than_there_can_be_are_refused(growing: Context) -> None:
    with pytest.raises(Invalid, match="there can be 64 at most"):
        await growth.prepare(growing, OPERATOR, 65)


@pytest.mark.parametrize("target", [1, 2])
async def test_fewer_shards_are_refused(growing: Context, target: int) -> None:
    with pytest.raises(Invalid, match="can only grow"):
        await growth.prepare(growing, OPERATOR, target)


async def test_nothing_is_applied_that_was_not_prepared(growing: Context) -> None:
    with pytest.raises(Conflict, match="no number of shards is prepared"):
        await growth.apply(growing, OPERATOR, Told(), poll=POLL)


async def test_another_number_is_refused_with_what_to_do(growing: Context) -> None:
    await growth.prepare(growing, OPERATOR, 4)
    with pytest.raises(Conflict, match="a change from 2 to 4 shards is prepared") as caught:
        await growth.prepare(growing, OPERATOR, 3)
    assert "relay shards cancel" in caught.value.for_cli
    noted = await read_growth(growing.redis)
    assert noted is not None
    await decide(growing.redis, noted, 1)
    with pytest.raises(Conflict, match="the change from 2 to 4 shards is decided") as caught:
        await growth.prepare(growing, OPERATOR, 8)
    assert "relay shards apply" in caught.value.for_cli


async def test_only_what_was_done_is_in_the_audit(growing: Context) -> None:
    assert not await growth.give_up(growing, OPERATOR)
    await growth.prepare(growing, OPERATOR, 4)
    with pytest.raises(Conflict):
        await growth.prepare(growing, OPERATOR, 3)
    assert await growth.give_up(growing, OPERATOR)
    found = (await audit.search(growing, OPERATOR)).items
    assert [record.command for record in found] == ["shards cancel", "shards prepare"]


async def test_growth_that_is_decided_meanwhile_is_not_cancelled(growing: Context, shards: Shards) -> None:
    await growth.prepare(growing, OPERATOR, 4)
    noted = await read_growth(shards.home)
    assert noted is not None
    await decide(shards.home, noted, 1)
    assert not await cancel(shards.home)
    assert await read_growth(shards.home) is not None


async def test_growth_from_the_plan_to_the_end(growing: Context, shards: Shards) -> None:
    noted = await growth.prepare(growing, OPERATOR, 4)
    assert noted.phase is Phase.NOTED
    assert (await growth.prepare(growing, OPERATOR, 4)) == noted
    told = Told()
    done = await growth.apply(growing, OPERATOR, told, poll=POLL)
    assert done.phase is Phase.DONE
    assert [(await fence_of(shard)).shards for shard in shards.all] == [4] * 4  # type: ignore[union-attr]
    state = await growth.state(growing, OPERATOR)
    assert (state.shards, state.closed, state.others) == (4, (), ())
    assert state.dedupes_until_ms is not None
    assert await growth.apply(growing, OPERATOR, Told(), poll=POLL) == done
    with pytest.raises(Conflict, match=r"until 20\S+Z, when RELAY_DEDUPE_WINDOW has passed: prepare it then"):
        await growth.prepare(growing, OPERATOR, 8)


async def test_processes_are_waited_for_until_they_were_restarted(
    growing: Context, shards: Shards, redis_url: str
) -> None:
    await growth.prepare(growing, OPERATOR, 4)
    told = Told()
    async with open_shards(redis_url, WORKER_TIMEOUT, count=2) as former:
        async with Reporter(former.home, "worker", Lifecycle(), list):
            applying = asyncio.create_task(growth.apply(growing, OPERATOR, told, poll=POLL))
            await eventually(lambda: told.has("not restarted with RELAY_SHARDS=4: worker on "))
            assert (await growth.state(growing, OPERATOR)).others
            assert (await read_placement(shards.home))[0] == 2
        await applying
    assert (await read_placement(shards.home))[0] == 4


async def test_ordered_subscription_with_a_long_backlog_is_waited_for(
    growing: Context, shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "LONG_BACKLOG", 0)
    await growth.prepare(growing, OPERATOR, 4)
    old, told = shards.all[1], Told()
    stream, group = old.key.topic("support"), push_group("own-bot")
    await old.xadd(stream, {"id": "x", "chat": "", "body": "{}"})
    applying = asyncio.create_task(growth.apply(growing, OPERATOR, told, poll=POLL))
    await eventually(lambda: told.has("own-bot with 1 deliveries"))
    applying.cancel()
    told = Told()
    applying = asyncio.create_task(growth.apply(growing, OPERATOR, told, anyway=True, poll=POLL))
    await eventually(lambda: told.has("own-bot (it has not read its topic up to the change on shard 1)"))
    assert (await growth.state(growing, OPERATOR)).closed == ("own-bot",)
    await old.xreadgroup(group, CONSUMER, {stream: ">"})
    assert (await applying).phase is Phase.DONE


async def test_growth_is_given_up_before_it_is_decided(growing: Context, shards: Shards) -> None:
    await growth.prepare(growing, OPERATOR, 4)
    assert await growth.give_up(growing, OPERATOR) is True
    assert await growth.give_up(growing, OPERATOR) is False
    await growth.prepare(growing, OPERATOR, 3)
    assert (await read_placement(shards.home))[0] == 2


async def test_team_may_not_look_or_change(growing: Context) -> None:
    for call in (growth.state(growing, CRM), growth.plan(growing, CRM, 4), growth.prepare(growing, CRM, 4)):
        with pytest.raises(Exception, match="operator"):
            await call


class Killed(Exception):
    """The end of a process."""


class Kill:
    """A kill of what uses Redis: before one command, or after it was sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, dice: random.Random) -> None:
        self.left: float = inf
        """Commands until then."""
        self._dice = dice
        for owner, name in ((Redis, "execute_command"), (Pipeline, "execute"), (Script, "__call__")):
            monkeypatch.setattr(owner, name, self._killing(getattr(owner, name)))

    def _killing(self, original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @functools.wraps(original)
        async def call(*arguments: Any, **more: Any) -> Any:
            self.left -= 1
            is_last = self.left <= 0
            if is_last and self._dice.random() < 0.5:
                raise Killed
            answer = await original(*arguments, **more)
            if is_last:
                raise Killed
            return answer

        return call


@pytest.mark.parametrize("seed", range(5))
async def test_killed_at_any_command_and_run_again(
    growing: Context, shards: Shards, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    await growth.prepare(growing, OPERATOR, 4)
    dice = random.Random(seed)
    kill, length, phases = Kill(monkeypatch, dice), 0, set()
    while True:
        length += dice.randint(1, 6)
        kill.left = length
        try:
            done = await growth.apply(growing, OPERATOR, Told(), poll=POLL)
            break
        except Killed:
            pass
        finally:
            kill.left = inf
        fences = [await fence_of(shard) for shard in shards.all]
        numbers = [fence.shards for fence in fences if fence is not None]
        assert max(numbers[2:]) == 2 or numbers[:2] == [4, 4]  # no new shard is open before all old ones are fenced
        number, state = await read_placement(shards.home)
        assert number == 4 or max(numbers) == 2
        assert state is not None
        phases.add(state.phase)
    assert len(phases) > 1
    assert done.phase is Phase.DONE
    assert (await read_placement(shards.home))[0] == 4


async def test_growth_can_follow_another_after_the_dedupe_window(
    growing: Context, shards: Shards, three: Shards
) -> None:
    del shards
    first = replace(growing, redis=three.home)
    await growth.prepare(first, OPERATOR, 3)
    await growth.apply(first, OPERATOR, Told(), poll=POLL)
    later = replace(growing, clock=lambda: growing.clock() + growing.settings.relay_dedupe_window + 60)
    await growth.prepare(later, OPERATOR, 4)
    done = await growth.apply(later, OPERATOR, Told(), poll=POLL)
    assert (done.former, done.target) == (3, 4)
