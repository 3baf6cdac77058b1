from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from workers.delivery.sharing import turns as turns_module
from workers.delivery.sharing.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Sized

on_each = pytest.mark.parametrize("are_kept", [False, True], ids=["servers", "one server"])


class Lane:
    """A lane of a subscription, and how often it was woken."""

    def __init__(self, turns: Turns) -> None:
        self.in_flight: Sized = [None] * 2
        self.looks = 0
        turns.join(self)

    def look(self) -> None:
        self.looks += 1


@on_each
async def test_lane_whose_turn_it_is_is_woken_and_no_other(*, are_kept: bool) -> None:
    turns = Turns(are_kept=are_kept)
    first, second, idle = lanes = [Lane(turns) for _ in range(3)]
    turns.wait(first)
    turns.wait(second)
    assert [turns.is_waiting(lane) for lane in lanes] == [True, True, False]
    turns.wake_next()
    assert [lane.looks for lane in lanes] == [1, 0, 0]
    turns.leave(first)
    turns.wake_next()
    assert [lane.looks for lane in lanes] == [1, 1, 0]
    in_flight, left = turns.load(idle)
    assert in_flight == 6
    assert left == 1 or (are_kept and left > 1_000_000)
    assert turns.load(second) == (6, 0)


async def test_lane_that_reads_keeps_its_place_and_on_another_server_the_next_one_is_woken() -> None:
    turns = Turns(are_kept=False)
    reading, waiting, other = (Lane(turns) for _ in range(3))
    turns.wait(reading)
    assert turns.is_waiting(reading)
    turns.begin(reading)
    assert not turns.is_waiting(reading)
    turns.wait(waiting)
    turns.wake_next()
    assert (reading.looks, waiting.looks) == (0, 1)
    assert [turns.load(lane) for lane in (reading, waiting, other)] == [(6, 0), (6, 1), (6, 2)]
    assert turns.leave(reading)
    assert not turns.leave(reading)
    assert turns.load(waiting) == (6, 0)


async def test_others_on_the_same_server_wait_for_a_lane_that_reads() -> None:
    turns = Turns(are_kept=True)
    reading, waiting, other = (Lane(turns) for _ in range(3))
    turns.wait(reading)
    turns.begin(reading)
    turns.wait(waiting)
    turns.wake_next()
    assert (reading.looks, waiting.looks) == (0, 0)
    assert turns.load(reading) == (6, 0)
    assert all(turns.load(lane)[1] > 1_000_000 for lane in (waiting, other))
    turns.leave(reading)
    turns.wake_next()
    assert waiting.looks == 1


@on_each
async def test_lane_that_reads_for_too_long_is_passed(monkeypatch: pytest.MonkeyPatch, *, are_kept: bool) -> None:
    monkeypatch.setattr(turns_module, "LOOK_AGAIN", 0.0)
    turns = Turns(are_kept=are_kept)
    reading, waiting = (Lane(turns) for _ in range(2))
    turns.wait(reading)
    turns.begin(reading)
    turns.wait(waiting)
    turns.wake_next()
    assert waiting.looks == 1
    assert turns.load(waiting) == (4, 0)


@on_each
async def test_turn_is_kept_on_one_server_by_the_first_lane(*, are_kept: bool) -> None:
    turns = Turns(are_kept=are_kept)
    first, second, idle = (Lane(turns) for _ in range(3))
    turns.wait(first)
    turns.wait(second)
    assert [turns.keeps(lane) for lane in (first, second, idle)] == [are_kept, False, False]
    turns.leave(first)
    assert turns.keeps(second) == are_kept
    turns.wait(first)
    assert not turns.keeps(first)


async def test_turn_is_not_kept_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(are_kept=True)
    lane = Lane(turns)
    turns.wait(lane)
    assert turns.keeps(lane)
    turns.leave(lane)
    monkeypatch.setattr(turns_module, "_MAX_TURN", 0.0)
    turns.wait(lane)
    assert not turns.keeps(lane)


async def test_lane_that_ends_wakes_the_next() -> None:
    turns = Turns(are_kept=True)
    ending, waiting = (Lane(turns) for _ in range(2))
    turns.wait(ending)
    turns.wait(waiting)
    turns.part(ending)
    assert (waiting.looks, turns.in_flight) == (1, 2)
