"""The live tail of a topic: its events as they are routed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.access.scopes import Scope
from relay.services.access import check_topic
from relay.services.topics.history.search import EventQuery
from relay.services.topics.history.view import Place, view_of
from relay.store.driver.client import ask, retry_until_redis_answers
from relay.store.topics.history import BEGINNING, id_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.core.access.principal import Principal
    from relay.services.context import Context
    from relay.services.topics.history.view import EventView

_PAGE = 100
_BLOCK_MS = 500  # less than the timeout of any client's round trip
_ANY = EventQuery()


async def tail(
    context: Context, principal: Principal, topic: str, query: EventQuery = _ANY
) -> AsyncIterator[EventView]:
    """Yield the events of a topic that match, from now on or from `since_ms` of the query, without an end.

    It has a connection to Redis of its own while it runs, and outlives an outage.

    Raises:
        NotFound: there is no such topic.
        Invalid: the query is wrong.
    """
    principal.require(Scope.READ)
    criteria = query.checked()
    await check_topic(context, principal, topic)
    stream = context.redis.key.topic(topic)
    async with context.redis.client() as own:
        if query.since_ms is not None:
            after = id_at(query.since_ms)
        else:
            last = await ask(own.xrevrange(stream, count=1))
            after = last[0][0].decode() if last else BEGINNING
        while True:
            position = after
            reply = await retry_until_redis_answers(
                "following a topic",
                lambda position=position: own.xread({stream: position}, _PAGE, _BLOCK_MS),  # type: ignore[misc]
            )
            for _, rows in reply:
                for entry, fields in rows:
                    after = entry.decode()
                    if criteria.match(fields):
                        yield view_of(context.settings, fields, Place(topic, after))
