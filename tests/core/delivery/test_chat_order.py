from __future__ import annotations

import random
from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from relay.core.delivery.chat_order import ChatOrder


def chat_order(*refs: tuple[str, int]) -> ChatOrder[tuple[str, int]]:
    """Return a chat order of refs that encode their chat and position."""
    turns: ChatOrder[tuple[str, int]] = ChatOrder()
    for chat, order in refs:
        turns.add((chat, order), chat, order)
    return turns


def test_only_the_oldest_delivery_of_a_chat_starts() -> None:
    turns = chat_order(("a", 2), ("a", 1), ("b", 3))
    assert [turns.start(ref) for ref in (("a", 2), ("a", 1), ("b", 3))] == [False, True, True]


def test_settling_returns_the_next_delivery() -> None:
    turns = chat_order(("a", 1), ("a", 2))
    assert turns.start(("a", 1))
    assert turns.remove(("a", 1)) == ("a", 2)
    assert turns.start(("a", 2))
    assert turns.remove(("a", 2)) is None
    assert len(turns) == 0


def test_waiting_delivery_keeps_its_place() -> None:
    turns = chat_order(("a", 1), ("a", 2))
    assert turns.start(("a", 1))
    assert turns.wait(("a", 1)) is None
    assert not turns.start(("a", 2))
    assert turns.start(("a", 1))


def test_older_delivery_added_late_is_next() -> None:
    turns = chat_order(("a", 5))
    assert turns.start(("a", 5))
    turns.add(("a", 1), "a", 1)
    assert not turns.start(("a", 1))
    assert turns.wait(("a", 5)) == ("a", 1)
    assert not turns.start(("a", 5))
    assert turns.start(("a", 1))
    assert turns.remove(("a", 1)) == ("a", 5)


def test_out_of_order_removal_keeps_the_order() -> None:
    turns = chat_order(("a", 1), ("a", 2), ("a", 3))
    assert turns.remove(("a", 2)) == ("a", 1)
    assert turns.start(("a", 1))
    assert turns.remove(("a", 1)) == ("a", 3)


def test_delivery_without_a_chat_always_starts() -> None:
    turns = chat_order()
    assert turns.start(("", 1))
    assert turns.remove(("", 1)) is None
    assert turns.wait(("", 1)) is None


def test_joining_is_idempotent() -> None:
    turns = chat_order(("a", 1), ("a", 1))
    assert len(turns) == 1
    assert turns.remove(("a", 1)) is None


def test_delivery_in_flight_can_be_started_again() -> None:
    turns = chat_order(("a", 1))
    assert turns.start(("a", 1))
    assert turns.start(("a", 1))


def test_blocked_chat_waits_until_unblocked() -> None:
    turns = chat_order(("a", 1), ("b", 2))
    assert turns.block({"a": ("a", 0)}) == [("a", 0)]
    assert not turns.start(("a", 1))
    assert turns.start(("b", 2))
    assert turns.block({}) == [("a", 1)]
    assert turns.start(("a", 1))


def test_removed_delivery_can_block_its_chat() -> None:
    turns = chat_order(("a", 1), ("a", 2))
    turns.block_chat("a", ("a", 1))
    assert turns.remove(("a", 1)) == ("a", 2)
    assert not turns.start(("a", 2))
    assert turns.block({"a": ("a", 9)}) == [("a", 9)]
    assert turns.block({}) == [("a", 2)]
    assert turns.start(("a", 2))


def test_blocking_delivery_can_start_from_any_position() -> None:
    turns = chat_order(("a", 1), ("a", 2))
    turns.block({"a": ("a", 2)})
    assert [turns.start(("a", 1)), turns.start(("a", 2))] == [False, True]


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 5), st.integers(0, 2**32))
def test_each_chat_is_sequential_and_in_order(chats: list[int], room: int, seed: int) -> None:
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
