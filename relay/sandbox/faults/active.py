"""The faults in force, and what they do to an event or a call.

Faults of different kinds add up; of several of one kind, the oldest that hits counts. What hits an event hits all its
deliveries, retries included, and an event is held back by one fault at most. A fault that is cleared lets go what it
holds.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from relay.sandbox.faults.models import (
    ApiFailure,
    ApiFault,
    ApiSlow,
    DeliveryFault,
    Duplicate,
    Forge,
    Headers,
    Late,
    Reorder,
    Timestamp,
)

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from relay.sandbox.faults.models import Fault

    Start = Callable[[datetime | None], None]
    """Begins the deliveries of one event; with a time, marked as reconciled then."""


@dataclass(slots=True, eq=False)
class Batch:
    """Events that a fault holds back together."""

    ready: asyncio.Event
    starts: list[Start] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Active:
    """A fault in force."""

    id: int
    fault: Fault
    left: int | None
    """How many it will still hit; None for no end."""
    dice: random.Random
    batch: Batch | None = None
    """What it holds back at the moment."""

    @property
    def held(self) -> int:
        """How many events it holds back."""
        return len(self.batch.starts) if self.batch else 0

    def shown(self) -> dict[str, Any]:
        """The fault for `GET /sandbox/faults`."""
        return {"id": self.id, "left": self.left, "held": self.held, **self.fault.model_dump()}

    def hits(self) -> bool:
        """Whether it hits this time; counts."""
        if self.left == 0 or self.dice.random() >= self.fault.share:
            return False
        if self.left is not None:
            self.left -= 1
        return True

    def let_go(self) -> None:
        """What it holds may leave."""
        if self.batch is not None:
            self.batch.ready.set()
            self.batch = None


class Holder(NamedTuple):
    """A fault that holds events back."""

    active: Active
    fault: Late | Reorder


@dataclass(frozen=True, slots=True)
class Treatment:
    """What the faults in force do to the deliveries of one event."""

    copies: int = 1
    offset: int = 0
    """Seconds that its timestamps are off."""
    is_forged: bool = False
    only: Literal["standard", "legacy"] | None = None
    """The one header family of v3 that is sent; None for both."""
    holder: Holder | None = None
    """The fault that holds it back."""
    kinds: tuple[str, ...] = ()


class Trouble(NamedTuple):
    """What the faults in force do to one call of the API."""

    seconds: float = 0.0
    """How much longer it takes."""
    failure: ApiFailure | None = None


class Faults:
    """The faults in force, oldest first."""

    def __init__(self) -> None:
        self._active: list[Active] = []
        self._ids = itertools.count(1)

    @property
    def active(self) -> list[Active]:
        """Those that will still hit something, or hold something back."""
        self._active = [one for one in self._active if one.left != 0 or one.batch is not None]
        return list(self._active)

    def add(self, fault: Fault) -> Active:
        """Puts a fault in force."""
        active = Active(next(self._ids), fault, fault.count, random.Random(fault.seed))  # noqa: S311  no secret
        self._active.append(active)
        return active

    def clear(self, fault_id: int | None = None) -> int:
        """Ends one fault, or all without an id; how many that were."""
        ending = [active for active in self.active if fault_id in {None, active.id}]
        for active in ending:
            self._active.remove(active)
            active.let_go()
        return len(ending)

    def for_event(self, event_type: str, line: str | None) -> Treatment:
        """What hits an event that is about to be sent."""
        treatment = Treatment()
        for active in self._hitting(lambda fault: isinstance(fault, DeliveryFault) and fault.fits(event_type, line)):
            treatment = replace(_with(treatment, active), kinds=(*treatment.kinds, active.fault.kind))
        return treatment

    def for_call(self, method: str, path: str) -> Trouble:
        """What hits a call of the API; `path` begins with its version, such as `/v3`."""
        trouble = Trouble()
        for active in self._hitting(lambda fault: isinstance(fault, ApiFault) and fault.fits(method, path)):
            if isinstance(active.fault, ApiSlow):
                trouble = trouble._replace(seconds=active.fault.seconds)
            elif isinstance(active.fault, ApiFailure):
                trouble = trouble._replace(failure=active.fault)
        return trouble

    def _hitting(self, fits: Callable[[Fault], bool]) -> Iterator[Active]:
        taken = set()
        for active in self.active:
            kind = "hold" if isinstance(active.fault, Late | Reorder) else active.fault.kind
            if kind not in taken and fits(active.fault) and active.hits():
                taken.add(kind)
                yield active


def _with(treatment: Treatment, active: Active) -> Treatment:
    match active.fault:
        case Duplicate(times=times):
            return replace(treatment, copies=times)
        case Timestamp(offset=offset):
            return replace(treatment, offset=offset)
        case Forge():
            return replace(treatment, is_forged=True)
        case Headers(only=only):
            return replace(treatment, only=only)
        case Late() | Reorder() as fault:
            return replace(treatment, holder=Holder(active, fault))
        case _:
            return treatment
