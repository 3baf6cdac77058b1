from __future__ import annotations

import random
from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from relay.core.delivery.chat_order import ChatOrder


def line_up(*refs: tuple[str, int]) -> ChatOrder[tuple[str, int]]:
    """Turns in which each ref is its chat and its order."""
    turns: ChatOrder[tuple[str, int]] = ChatOrder()
    for chat, order in refs:
        turns.add((chat, order), chat, order)
    return turns


def test_of_one_chat_only_the_oldest_may_go() -> None:
    turns = line_up(("a", 2), ("a", 1), ("b", 3))
    assert [turns.start(ref) for ref in (("a", 2), ("a", 1), ("b", 3))] == [False, True, True]


def test_the_next_one_is_named_when_one_is_settled() -> None:
    turns = line_up(("a", 1), ("a", 2))
    assert turns.start(("a", 1))
    assert turns.remove(("a", 1)) == ("a", 2)
    assert turns.start(("a", 2))
    assert turns.remove(("a", 2)) is None
    assert len(turns) == 0


def test_waiting_delivery_keeps_its_place() -> None:
    turns = line_up(("a", 1), ("a", 2))
    assert turns.start(("a", 1))
    assert turns.wait(("a", 1)) is None
    assert not turns.start(("a", 2))
    assert turns.start(("a", 1))


def test_older_delivery_added_late_is_next() -> None:
    turns = line_up(("a", 5))
    assert turns.start(("a", 5))
    turns.add(("a", 1), "a", 1)
    assert not turns.start(("a", 1))
    assert turns.wait(("a", 5)) == ("a", 1)
    assert not turns.start(("a", 5))
    assert turns.start(("a", 1))
    assert turns.remove(("a", 1)) == ("a", 5)


def test_removal_out_of_turn_keeps_the_order() -> None:
    turns = line_up(("a", 1), ("a", 2), ("a", 3))
    assert turns.remove(("a", 2)) == ("a", 1)
    assert turns.start(("a", 1))
    assert turns.remove(("a", 1)) == ("a", 3)


def test_one_without_a_chat_always_may() -> None:
    turns = line_up()
    assert turns.start(("", 1))
    assert turns.remove(("", 1)) is None
    assert turns.wait(("", 1)) is None


def test_joining_twice_is_joining_once() -> None:
    turns = line_up(("a", 1), ("a", 1))
    assert len(turns) == 1
    assert turns.remove(("a", 1)) is None


def test_delivery_in_flight_can_be_started_again() -> None:
    turns = line_up(("a", 1))
    assert turns.start(("a", 1))
    assert turns.start(("a", 1))


def test_blocked_chat_starts_nothing_until_unblocked() -> None:
    turns = line_up(("a", 1), ("b", 2))
    assert turns.block({"a": ("a", 0)}) == [("a", 0)]
    assert not turns.start(("a", 1))
    assert turns.start(("b", 2))
    assert turns.block({}) == [("a", 1)]
    assert turns.start(("a", 1))


def test_removed_delivery_can_block_its_chat() -> None:
    turns = line_up(("a", 1), ("a", 2))
    turns.hold("a", ("a", 1))
    assert turns.remove(("a", 1)) == ("a", 2)
    assert not turns.start(("a", 2))
    assert turns.block({"a": ("a", 9)}) == [("a", 9)]
    assert turns.block({}) == [("a", 2)]
    assert turns.start(("a", 2))


def test_blocking_delivery_can_start_from_any_position() -> None:
    turns = line_up(("a", 1), ("a", 2))
    turns.block({"a": ("a", 2)})
    assert [turns.start(("a", 1)), turns.start(("a", 2))] == [False, True]


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 5), st.integers(0, 2**32))
def test_each_chat_is_served_in_order_one_at_a_time(chats: list[int], room: int, seed: int) -> None:
    chance = random.Random(seed)
    turns: ChatOrder[int] = ChatOrder()
    arriving = list(enumerate(chats))
    in_hand: set[int] = set()
    under_way: list[int] = []
    settled: defaultdict[int, list[int]] = defaultdict(list)
    while arriving or in_hand or under_way:
        if arriving and chance.random() < 0.5:
            ref, chat = arriving.pop(0)
            turns.add(ref, str(chat), ref)
            in_hand.add(ref)
        going = [ref for ref in sorted(in_hand)[: room - len(under_way)] if turns.start(ref)]
        assert going or arriving or under_way, "nobody may go"
        in_hand.difference_update(going)
        under_way += going
        assert len({chats[ref] for ref in under_way}) == len(under_way)
        if under_way:
            ref = under_way.pop(chance.randrange(len(under_way)))
            if chance.random() < 0.3:
                turns.wait(ref)
                in_hand.add(ref)
            else:
                turns.remove(ref)
                settled[chats[ref]].append(ref)
    assert all(refs == sorted(refs) for refs in settled.values())
    assert len(turns) == 0
