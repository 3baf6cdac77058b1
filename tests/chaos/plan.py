"""Plan of a run, from a seed: the kind, time and length of each fault. Pure.

Faults come in rounds: every kind once, in random order. Between two there is a pause; one in five begins while the
former is still under way.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PAUSES = (1.0, 5.0)  # seconds
_OVERLAP = 0.2
_MARGIN = 1.4  # for a busy machine, and for the waits of faults for each other


@dataclass(frozen=True, slots=True)
class Span:
    """Range of the length of a kind of fault, in seconds."""

    shortest: float
    longest: float
    beyond: float = 0.0
    """Seconds that it takes beyond its length, about: to start processes, to wait for their work."""

    def at_most(self, seconds: float) -> Span:
        """Return the span, cut to at most `seconds`."""
        return replace(self, shortest=min(self.shortest, seconds), longest=min(self.longest, seconds))


@dataclass(frozen=True, slots=True)
class Step:
    """A planned fault."""

    kind: str
    pause: float
    """Seconds to wait before it."""
    overlaps: bool
    """True if it begins without waiting for the end of the fault before it."""
    seconds: float
    dice: int
    """Seed of its other random choices."""


def steps(seed: int, kinds: Mapping[str, Span]) -> Iterator[Step]:
    """Yield the steps of a run, without end; the same for the same arguments."""
    dice = random.Random(seed)
    while True:
        yield from round_of(dice, kinds)


def round_of(dice: random.Random, kinds: Mapping[str, Span]) -> list[Step]:
    """Return a round: every kind once."""
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
    """Estimate the length of a round; traffic must last as long for every kind of fault to meet some."""
    lengths = ((span.shortest + span.longest) / 2 + span.beyond for span in kinds.values())
    return _MARGIN * sum(length + sum(_PAUSES) / 2 for length in lengths)
