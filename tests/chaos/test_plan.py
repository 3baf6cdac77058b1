from __future__ import annotations

import random
from itertools import islice

import pytest

from tests.chaos.plan import Span, round_of, seconds_of_a_round, steps

KINDS = {"kill": Span(0.2, 3), "stop": Span(0.5, 12), "flush": Span(0, 0)}


def test_plan_depends_on_the_seed_only() -> None:
    first, again, other = (list(islice(steps(seed, KINDS), 30)) for seed in (7, 7, 8))
    assert first == again != other


def test_round_has_every_kind_once_within_its_span() -> None:
    for seed in range(50):
        planned = round_of(random.Random(seed), KINDS)
        assert sorted(step.kind for step in planned) == sorted(KINDS)
        assert all(KINDS[step.kind].shortest <= step.seconds <= KINDS[step.kind].longest for step in planned)


def test_some_faults_overlap() -> None:
    overlapping = [step.overlaps for step in islice(steps(1, KINDS), 600)]
    assert 60 < sum(overlapping) < 180


def test_span_can_be_cut_short() -> None:
    assert Span(0.5, 12).at_most(3) == Span(0.5, 3)
    assert Span(2, 12).at_most(1) == Span(1, 1)


def test_round_length_includes_pauses() -> None:
    kinds = {"kill": Span(1, 3), "flush": Span(0, 0), "roll": Span(0, 0, beyond=8)}
    assert seconds_of_a_round(kinds) == pytest.approx(1.4 * (2 + 3 + 0 + 3 + 8 + 3))
