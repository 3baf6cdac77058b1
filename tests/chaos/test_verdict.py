"""The verdict on made-up records: what is right is kept, and each single thing that is wrong breaks its promise."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos import verdict
from tests.chaos.linq import ACCEPTED, GIVEN_UP, REFUSED
from tests.chaos.records import DELETE_LANE_GROUPS, Happened, Records, Repeat, TeamRecord, TopicRecord
from tests.chaos.report import as_json, rows_of, totals_of
from tests.chaos.teams import PULL_TOPIC, TEAMS, TOPICS, topic_wants
from tests.chaos.timeline import Timeline
from tests.chaos.verdict import judge, lost

if TYPE_CHECKING:
    from collections.abc import Callable

EVENTS = 40


def flawless() -> Records:
    """A run in which everything went well."""
    return Records(
        states=bytes([ACCEPTED]) * EVENTS,
        linq=Timeline(),
        refused=[],
        topics={name: TopicRecord(bytearray(topic_wants(name, n) for n in range(EVENTS))) for name in TOPICS},
        teams={team.name: TeamRecord(bytes(team.wants(n) for n in range(EVENTS))) for team in TEAMS},
        pulled=TeamRecord(bytes(topic_wants(PULL_TOPIC, n) for n in range(EVENTS))),
        ledger={"balances": True, "code": 0, "subscriptions": []},
        deaths=[],
        troubles=[],
        unrest="",
    )


def with_times(team: TeamRecord, number: int, times: int) -> TeamRecord:
    changed = bytearray(team.times)
    changed[number] = times
    return replace(team, times=bytes(changed))


def with_state(records: Records, number: int, state: int) -> Records:
    states = bytearray(records.states)
    states[number] = state
    return replace(records, states=bytes(states))


def team_with(name: str, number: int, times: int) -> Callable[[Records], Records]:
    return lambda records: replace(
        records, teams={**records.teams, name: with_times(records.teams[name], number, times)}
    )


def topic_with(name: str, number: int, times: int) -> Callable[[Records], Records]:
    def change(records: Records) -> Records:
        records.topics[name].times[number] = times
        return records

    return change


def test_nothing_is_broken_when_all_went_well() -> None:
    records = flawless()
    assert [promise.text for promise in judge(records) if not promise.is_kept] == []
    totals = totals_of(records)
    assert (totals["accepted"], totals["lost"], totals["exactly_once_in_topics"]) == (EVENTS, 0, EVENTS)
    assert as_json(1, records)["kept"]


@pytest.mark.parametrize(
    ("spoil", "promise", "said"),
    [
        (topic_with("everything", 3, 0), "exactly once", "1 missing in everything: 3"),
        (topic_with("everything", 3, 2), "exactly once", "1 more than once in everything: 3"),
        (topic_with("flapping", 1, 1), "exactly once", "1 in flapping and of another line: 1"),
        (team_with("good", 9, 0), "every push team", "1 missing at good: 9"),
        (team_with("hasty", 12, 1), "every push team", "1 at hasty, which did not ask for it: 12"),
        (lambda r: replace(r, pulled=with_times(r.pulled, 5, 0)), "the pull team", "1 missing: 5"),
        (
            lambda r: replace(r, pulled=replace(r.pulled, wrong=["chaos-1 has another body"])),
            "signatures hold",
            "pulled: chaos-1 has another body",
        ),
        (lambda r: replace(r, unrest="inbox: 3"), "comes to rest", "inbox: 3"),
        (lambda r: replace(r, ledger={"code": 1}), "ledger", "relay ledger ended with 1: {'code': 1}"),
        (lambda r: with_state(r, 2, REFUSED), "never refused", "1 events were refused"),
        (lambda r: with_state(r, 2, 0), "never refused", "1 events were never decided"),
        (lambda r: replace(r, deaths=["worker-1 ended by itself with 1"]), "no process", "worker-1 ended by itself"),
        (lambda r: replace(r, troubles=["worker-1.log: Traceback"]), "no bug", "worker-1.log: Traceback"),
    ],
)
def test_each_thing_that_is_wrong_breaks_its_promise_alone(
    spoil: Callable[[Records], Records], promise: str, said: str
) -> None:
    [broken] = [one for one in judge(spoil(flawless())) if not one.is_kept]
    assert promise in broken.text
    assert broken.broken[0].startswith(said)


def test_a_dead_letter_stands_for_a_delivery() -> None:
    records = team_with("hasty", 5, 0)(flawless())
    assert lost(records) == 1
    records.teams["hasty"] = replace(records.teams["hasty"], dead=frozenset({5}))
    assert lost(records) == 0
    assert all(one.is_kept for one in judge(records))


def test_an_event_that_linq_gave_up_may_be_in_a_topic_and_is_then_owed_to_its_teams() -> None:
    records = with_state(flawless(), 7, GIVEN_UP)
    assert [one.broken for one in judge(records) if not one.is_kept] == [["1 events were given up"]]
    records = team_with("good", 7, 0)(records)
    assert ["1 missing at good: 7"] in [one.broken for one in judge(records)]
    records = topic_with("everything", 7, 0)(records)
    assert ["1 missing at good: 7"] not in [one.broken for one in judge(records)]


def test_repeats_of_a_lane_whose_group_was_deleted_are_counted_apart() -> None:
    records = team_with("good", 3, 4)(flawless())
    records.happened.append(Happened(DELETE_LANE_GROUPS, 20, 20, ("good", "hasty")))
    repeats = [Repeat(3, 19, 21), Repeat(3, 25, 26), Repeat(3, 19, 19.5)]  # the second: answered after it, begun before
    records.teams["good"] = replace(records.teams["good"], repeats=repeats)
    totals = totals_of(records)
    assert (totals["repeats"], totals["repeats_of_deleted_groups"]) == (1, 2)
    assert not records.is_owed("flapping", repeats[0])
    assert not records.is_owed("good", Repeat(3, 40, 41))


def test_too_many_repeats_break_the_promise_in_a_run_that_is_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    records = team_with("good", 3, 2)(flawless())
    assert all(one.is_kept for one in judge(records))
    monkeypatch.setattr(verdict, "LONG_ENOUGH", records.pushes)
    [broken] = [one for one in judge(records) if not one.is_kept]
    assert broken.broken[0].startswith(f"1 of {records.pushes} ")


def test_a_long_list_of_events_is_cut_short() -> None:
    records = flawless()
    records.topics["everything"].times[:] = bytes(EVENTS)
    broken: list[Any] = [line for one in judge(records) for line in one.broken]
    assert broken[0] == f"{EVENTS} missing in everything: 0, 1, 2, 3, 4, ..."


def test_the_table_has_a_row_for_each_kind_and_puts_repeats_down_to_the_fault_before_them() -> None:
    linq, got = Timeline(), Timeline()
    for what, at in (("sent", 10.1), ("answered 503", 10.2), ("accepted", 12.5), ("accepted", 31.0), ("sent", 30.1)):
        linq.note(what, at)
    for at in (14.0, 35.0):
        got.note("got", at)
    records = replace(
        flawless(),
        linq=linq,
        happened=[Happened("kill-redis", 10, 12, ("redis",)), Happened("kill-worker", 30, 30.5, ("worker-1",))],
    )
    repeats = [Repeat(1, 8, 9), Repeat(1, 15, 33), Repeat(1, 29.5, 33)]
    records.teams["good"] = replace(records.teams["good"], timeline=got, repeats=repeats)
    none, redis, worker = rows_of(records)
    assert (none.fault, none.times, none.repeats) == ("(none)", 0, 1)
    assert (redis.times, redis.seconds, redis.sent, redis.busy, redis.accepted, redis.repeats) == (1, 2, 1, 1, 0, 1)
    assert [redis.accepts_after, redis.delivers_after] == pytest.approx([0.5, 2.0])
    assert [worker.sent, worker.repeats, worker.delivers_after] == pytest.approx([1, 1, 4.5])
