from __future__ import annotations

from typing import TYPE_CHECKING

from workers.delivery.sharing.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Sized


class Lane:
    """A lane of a subscription, and how often it was woken."""

    def __init__(self, turns: Turns) -> None:
        self.in_flight: Sized = [None] * 2
        self.looks = 0
        turns.join(self)

    def look(self) -> None:
        self.looks += 1


async def test_lane_whose_turn_it_is_is_woken_and_no_other() -> None:
    turns = Turns()
    first, second, idle = lanes = [Lane(turns) for _ in range(3)]
    turns.wait(first)
    turns.wait(second)
    assert [turns.is_waiting(lane) for lane in lanes] == [True, True, False]
    turns.wake_next()
    assert [lane.looks for lane in lanes] == [1, 0, 0]
    turns.leave(first)
    turns.wake_next()
    assert [lane.looks for lane in lanes] == [1, 1, 0]
    assert turns.load(idle) == (6, 1)


async def test_lane_that_reads_keeps_its_place_and_the_next_one_is_woken() -> None:
    turns = Turns()
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


async def test_lane_that_ends_wakes_the_next() -> None:
    turns = Turns()
    ending, waiting = (Lane(turns) for _ in range(2))
    turns.wait(ending)
    turns.wait(waiting)
    turns.part(ending)
    assert (waiting.looks, turns.in_flight) == (1, 2)
