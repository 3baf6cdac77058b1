"""The names of topics: those that relay.toml has or had, and those that ever had an event."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from redis.exceptions import NoPermissionError, ResponseError

from relay.core.errors import StoreError
from relay.store.driver.client import ask
from relay.store.driver.scripts import Script
from relay.store.driver.streams import pages
from relay.store.isolation import is_wrong_type

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.store.driver.client import Redis


_PAGE = 1000

_register = Script(__package__, "register_topics")


class UnknownTopic(StoreError):
    """The relay has no topic of that name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        nearest = get_close_matches(name, names, n=1)
        hint = f'; did you mean "{nearest[0]}"?' if nearest else ""
        super().__init__(f'no topic "{name}" (known: {", ".join(names)}){hint}')


async def register_topics(redis: Redis, names: Iterable[str]) -> None:
    """Record the topics of relay.toml, so that readers of the streams can tell which there are."""
    for page in pages(list(names), _PAGE):
        await _register(redis, [redis.key.topics], page)


async def find_topic(redis: Redis, name: str) -> bool:
    """Return True if the relay has the topic, False if it cannot be known (no relay ran yet, or rights are missing).

    Raises:
        UnknownTopic: it has other topics, and not this one.
    """
    try:
        known = {member.decode() for member in await ask(redis.smembers(redis.key.topics))}
    except NoPermissionError:
        return False
    if name in known:
        return True
    try:
        info = await redis.xinfo_stream(redis.key.topic(name))
    except ResponseError as error:
        if is_wrong_type(error):
            raise
    else:
        if info["entries-added"]:
            return True
    if not known:
        return False
    raise UnknownTopic(name, known)
