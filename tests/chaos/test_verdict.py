"""The verdict on made-up records: each single error breaks its promise and no other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos import verdict
from tests.chaos.events import LINES, ORDERED_LINE, chat_of, shard_of_event
from tests.chaos.linq import ACCEPTED, GIVEN_UP, REFUSED
from tests.chaos.records import (
    DELETE_LANE_GROUPS,
    FAIL_OVER,
    SILENCE_DNS,
    FaultRecord,
    First,
    Records,
    Repeat,
    TeamRecord,
    TopicRecord,
    Watch,
)
from tests.chaos.report import as_json, rows_of, totals_of
from tests.chaos.teams import ORDERED, PULL_TOPIC, SHORT_TOPIC, STRICT, TEAMS, TOPICS, topic_wants
from tests.chaos.timeline import Timeline
from tests.chaos.verdict import judge, lost

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.teams import Team

EVENTS = 40


def perfect_run() -> Records:
    """Return the records of a run without errors."""
    return Records(
        states=bytes([ACCEPTED]) * EVENTS,
        linq=Timeline(),
        refused=[],
        topics={name: TopicRecord(bytearray(topic_wants(name, n) for n in range(EVENTS))) for name in TOPICS},
        teams={team.name: TeamRecord(bytes(team.wants(n) for n in range(EVENTS))) for team in TEAMS},
        pulled=TeamRecord(bytes(topic_wants(PULL_TOPIC, n) for n in range(EVENTS))),
        ledger={"balances": True, "code": 0, "subscriptions": [row_of(team) for team in TEAMS]},
        deaths=[],
        log_errors=[],
        unfinished="",
    )


def row_of(team: Team) -> dict[str, Any]:
    """Return the row of a team in the ledger."""
    routed = sum(topic_wants(team.topic, number) for number in range(EVENTS))
    return {
        "subscription": team.name,
        "routed": routed,
        "waiting": 0,
        "retrying": 0,
        "dead": 0,
        "lost": 0,
        "balances": True,
    }


def with_row(**counts: int) -> Callable[[Records], Records]:
    """Return a change of the good team's row in the ledger."""

    def change(records: Records) -> Records:
        records.ledger["subscriptions"][0].update(counts)
        return records

    return change


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
        for team, row in zip(TEAMS, records.ledger["subscriptions"], strict=True):
            if team.topic == name:
                row["routed"] = sum(records.topics[name].times)
        return records

    return change


def test_perfect_run_keeps_every_promise() -> None:
    records = perfect_run()
    assert [promise.text for promise in judge(records) if not promise.is_kept] == []
    totals = totals_of(records)
    assert (totals["accepted"], totals["lost"], totals["exactly_once_in_topics"]) == (EVENTS, 0, EVENTS)
    assert as_json(1, records)["kept"]


@pytest.mark.parametrize(
    ("spoil", "text", "evidence"),
    [
        (topic_with("everything", 3, 0), "exactly once", "1 missing in everything: 3"),
        (topic_with("everything", 3, 2), "exactly once", "1 more than once in everything: 3"),
        (topic_with("flapping", 1, 1), "exactly once", "1 in flapping and of another line: 1"),
        (team_with("good", 9, 0), "every push team", "1 missing at good: 9"),
        (team_with("hasty", 12, 1), "every push team", "1 at hasty, which is not subscribed to them: 12"),
        (lambda r: replace(r, pulled=with_times(r.pulled, 5, 0)), "the pull team", "1 missing: 5"),
        (
            lambda r: replace(r, pulled=replace(r.pulled, wrong=["chaos-1 has another body"])),
            "signatures verify",
            "pulled: chaos-1 has another body",
        ),
        (lambda r: replace(r, unfinished="inbox: 3"), "comes to rest", "inbox: 3"),
        (lambda r: replace(r, ledger={"code": 1}), "ledger", "relay ledger ended with 1: None"),
        (with_row(waiting=200), "ledger", "good: waiting 200 in the ledger, 0 in the streams"),
        (with_row(routed=41), "ledger", "good: routed 41 in the ledger, 40 in the streams"),
        (lambda r: replace(r, evidence=["workers left 3"]), "does not stop", "workers left 3"),
        (lambda r: with_state(r, 2, REFUSED), "never refused", "1 events were refused"),
        (lambda r: with_state(r, 2, 0), "never refused", "1 events were never decided"),
        (lambda r: replace(r, deaths=["worker-1 ended by itself with 1"]), "no process", "worker-1 ended by itself"),
        (lambda r: replace(r, log_errors=["worker-1.log: Traceback"]), "no traceback", "worker-1.log: Traceback"),
    ],
)
def test_each_error_breaks_its_promise_only(spoil: Callable[[Records], Records], text: str, evidence: str) -> None:
    [broken] = [promise for promise in judge(spoil(perfect_run())) if not promise.is_kept]
    assert text in broken.text
    assert broken.broken[0].startswith(evidence)


