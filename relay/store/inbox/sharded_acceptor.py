"""Durable acceptance of webhooks into several shards.

On a cluster each shard has an acceptor of its own, with its batches, its connection and its share of the waiting room:
a shard whose primary does not answer refuses its own events with 503 after the usual wait, and delays none of the
others'. So does one that is nearly full; the first one, with the keyring and the state of the relay, then refuses all
(`web.ingress`).

On a plain Redis, where all shards share the server, they share an acceptor as well (`shards.by_server`), so that its
batches are as large as with one shard. In batches of their own an event cost the ingress and Redis 40 % more.

When the relay grows (`sharding.growth.state`), acceptors for the new number take over. What still waits in the former
ones is refused by the shards, and is placed again by its caller within the usual wait. For the dedupe window an event
that moves is looked up on its former shard first.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from relay.core.errors import StoreUnavailable
from relay.linq.payloads.shard_key import shard_key_of
from relay.process.timings import DEFAULTS
from relay.store.inbox.former_claims import FormerClaims, FormerUnavailable
from relay.store.inbox.waiting_room import Room, WaitingRoom
from relay.store.sharding.growth.fence import StalePlacement, WrongNumberOfShards
from relay.store.sharding.shards import by_server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from relay.core.event import VerifiedWebhook
    from relay.core.sharding.placement import ShardKey
    from relay.process.timings import Timings
    from relay.store.driver.client import Redis
    from relay.store.inbox.acceptor import Acceptor
    from relay.store.inbox.memory_guard import MemoryGuard
    from relay.store.sharding.growth.watch import Placement, PlacementWatch

_PAUSE = 0.05  # seconds from one look at the placement to the next


class ShardedAcceptor:
    """An append of verified webhooks, each to the inbox of its shard. Enter it as a context."""

    def __init__(
        self,
        shards: Sequence[Redis],
        acceptor_of: Callable[[Mapping[int, Redis], int, int], Acceptor],
        watch: PlacementWatch,
        clock: Callable[[], float],
        guards: Mapping[int, MemoryGuard] = MappingProxyType({}),
        timings: Timings = DEFAULTS,
    ) -> None:
        """`acceptor_of` returns the acceptor of some shards, by number, with one of so many parts of the waiting room.

        Its last argument is the number of all shards by which events are placed.
        `guards`, by number, watch the memory of the shards that are not on the first one's server; `clock` returns Unix
        seconds.
        """
        self._shards = shards
        self._acceptor_of = acceptor_of
        self._acceptors: dict[int, Sequence[Acceptor]] = {}
        self._former = [FormerClaims(shard, clock, timings) for shard in shards]
        self._watch = watch
        self._clock = clock
        self._guards = guards
        self._wait = timings.accept_wait
        self._room = WaitingRoom(self._ask, Room())  # of those that wait for the placement
        self._loop = asyncio.get_running_loop()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for guard in self._guards.values():
            await self._stack.enter_async_context(guard)
        for former in self._former:
            await self._stack.enter_async_context(former)
        await self._stack.enter_async_context(self._watch)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    @property
    def redis_answers(self) -> bool:
        """False while any shard does not answer, or it is not known by how many events are placed."""
        placement = self._watch.placement
        if placement is None:
            return False
        return all(acceptor.redis_answers for acceptor in self._acceptors.get(placement.shards, ()))

    async def accept(self, webhook: VerifiedWebhook) -> bool:
        """Store an event in its shard; return True if it is new and now durable, False if it was accepted before.

        Raises:
            StoreUnavailable: as for `Acceptor.accept`, or the shard is nearly full.
        """
        deadline = self._loop.time() + self._wait
        key = shard_key_of(webhook)
        placement, seen = self._watch.placement, 0
        if placement is not None:
            try:
                return await self._accept(webhook, key, placement)
            except StalePlacement as error:
                seen = error.shards
            except FormerUnavailable:
                pass
        size = len(webhook.body)
        self._room.enter(size)
        try:
            return await self._place_again(webhook, key, seen, deadline)
        finally:
            self._room.leave(size)

    async def _accept(self, webhook: VerifiedWebhook, key: ShardKey, placement: Placement) -> bool:
        shard = placement.shard(key)
        if placement.former_until_ms:
            former = placement.former_shard(key, shard, self._clock() * 1000)
            if former is not None and await self._former[former].have(webhook):
                return False
        if (guard := self._guards.get(shard)) is not None:
            guard.check()
        acceptors = self._acceptors.get(placement.shards) or await self._open(placement.shards)
        return await acceptors[shard].accept(webhook, shard)

    async def _open(self, number: int) -> Sequence[Acceptor]:
        """Open the acceptors for a number of shards; those for another stay until what waits in them was answered."""
        groups = by_server(self._shards[:number])
        each = [self._acceptor_of(here, len(groups), number) for here in groups]
        found = {shard: acceptor for here, acceptor in zip(groups, each, strict=True) for shard in here}
        acceptors = self._acceptors[number] = [found[shard] for shard in range(number)]
        for acceptor in each:  # others find it meanwhile
            await self._stack.enter_async_context(acceptor)
        return acceptors

    async def _ask(self) -> None:
        await self._watch.look()

    async def _place_again(self, webhook: VerifiedWebhook, key: ShardKey, seen: int, deadline: float) -> bool:
        """Store an event as soon as it is known by how many shards events are placed, and its former shard answers.

        Raises:
            StoreUnavailable: it is not by `deadline`.
        """
        reason: StoreUnavailable | None = None
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                while True:
                    try:
                        placement = await self._watch.look(seen)
                    except WrongNumberOfShards:
                        raise
                    except StoreUnavailable as error:
                        reason = error
                    else:
                        try:
                            return await self._accept(webhook, key, placement)
                        except StalePlacement as error:
                            reason, seen = error, error.shards
                        except FormerUnavailable as error:
                            reason = error
                    await asyncio.sleep(_PAUSE)
        raise StoreUnavailable(str(reason or "Redis does not tell the number of shards")) from None
