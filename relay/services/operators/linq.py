"""Linq's subscriptions: the drift that the last check found, and a look at Linq itself; for operators.

Looking needs the API of Linq and the rules of bootstrap, which are in a layer above the services; the process that
serves the page hands the look in (`relay.admin.linq_look`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.core.errors import NotFound
from relay.store.driver.client import ask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.core.access.principal import Principal
    from relay.services.context import Context


@dataclass(frozen=True, slots=True)
class Drift:
    """The differences at one of Linq's APIs."""

    api: str
    """`v3` or `v2`."""
    at_ms: int
    """Time of the check, Unix milliseconds."""
    counts: Mapping[str, int]
    """By kind (`bootstrap.status`)."""


@dataclass(frozen=True, slots=True)
class OwnerAtLinq:
    """A line, the account or v2, and its subscription at Linq."""

    owner: str
    generation: int | None
    """None where no subscription can be used."""
    subscription_id: str | None
    is_active: bool
    last_event_ms: int | None
    retiring: int
    """The number of older generations beside it."""
    state: str
    """`ok`, or what is wrong."""


@dataclass(frozen=True, slots=True)
class StepAtLinq:
    """A change that `relay bootstrap apply` would make."""

    action: str
    owner: str
    generation: int | None
    subscription_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Look:
    """The subscriptions at Linq as they are now, and the plan."""

    owners: tuple[OwnerAtLinq, ...]
    steps: tuple[StepAtLinq, ...]
    """Without those that keep something."""
    notes: tuple[str, ...]
    errors: tuple[str, ...]
    """Errors of an API."""


Looker = Callable[[], Awaitable[Look]]


async def drift(context: Context, principal: Principal) -> list[Drift]:
    """Return the drift that the last check of each API found."""
    principal.require_operator()
    rows = await ask(context.redis.hgetall(context.redis.key.drift))
    found: dict[str, dict[str, int]] = {}
    for field, value in rows.items():
        api, _, kind = field.decode().partition(":")
        found.setdefault(api, {})[kind] = int(value)
    return [Drift(api, counts.pop("at", 0) * 1000, counts) for api, counts in sorted(found.items())]


async def look(principal: Principal, looker: Looker | None) -> Look:
    """Return what is at Linq now; asks Linq.

    Raises:
        NotFound: this process has no API key of Linq.
    """
    principal.require_operator()
    if looker is None:
        raise NotFound("this process cannot ask Linq: it needs LINQ_API_V3_API_KEY and RELAY_SECRET_KEY")
    return await looker()
