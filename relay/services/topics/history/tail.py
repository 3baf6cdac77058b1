"""The live tail of a topic: its events as they are routed."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING, Any

from relay.core.access.scopes import Scope
from relay.services.access import check_topic
from relay.services.topics.following import PAGE, sources_at_end, sources_since, take
from relay.services.topics.history.search import EventQuery
from relay.services.topics.history.view import Place, view_of
from relay.store.driver.client import retry_until_redis_answers
from relay.store.topics.history import id_at

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from relay.core.access.principal import Principal
    from relay.services.context import Context
    from relay.services.topics.following import Source, Taken
    from relay.services.topics.history.view import EventView

_BLOCK_MS = 500  # less than the timeout of any client's round trip
_ANY = EventQuery()


async def tail(
    context: Context, principal: Principal, topic: str, query: EventQuery = _ANY
) -> AsyncIterator[EventView]:
    """Yield the events of a topic that match, from now on or from `since_ms` of the query, without an end.

    It has a connection to each shard of its own while it runs, and outlives an outage.

    Raises:
        NotFound: there is no such topic.
        Invalid: the query is wrong.
    """
    principal.require(Scope.READ)
    criteria = query.checked()
    await check_topic(context, principal, topic)
    if query.since_ms is not None:
        sources = sources_since(context.redis, topic, id_at(query.since_ms))
    else:
        sources = await sources_at_end(context.redis, topic)
    async with AsyncExitStack() as stack:
        for source in sources:
            own: Any = source.redis.client()
            source.redis = await stack.enter_async_context(own)
        found = await stack.enter_async_context(aclosing(_followed(sources)))
        async for shard, entry, fields in found:
            if criteria.match(fields):
                yield view_of(context.settings, fields, Place.on(shard, topic, entry.decode()))


async def _followed(sources: Sequence[Source]) -> AsyncGenerator[Taken]:
    """Yield the entries of all sources as they arrive; an outage of one source delays no other."""
    reads: dict[Source, asyncio.Task[Any]] = {}
    try:
        while True:
            for taken in take(sources):
                yield taken
            for source in sources:
                if not source.rows and source not in reads:
                    reads[source] = asyncio.create_task(_read(source))
            await asyncio.wait(reads.values(), return_when=asyncio.FIRST_COMPLETED)
            for source in [source for source, reading in reads.items() if reading.done()]:
                reply = reads.pop(source).result()
                source.add(reply[0][1] if reply else ())
    finally:
        for reading in reads.values():
            reading.cancel()
        await asyncio.gather(*reads.values(), return_exceptions=True)


async def _read(source: Source) -> Any:
    """Return the reply with the next entries of a source, without any if none came for a while."""

    def wait() -> None:
        source.is_away = True

    reply = await retry_until_redis_answers(
        "following a topic",
        lambda: source.redis.xread({source.stream: source.position}, PAGE, _BLOCK_MS),
        on_error=wait,
    )
    source.is_away = False
    return reply
