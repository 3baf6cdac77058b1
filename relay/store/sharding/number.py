"""The number of shards, which Redis keeps from the first start.

A process with another number would look for the events of a chat, and for repeats of them, on the wrong shard.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from relay.core.errors import Problem, SettingsError
from relay.store.driver.client import REDIS_ERRORS
from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

_number = Script(__package__, "number")


async def check_number_of_shards(home: Redis) -> None:
    """Check that the process has as many shards as the relay, unless Redis cannot be reached now.

    Raises:
        SettingsError: it has another number.
    """
    with suppress(*REDIS_ERRORS):
        await require_number_of_shards(home)


async def require_number_of_shards(home: Redis) -> None:
    """Check that the process, which has a client of each shard, has as many as the relay.

    Raises:
        SettingsError: it has another number.
    """
    given = len(home.shards)
    stored = (await _number(home, [home.key.shards, home.key.counts], [given])).decode()
    if stored != str(given):
        why = f"it is {given}, but the relay has {stored}: set {stored}; to change the number, see relay shards"
        raise SettingsError("The number of shards is wrong:", (Problem("RELAY_SHARDS", why),))
