"""Learning: a fact that collapses is lost within a few events; mixtures, odd events and silence are no change."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay.contracts import learning
from relay.contracts.facts import FACTS, Pair, Tally
from relay.contracts.learning import NEW_TYPE, NEW_VERSION, SETTLED_MS, accept, begin, learn, newness_of
from tests.properties import quick

RECEIVED = Pair("message.received", "2026-02-03")
NOW = 1_789_377_302_000
TYPES, VERSIONS = frozenset({"message.received", "message.read"}), frozenset({"v2", "2026-02-03"})


def tally(events: int, chats: int) -> Tally:
    """Return counts of events of which some have a chat, and all the rest of the facts."""
    return Tally(events, {**dict.fromkeys(FACTS, events), "chat": chats})


def after(*chats_of_events: bool | tuple[int, int]) -> learning.Contract:
    """Return the contract after events, each with or without a chat, or counts of several with and without."""
    contract = begin(RECEIVED, NOW)
    for each in chats_of_events:
        chats, others = each if isinstance(each, tuple) else (int(each), int(not each))
        contract = learn(contract, tally(chats + others, chats), NOW).contract
    return contract


def test_chat_that_no_event_has_any_more_is_lost_within_20_events() -> None:
    for sizes in ([1] * 20, [7, 7, 6], [20]):
        for usual in (learning.ENOUGH, 64, 5000):
            contract = after((usual, 0), *((0, size) for size in sizes))
            assert contract.lost == ("chat",), (sizes, usual)


def test_chat_that_a_third_of_the_events_lacks_is_lost() -> None:
    assert not after((1000, 0), *((7, 3) for _ in range(4))).lost
    assert after((1000, 0), *((7, 3) for _ in range(5))).lost == ("chat",)


@quick
@given(st.integers(2, 60))
def test_one_odd_event_in_ten_changes_nothing(events: int) -> None:
    assert not after((1000, 0), *((9, 1) for _ in range(events))).changes


@quick
@given(st.lists(st.booleans(), max_size=49))
def test_little_experience_is_no_reason_for_an_alarm(chats: list[bool]) -> None:
    assert not after(*chats).changes


def test_fact_that_events_often_lack_may_be_away_for_long() -> None:
    assert not after((500, 500), (0, 399)).changes
    assert after((500, 500), (0, 400)).lost == ("chat",)
    assert not after((10, 990), (0, 5000)).changes


def test_comparison_does_not_get_used_to_a_change_and_ends_with_it() -> None:
    lost = after((1000, 0), *((0, 10) for _ in range(500)))
    assert lost.lost == ("chat",)
    back = learn(lost, tally(10, 10), NOW)
    assert (back.contract.lost, back.ended) == ((), ("lost_chat",))


def test_accepted_change_is_learned_anew() -> None:
    known = accept(after((1000, 0), (0, 20)))
    assert not known.changes
    assert not learn(known, tally(5000, 0), NOW).contract.changes
    assert learn(known, tally(5000, 5000), NOW).contract.shares["chat"].so_far == 1


def test_only_what_the_release_does_not_know_is_new() -> None:
    def new(event_type: str, version: str, known: dict[Pair, int]) -> tuple[str, ...]:
        return newness_of(Pair(event_type, version), known, TYPES, VERSIONS, NOW)

    assert new("message.read", "2026-02-03", {}) == ()
    assert new("message.teleported", "2026-02-03", {}) == (NEW_TYPE,)
    assert new("message.read", "2027-01-01", {RECEIVED: NOW}) == (NEW_VERSION,)
    assert new("message.read", "2027-01-01", {Pair("message.received", "2027-01-01"): NOW}) == ()
    assert new("message.read", "v2", {RECEIVED: NOW}) == ()
    assert new("message.read", "v2", {RECEIVED: NOW - SETTLED_MS}) == (NEW_VERSION,)
