from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.soak.records import Begun, DeadLetter, Deletion, Ended, GroupRecord, Pause, Records, Release
from tests.soak.report import row_of
from tests.soak.verdict import judge

if TYPE_CHECKING:
    from collections.abc import Callable

POISON = 9


def good() -> Records:
    """Return a run in which all was kept: ten events, one a second, a kill at 4.5 s, a poisonous event."""
    group = GroupRecord("go", kills=1, stops=1)
    for number in range(9):
        handle(group, number, 1, at=number + 0.1)
    group.releases.append(Release("kill", 3, 4.5, frozenset({4})))
    handle(group, 4, 2, at=14.0, deliveries=2)
    for number, at in enumerate((9.1, 19.1, 29.1), 1):
        group.begun.append(Begun(POISON, 2, number, at))
        group.ended.append(Ended(POISON, 2, at, is_done=False))
    group.dead.append(DeadLetter(POISON, "max_deliveries", 3, is_whole=True))
    return Records(
        claim_after=10.0,
        max_deliveries=3,
        poison=frozenset({POISON}),
        routed={number: (1000 * number, 0) for number in range(10)},
        chats=dict.fromkeys(range(10), "chat"),
        groups={"go": group},
        accepted=10,
    )


def handle(group: GroupRecord, number: int, life: int, at: float, deliveries: int = 1) -> None:
    group.begun.append(Begun(number, life, deliveries, at))
    group.ended.append(Ended(number, life, at + 0.01, is_done=True))


def broken(records: Records) -> list[str]:
    return [text for promise in judge(records) for text in promise.broken]


def forget(group: GroupRecord, number: int) -> None:
    group.begun = [begun for begun in group.begun if begun.number != number]
    group.ended = [ended for ended in group.ended if ended.number != number]


def lose(group: GroupRecord) -> None:
    forget(group, 7)


def trim_silently(group: GroupRecord) -> None:
    forget(group, 7)
    group.trimmed.add(7)


def swap(group: GroupRecord) -> None:
    forget(group, 5)
    handle(group, 5, 1, at=6.5)


def stall(group: GroupRecord) -> None:
    forget(group, 8)
    handle(group, 8, 2, at=24.0)


def stall_after_kill(group: GroupRecord) -> None:
    forget(group, 8)
    group.releases.append(Release("kill", 3, 9.0, frozenset({8})))
    handle(group, 8, 2, at=25.0, deliveries=2)


def return_late(group: GroupRecord) -> None:
    forget(group, 8)
    group.releases.append(Release("stop", 3, 9.0, frozenset({8})))
    handle(group, 8, 2, at=14.0)


def repeat(group: GroupRecord) -> None:
    handle(group, 7, 2, at=8.0, deliveries=2)


def delete_silently(group: GroupRecord) -> None:
    group.deletions.append(Deletion(8.5, (8000, 0)))


def bury_harmless(group: GroupRecord) -> None:
    group.dead.append(DeadLetter(3, "max_deliveries", 3, is_whole=True))


def bury_too_late(group: GroupRecord) -> None:
    group.dead[:] = [DeadLetter(POISON, "max_deliveries", 7, is_whole=True)]


def bury_a_part(group: GroupRecord) -> None:
    group.dead[:] = [DeadLetter(POISON, "max_deliveries", 3, is_whole=False)]


def begin_often(group: GroupRecord) -> None:
    group.begun.append(Begun(POISON, 2, 3, 39.1))


def die(group: GroupRecord) -> None:
    group.broken.append("life 3 ended by itself with 1")


def leave_unfinished(group: GroupRecord) -> None:
    group.unfinished = "3 pending and 0 unread events"


def test_good_run_keeps_every_promise() -> None:
    records = good()
    assert broken(records) == []
    row = row_of(records, records.groups["go"])
    assert row | {"processed": 9, "dead": 1, "repeats": 1, "unexplained": 0, "longest_kill_s": 9.5} == row


