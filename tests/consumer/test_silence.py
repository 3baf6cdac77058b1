"""A member that was silent takes no event back that another one takes over in the same moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from relay.consumer import consume
from relay.consumer.clients import asynchronous
from tests.consumer.stage import STREAM, feed

if TYPE_CHECKING:
    from relay.consumer import Consumer
    from relay.store.driver.client import Redis


class TestSilence:
    """A member that was silent for long, while another one takes its events over in the same moment."""

    IDS = ("a", "b", "c")

    async def silent(self, redis: Redis, events: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have the events of a member idle for long, and another one claim them just before the member does."""
        entries = [entry for entry, _ in await redis.xrange(STREAM)]
        await redis.xclaim(STREAM, "g", "slow", 0, entries, idle=100_000, justid=True)
        send, is_taken = asynchronous.Connected._send, False

        async def send_later(connected: Any, commands: Any, *, is_atomic: bool) -> list[Any]:
            nonlocal is_taken
            if connected is events._connected and not is_taken and any(each[0] == b"XCLAIM" for each in commands):
                is_taken = True
                assert len(await redis.xclaim(STREAM, "g", "other", 60_000, entries, justid=True)) == len(entries)
            return await send(connected, commands, is_atomic=is_atomic)

        monkeypatch.setattr(asynchronous.Connected, "_send", send_later)

    async def of_other(self, redis: Redis) -> int:
        return len(await redis.xpending_range(STREAM, "g", "-", "+", 10, "other"))

    @pytest.mark.parametrize("how", ["renewal", "release", "leaving"])
    async def test_it_takes_nothing_back(
        self, redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch, how: str
    ) -> None:
        await feed(redis, *self.IDS)
        options: dict[str, Any] = {"topic": "support", "group": "g", "member": "slow", "acknowledge": "explicit"}
        async with consume(redis_url, **options) as events:
            event = await anext(events)
            await self.silent(redis, events, monkeypatch)
            if how == "renewal":
                await events._connected.run(events._member.home.beat())
                assert not events._member.home.reading.buffer
            elif how == "release":
                await events.release(event)
            if how != "leaving":
                assert await self.of_other(redis) == 3
        assert await self.of_other(redis) == 3

    async def test_event_taken_over_by_another_member_is_not_handled_again(
        self, redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("relay.consumer.protocol.member._FIRST_RETRY", 0.01)
        await feed(redis, *self.IDS)
        async with consume(redis_url, topic="support", group="g", member="slow") as events:
            event = await anext(events)
            await self.silent(redis, events, monkeypatch)
            assert await events._connected.run(events._member.failed(event, ValueError("no such customer"))) is None
        assert await self.of_other(redis) == 3