def with_dead_letter(records: Records, name: str, number: int) -> Records:
    records.teams[name] = replace(records.teams[name], dead=frozenset({number}), dead_letters=1)
    next(row for row in records.ledger["subscriptions"] if row["subscription"] == name)["dead"] = 1
    return records


def test_dead_letter_counts_as_delivered() -> None:
    records = team_with("hasty", 5, 0)(perfect_run())
    assert lost(records) == 1
    records = with_dead_letter(records, "hasty", 5)
    assert lost(records) == 0
    assert all(promise.is_kept for promise in judge(records))


def test_dead_letter_of_the_strict_team_breaks_a_promise() -> None:
    records = with_dead_letter(perfect_run(), STRICT, 6)
    assert [promise.broken for promise in judge(records) if not promise.is_kept] == [["1 at strict: 6"]]


def test_short_topic_may_be_trimmed_but_not_before_its_teams() -> None:
    records = topic_with(SHORT_TOPIC, 6, 0)(perfect_run())
    assert all(promise.is_kept for promise in judge(records))
    records = team_with(STRICT, 6, 0)(records)
    assert [promise.broken for promise in judge(records) if not promise.is_kept] == [["1 missing at strict: 6"]]


def test_watched_fault_must_not_stop_linq_or_the_strict_team() -> None:
    linq, good, strict = Timeline(), Timeline(), Timeline()
    linq.record("unanswered", 118.0, 2)
    linq.record("accepted", 118.0, 500)
    good.record("got", 118.0, 400)
    strict.record("got", 118.0, 10)
    records = replace(perfect_run(), linq=linq, watches=[Watch(SILENCE_DNS, 110, 120)])
    for name, timeline in (("good", good), (STRICT, strict)):
        records.teams[name] = replace(records.teams[name], timeline=timeline)
    [broken] = [promise.broken for promise in judge(records) if not promise.is_kept]
    assert broken == [
        "silence-dns: 2 requests of Linq unanswered",
        "silence-dns: the strict team got 10 events, the good team 400",
    ]
    other = replace(records, faults=[FaultRecord("kill-worker", 105, 111)])  # then it may be that one's fault
    assert all(promise.is_kept for promise in judge(other))
    quiet = replace(records, linq=Timeline())  # the good team may have a backlog, the strict one none
    assert all(promise.is_kept for promise in judge(quiet))
    brief = replace(records, watches=[Watch(SILENCE_DNS, 115, 120)])
    assert all(promise.is_kept for promise in judge(brief))


def test_event_given_up_by_linq_is_owed_if_in_a_topic() -> None:
    records = with_state(perfect_run(), 7, GIVEN_UP)
    assert [promise.broken for promise in judge(records) if not promise.is_kept] == [["1 events were given up on"]]
    records = team_with("good", 7, 0)(records)
    assert ["1 missing at good: 7"] in [promise.broken for promise in judge(records)]
    records = topic_with("everything", 7, 0)(records)
    assert ["1 missing at good: 7"] not in [promise.broken for promise in judge(records)]


def test_repeats_after_group_deletion_are_counted_apart() -> None:
    records = team_with("good", 3, 4)(perfect_run())
    records.faults.append(FaultRecord(DELETE_LANE_GROUPS, 20, 20, ("good", "hasty")))
    repeats = [
        Repeat(3, 19, 21),
        Repeat(3, 25, 26),
        Repeat(3, 19, 19.5),
    ]  # the second: it was settled before the lane noticed the deletion
    records.teams["good"] = replace(records.teams["good"], repeats=repeats)
    totals = totals_of(records)
    assert (totals["repeats"], totals["repeats_of_losses"]) == (1, 2)
    assert not records.loss_before("flapping", repeats[0])
    assert not records.loss_before("good", Repeat(3, 90, 91))


@pytest.mark.parametrize("kind", [FAIL_OVER, "kill-redis", "sleep-redis"])
def test_repeats_after_a_lost_primary_are_counted_apart(kind: str) -> None:
    records = team_with("good", 3, 3)(perfect_run())
    records.faults.append(FaultRecord(kind, 20, 30, ("redis",), moved=frozenset({0})))
    before, during, after = Repeat(4, 10, 31), Repeat(3, 21, 31), Repeat(3, 30.1, 31)
    records.teams["good"] = replace(records.teams["good"], repeats=[before, during, after])
    assert totals_of(records)["repeats_of_losses"] == 1
    assert records.prompt_repeats == 2


def test_repeats_after_a_fault_of_redis_count_if_the_primary_stayed() -> None:
    records = team_with("good", 3, 2)(perfect_run())
    records.faults.append(FaultRecord("stop-redis", 20, 30, ("redis",)))
    records.teams["good"] = replace(records.teams["good"], repeats=[Repeat(3, 21, 31)])
    assert totals_of(records)["repeats_of_losses"] == 0
    assert records.prompt_repeats == 1


