"""Orders to drain: what an operator has told the processes of a host, or all workers, to take no new work until.

An order for every host concerns the workers only: if no ingress were ready, the load balancer would have no place for
Linq's webhooks, and Linq gives up after half an hour. An order for a host also takes its ingresses out of the load
balancer; they keep accepting what arrives. An order ends when an operator ends it, or by itself, so that a forgotten
one cannot hold events for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from relay.core.timestamps import utc_text
from relay.store.driver.client import ask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.store.driver.client import Redis

EVERY_HOST = "*"
END = "relay drain --end"


@dataclass(frozen=True, slots=True)
class DrainOrder:
    """An order to take no new work."""

    host: str
    """A host name, or `EVERY_HOST`."""
    by: str
    why: str
    since_ms: int
    """Unix milliseconds, as `until_ms`."""
    until_ms: int

    @property
    def text(self) -> str:
        """The order in a line, with the command that ends it."""
        why = f" ({self.why})" if self.why else ""
        return f"by {self.by}{why}, until {utc_text(self.until_ms / 1000)} at the latest; to end it: {self.end}"

    @property
    def end(self) -> str:
        """The command that ends it."""
        return END if self.host == EVERY_HOST else f"{END} --host {self.host}"

    def concerns(self, role: str, host: str) -> bool:
        """Return True if a process of `role` on `host` must obey."""
        return self.host == host or (self.host == EVERY_HOST and role == "worker")


_ORDER = TypeAdapter(DrainOrder)


def orders_in(rows: Mapping[bytes, bytes], now_ms: float) -> list[DrainOrder]:
    """Return the orders in force; a damaged record is none, since it would have no end."""
    found = []
    for text in rows.values():
        try:
            order = _ORDER.validate_json(text)
        except ValidationError:
            continue
        if order.until_ms > now_ms:
            found.append(order)
    return sorted(found, key=lambda order: order.host)


async def drain_orders(redis: Redis, now_ms: float) -> list[DrainOrder]:
    """Return the orders in force, the one for every host first."""
    return orders_in(await ask(redis.hgetall(redis.key.drain_orders)), now_ms)


async def order_drain(redis: Redis, order: DrainOrder) -> None:
    """Give an order, in place of a former one for the same host."""
    await ask(redis.hset(redis.key.drain_orders, order.host, _ORDER.dump_json(order).decode()))


async def end_drain(redis: Redis, host: str) -> bool:
    """End the order for `host`; return False if there was none."""
    return bool(await ask(redis.hdel(redis.key.drain_orders, host)))