@pytest.mark.parametrize(
    ("spoil", "evidence"),
    [
        (lose, "1 lost: 7"),
        (trim_silently, "1 events were trimmed before they were handled, the members told of 0"),
        (swap, "1 begun after a later one of their chat: 5"),
        (stall, "1 waited too long: 8"),
        (stall_after_kill, "1 waited too long: 8"),
        (return_late, "1 handed back and begun late: 8"),
        (repeat, "1 came again, though their member had time to acknowledge them: 7"),
        (delete_silently, "deleted 1 times, and told 0 times"),
        (bury_harmless, "1 dead letters that could be handled: 3"),
        (bury_too_late, "1 dead letters after other deliveries: 9"),
        (bury_a_part, "1 dead letters without all fields: 9"),
        (begin_often, "1 begun more than 3 times: 9"),
        (die, "life 3 ended by itself with 1"),
        (leave_unfinished, "3 pending and 0 unread events"),
    ],
)
def test_each_broken_promise_is_found(spoil: Callable[[GroupRecord], None], evidence: str) -> None:
    records = good()
    spoil(records.groups["go"])
    assert f"go: {evidence}" in broken(records)


def test_trimmed_events_that_are_told_are_no_loss() -> None:
    records = good()
    group = records.groups["go"]
    trim_silently(group)
    group.told["missed"] = 1
    assert broken(records) == []


def test_nothing_is_told_where_redis_cannot_count() -> None:
    records = good()
    group = records.groups["go"]
    trim_silently(group)
    group.uncountable.add(7)
    assert broken(records) == []


def test_repeats_after_a_deletion_are_explained() -> None:
    records = good()
    group = records.groups["go"]
    group.deletions.append(Deletion(8.5, (6000, 0)))
    group.told["restored"] = 1
    for number in (8, 7):
        handle(group, number, 1, at=9.5 - number / 100)
    assert broken(records) == []
    handle(group, 6, 1, at=9.7)  # it is at the place, not beyond it
    assert "go: 1 came again, though their member had time to acknowledge them: 6" in broken(records)


def test_wait_for_a_slow_event_and_in_a_pause_is_not_counted() -> None:
    records = good()
    group = records.groups["go"]
    forget(group, 7)
    forget(group, 8)
    group.begun.append(Begun(7, 1, 1, 7.1))
    group.ended.append(Ended(7, 1, 21.0, is_done=True))
    group.pauses.append(Pause(21.0, 27.0))
    handle(group, 8, 1, at=28.0)
    assert broken(records) == []


def test_group_that_lags_does_not_stall() -> None:
    records = good()
    group = records.groups["go"]
    for number in (5, 6, 7, 8):
        forget(group, number)
        handle(group, number, 1, at=4.2 + 7 * (number - 4))
    assert broken(records) == []
    forget(group, 6)
    handle(group, 6, 1, at=45.0)  # it alone, while later ones were begun
    assert "go: 1 waited too long: 6" in broken(records)


@pytest.mark.parametrize(("ended", "is_late"), [(29.2, True), (9.2, False)])
def test_wait_while_there_is_no_member_is_not_counted(ended: float, *, is_late: bool) -> None:
    records = good()
    group = records.groups["go"]
    for number in (4, 8, POISON):
        forget(group, number)
    group.releases += [Release("stop", 1, 8.2, frozenset({8, POISON})), Release("kill", 2, ended, frozenset())]
    handle(group, 4, 2, at=8.3)
    handle(group, 8, 4, at=40.0)
    assert ("go: 1 handed back and begun late: 8" in broken(records)) == is_late


@pytest.mark.parametrize(("deliveries", "is_late"), [(2, True), (3, False)])
def test_wait_while_the_only_member_handles_a_dangerous_event_is_not_counted(deliveries: int, *, is_late: bool) -> None:
    records = good()
    group = records.groups["go"]
    for number in (4, 8, POISON):
        forget(group, number)
    group.releases += [Release("stop", 1, 8.2, frozenset({8}))]
    group.begun.append(Begun(4, 2, deliveries, 8.3))
    group.ended.append(Ended(4, 2, 19.9, is_done=True))
    group.releases += [Release("kill", 2, 20.0, frozenset())]
    handle(group, 8, 3, at=20.5)
    assert ("go: 1 handed back and begun late: 8" in broken(records)) == is_late