def test_too_many_repeats_break_the_promise_in_a_long_run(monkeypatch: pytest.MonkeyPatch) -> None:
    records = team_with("good", 3, 2)(perfect_run())
    assert all(promise.is_kept for promise in judge(records))
    records.teams["good"] = replace(records.teams["good"], repeats=[Repeat(3, 19, 21)])
    records.teams["dripping"] = replace(records.teams["dripping"], repeats=[Repeat(4, 19, 21)] * 20)
    monkeypatch.setattr(verdict, "LONG_ENOUGH", records.prompt_pushes)
    [broken] = [promise for promise in judge(records) if not promise.is_kept]
    assert broken.broken[0].startswith(f"1 of {records.prompt_pushes} ")


def test_long_list_of_events_is_truncated() -> None:
    records = perfect_run()
    for number in range(EVENTS):
        records = topic_with("everything", number, 0)(records)
    broken: list[Any] = [line for promise in judge(records) for line in promise.broken]
    assert broken[0] == f"{EVENTS} missing in everything: 0, 1, 2, 3, 4, ..."


def test_table_attributes_repeats_to_the_fault_before_them() -> None:
    linq, got = Timeline(), Timeline()
    for what, at in (("sent", 10.1), ("answered 503", 10.2), ("accepted", 12.5), ("accepted", 31.0), ("sent", 30.1)):
        linq.record(what, at)
    for at in (14.0, 35.0):
        got.record("got", at)
    records = replace(
        perfect_run(),
        linq=linq,
        faults=[
            FaultRecord("kill-redis", 10, 12, ("redis",)),
            FaultRecord("kill-worker", 30, 30.5, ("worker-1",)),
            FaultRecord("stop-redis", 50, 60, ("redis",), moved=frozenset({0})),
        ],
    )
    repeats = [Repeat(1, 8, 9), Repeat(1, 15, 33), Repeat(1, 29.5, 33), Repeat(2, 55, 61)]
    records.teams["good"] = replace(records.teams["good"], timeline=got, repeats=repeats)
    none, redis, worker, moved = rows_of(records)
    assert (none.fault, none.times, none.repeats) == ("(none)", 0, 1)
    assert (moved.repeats, moved.of_losses, moved.moved, worker.of_losses) == (1, 1, 1, 0)
    assert (redis.times, redis.seconds, redis.sent, redis.busy, redis.accepted, redis.repeats) == (1, 2, 1, 1, 0, 1)
    assert [redis.accepts_after, redis.delivers_after] == pytest.approx([0.5, 2.0])
    assert [worker.sent, worker.repeats, worker.delivers_after] == pytest.approx([1, 1, 4.5])


def with_order(order: list[int], firsts: list[First]) -> Records:
    """Return a run in which the team whose events have an order got these, and the topic has that order."""
    records = perfect_run()
    team = next(team for team in TEAMS if team.name == ORDERED)
    records.topics[team.topic].order[:] = order
    records.teams[ORDERED] = replace(records.teams[ORDERED], firsts=firsts)
    return records


FIRST, SECOND = ORDERED_LINE, ORDERED_LINE + len(LINES) * 12  # of one chat
OTHER = ORDERED_LINE + len(LINES)


def test_event_after_a_later_one_of_its_chat_breaks_the_order() -> None:
    assert chat_of(FIRST) == chat_of(SECOND) != chat_of(OTHER)
    late = with_order([FIRST, SECOND, OTHER], [First(SECOND, 1), First(FIRST, 2), First(OTHER, 3)])
    [broken] = [promise for promise in judge(late) if not promise.is_kept]
    assert broken.broken == [f"1 at {ORDERED} after a later one of their chat: {FIRST}"]
    other = with_order([FIRST, SECOND, OTHER], [First(OTHER, 0.5), First(FIRST, 1), First(SECOND, 2)])
    assert all(promise.is_kept for promise in judge(other))


def test_order_of_events_routed_by_a_lost_primary_does_not_count() -> None:
    late = with_order([FIRST, SECOND], [First(SECOND, 21), First(FIRST, 40)])
    moved = FaultRecord("kill-redis", 20, 30, ("redis",), moved=frozenset({shard_of_event(SECOND, 4)}))
    elsewhere = replace(moved, moved=frozenset(range(4)) - moved.moved)
    assert all(promise.is_kept for promise in judge(replace(late, faults=[moved], shards=4)))
    assert not all(
        promise.is_kept for promise in judge(replace(late, faults=[replace(moved, moved_by=20.5)], shards=4))
    )
    assert not all(promise.is_kept for promise in judge(replace(late, faults=[elsewhere], shards=4)))
