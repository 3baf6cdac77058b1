"""The active faults, and their combined effects on an event or an API call.

Faults of different kinds add up; of several faults of one kind, the oldest that hits is applied. A fault that hits an
event affects all its deliveries, retries included, and an event is delayed by one fault at most. Removing a fault sends
the events that it delays.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from relay.sandbox.faults.models import (
    ApiAnswer,
    ApiFailure,
    ApiFault,
    ApiSlow,
    DeliveryFault,
    Duplicate,
    Forge,
    Headers,
    Late,
    Lost,
    Reorder,
    Timestamp,
)

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from relay.sandbox.faults.models import Fault

    StartDelivery = Callable[[datetime | None], None]
    """Starts the deliveries of one event; with a time, they are marked as reconciled at that time."""


@dataclass(slots=True, eq=False)
class DelayedBatch:
    """Events that a fault delays together."""

    ready: asyncio.Event
    starts: list[StartDelivery] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class ActiveFault:
    """An active fault."""

    id: int
    fault: Fault
    hits_left: int | None
    """Number of remaining hits; None for no limit."""
    rng: random.Random
    batch: DelayedBatch | None = None
    """Events that it delays now."""

    @property
    def delayed_count(self) -> int:
        """Number of events that it delays."""
        return len(self.batch.starts) if self.batch else 0

    def as_json(self) -> dict[str, Any]:
        """Return the fault for `GET /sandbox/faults`."""
        return {"id": self.id, "left": self.hits_left, "held": self.delayed_count, **self.fault.model_dump()}

    def consume_hit(self) -> bool:
        """Decide by chance and the remaining hits if it hits this time; count the hit."""
        if self.hits_left == 0 or self.rng.random() >= self.fault.share:
            return False
        if self.hits_left is not None:
            self.hits_left -= 1
        return True

    def release_batch(self) -> None:
        """Release the events that it delays."""
        if self.batch is not None:
            self.batch.ready.set()
            self.batch = None


class DelayingFault(NamedTuple):
    """A fault that delays events."""

    active: ActiveFault
    fault: Late | Reorder


@dataclass(frozen=True, slots=True)
class DeliveryEffects:
    """The combined effects of the active faults on the deliveries of one event."""

    copies: int = 1
    offset: int = 0
    """Seconds added to the signed timestamps."""
    is_forged: bool = False
    is_lost: bool = False
    """Nothing is sent."""
    only: Literal["standard", "legacy"] | None = None
    """The only header family of v3 that is sent; None for both."""
    delayed_by: DelayingFault | None = None
    """Fault that delays it."""
    kinds: tuple[str, ...] = ()
    """Kinds of the faults that were applied."""


class CallEffects(NamedTuple):
    """The combined effects of the active faults on one API call."""

    delay: float = 0.0
    """Additional seconds before the call is carried out."""
    failure: ApiFailure | None = None
    answer: ApiAnswer | None = None


class Faults:
    """All active faults, oldest first."""

    def __init__(self) -> None:
        self._active: list[ActiveFault] = []
        self._ids = itertools.count(1)

    @property
    def active(self) -> list[ActiveFault]:
        """Return the faults that have hits left or delay events; drop the others."""
        self._active = [fault for fault in self._active if fault.hits_left != 0 or fault.batch is not None]
        return list(self._active)

    def add(self, fault: Fault) -> ActiveFault:
        """Activate a fault."""
        active = ActiveFault(next(self._ids), fault, fault.count, random.Random(fault.seed))  # noqa: S311  not a secret
        self._active.append(active)
        return active

    def clear(self, fault_id: int | None = None) -> int:
        """Remove one fault, or all without an id; return the number of removed faults."""
        removed = [active for active in self.active if fault_id in {None, active.id}]
        for active in removed:
            self._active.remove(active)
            active.release_batch()
        return len(removed)

    def effects_on_event(self, event_type: str, line: str | None) -> DeliveryEffects:
        """Return the effects on an event that is about to be sent, and count the hits."""
        effects = DeliveryEffects()
        for active in self._hits(lambda fault: isinstance(fault, DeliveryFault) and fault.matches(event_type, line)):
            effects = replace(_combine(effects, active), kinds=(*effects.kinds, active.fault.kind))
        return effects

    def effects_on_call(self, method: str, path: str) -> CallEffects:
        """Return the effects on an API call, and count the hits; `path` starts with its version, such as `/v3`."""
        effects = CallEffects()
        for active in self._hits(lambda fault: isinstance(fault, ApiFault) and fault.matches(method, path)):
            if isinstance(active.fault, ApiSlow):
                effects = effects._replace(delay=active.fault.seconds)
            elif isinstance(active.fault, ApiFailure):
                effects = effects._replace(failure=active.fault)
            elif isinstance(active.fault, ApiAnswer):
                effects = effects._replace(answer=active.fault)
        return effects

    def _hits(self, matches: Callable[[Fault], bool]) -> Iterator[ActiveFault]:
        applied = set()
        for active in self.active:
            kind = "delay" if isinstance(active.fault, Late | Reorder) else active.fault.kind
            if kind not in applied and matches(active.fault) and active.consume_hit():
                applied.add(kind)
                yield active


def _combine(effects: DeliveryEffects, active: ActiveFault) -> DeliveryEffects:
    match active.fault:
        case Duplicate(times=times):
            return replace(effects, copies=times)
        case Timestamp(offset=offset):
            return replace(effects, offset=offset)
        case Forge() | Lost():
            forged = isinstance(active.fault, Forge)
            return replace(effects, is_forged=effects.is_forged or forged, is_lost=effects.is_lost or not forged)
        case Headers(only=only):
            return replace(effects, only=only)
        case Late() | Reorder() as fault:
            return replace(effects, delayed_by=DelayingFault(active, fault))
        case _:
            return effects
