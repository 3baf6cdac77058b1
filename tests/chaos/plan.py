"""The plan of a run: which fault comes when, for how long, from a seed. Pure.

Faults come in rounds: every kind once, in an order of its own. Between two there is a pause; one in five begins while
the former is still under way.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PAUSES = (1.0, 5.0)  # seconds
_OVERLAP = 0.2
_MARGIN = 1.4  # for what a fault takes beyond its span: to start processes, to wait for its turn


@dataclass(frozen=True, slots=True)
class Span:
    """How long a kind of fault may last, in seconds."""

    shortest: float
    longest: float

    def at_most(self, seconds: float) -> Span:
        """The same, but not longer than `seconds`."""
        return Span(min(self.shortest, seconds), min(self.longest, seconds))


@dataclass(frozen=True, slots=True)
class Step:
    """One fault to come."""

    kind: str
    pause: float
    """Seconds to wait before it."""
    overlaps: bool
    """Whether it begins without waiting for the end of the one before."""
    seconds: float
    dice: int
    """The seed of whatever else is left to chance in it."""


def steps(seed: int, kinds: Mapping[str, Span]) -> Iterator[Step]:
    """The steps of a run, without end; the same for the same arguments."""
    dice = random.Random(seed)
    while True:
        yield from round_of(dice, kinds)


def round_of(dice: random.Random, kinds: Mapping[str, Span]) -> list[Step]:
    """Every kind once."""
    order = sorted(kinds)
    dice.shuffle(order)
    return [
        Step(
            kind,
            pause=dice.uniform(*_PAUSES),
            overlaps=dice.random() < _OVERLAP,
            seconds=dice.uniform(kinds[kind].shortest, kinds[kind].longest),
            dice=dice.getrandbits(32),
        )
        for kind in order
    ]


def seconds_of_a_round(kinds: Mapping[str, Span]) -> float:
    """How long a round takes, roughly: traffic has to last for as long, if every kind is to meet some."""
    return _MARGIN * sum((span.shortest + span.longest) / 2 + sum(_PAUSES) / 2 for span in kinds.values())
