"""Reading a topic of linq-relay: a consumer group of its Redis stream, for teams that pull.

    async with consume("redis://localhost", topic="support", group="billing") as events:
        async for event in events:
            print(event.type, event.line, event.json()["data"])

Every group gets every event of its topic; the members of one group share them. An event is acknowledged when the loop
asks for the next one, so it is delivered again if a handler raises or a process dies: make handlers idempotent, by the
event's `id`. `consume_sync` is the same with `with` and `for`; `run` handles several events at a time, `batches` gives
lists, `acknowledge="explicit"` leaves it to `ack`, `reject` and `release`.

A member that leaves (its `async with` ends, also by an exception or a cancellation) hands its unacknowledged events
back, and the next member gets them within a second, before any newer one. A member that is killed cannot: the others
take its events over after `claim_after` seconds; started again under the same name, it gets them at once. An event
that is delivered too often becomes a dead letter of its group. Outages of Redis are waited out.

This package needs only redis-py, and nothing else of the relay: it is also a distribution of its own.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .names import CLAIM_AFTER, LONG_IDLE_MS, MAX_DEAD_LETTERS, MAX_DELIVERIES, RETURNED

if TYPE_CHECKING:
    from .blocking import SyncConsumer, consume_sync
    from .consumer import Consumer, consume
    from .errors import ConsumerError, UnknownTopic
    from .event import Event

    Record = Event
    StoreError = ConsumerError

__all__ = [
    "CLAIM_AFTER",
    "LONG_IDLE_MS",
    "MAX_DEAD_LETTERS",
    "MAX_DELIVERIES",
    "RETURNED",
    "Consumer",
    "ConsumerError",
    "Event",
    "Record",
    "StoreError",
    "SyncConsumer",
    "UnknownTopic",
    "consume",
    "consume_sync",
]

_HOMES = {
    "Consumer": ("consumer", "Consumer"),
    "ConsumerError": ("errors", "ConsumerError"),
    "Event": ("event", "Event"),
    "Record": ("event", "Event"),
    "StoreError": ("errors", "ConsumerError"),
    "SyncConsumer": ("blocking", "SyncConsumer"),
    "UnknownTopic": ("errors", "UnknownTopic"),
    "consume": ("consumer", "consume"),
    "consume_sync": ("blocking", "consume_sync"),
}
"""The module and the name there of each name that is imported when it is first asked for: the relay itself needs only
the constants, and its workers start without the other 26 modules (a hundredth of their CPU time).
"""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    found = globals()[name] = getattr(import_module(f".{module}", __name__), attribute)
    return found
