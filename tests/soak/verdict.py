"""Check every promise of the table of semantics (deploy/docs/pull.md) against the records of a soak. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from math import inf
from typing import TYPE_CHECKING

from relay.consumer.tasks import ALONE
from tests.chaos.verdict import Promise
from tests.soak.records import Begun, Ended, Entry, GroupRecord, Pause, Records, Release

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

GRACE = 2.0
"""Seconds beyond a bound: processes start and share a machine's cores with all others."""
_SLOW = 0.5
"""Seconds of a handler from which what waits behind it in its member counts as waiting for it."""
_DELETING = 0.5
"""Seconds that a deletion may take from its recorded time."""
_READING = 1.5
"""Seconds after SIGTERM in which a read that was under way may still bring events."""
_QUEUED = frozenset({"routed", "delete"})
"""Why an event waits that the group reads in its turn; others are looked for."""
_MAX_NAMED = 5


def judge(records: Records) -> list[Promise]:
    """Return every promise with its evidence."""

    def each(check: Callable[[Records, GroupRecord], Iterable[str]]) -> list[str]:
        return [f"{name}: {text}" for name, group in records.groups.items() for text in check(records, group)]

    bound = stall_bound(records)
    return [
        Promise("every event is in the topic exactly once", list(_routed(records))),
        Promise("every event is processed, a dead letter, or was trimmed ahead of the group", each(_lost)),
        Promise("what trimming took is told", each(_told)),
        Promise("events that only one member had are begun in order, for each chat", each(_order)),
        Promise(f"no event waits longer than claim_after and its look-outs: {bound:.1f} s", each(_stalls)),
        Promise(f"what a member hands back is begun within {returned_bound(records):.1f} s", each(_returns)),
        Promise("an event comes again only if its member was killed or the group was deleted", each(_repeats)),
        Promise("a deleted group is made again at its place, and that is told", each(_restored)),
        Promise(
            "what cannot be handled becomes a dead letter after max_deliveries, and nothing else does", each(_dead)
        ),
        Promise("no member ends by itself; after SIGTERM each ends with 0 and leaves nothing", each(_deaths)),
        Promise("the relay's retention removes nothing that a group needs", list(_needed(records))),
        Promise("everything comes to rest", each(_unfinished)),
    ]


def stall_bound(records: Records) -> float:
    """Return the longest that an event may wait: the others look for it each third of `claim_after`."""
    return records.claim_after * 4 / 3 + GRACE


def returned_bound(records: Records) -> float:
    """Return the longest that an event which was handed back may wait; it must differ clearly from a takeover."""
    return min(1 + GRACE, 0.75 * records.claim_after)


def _routed(records: Records) -> Iterator[str]:
    if len(records.routed) != records.accepted:
        yield f"{records.accepted} were accepted, {len(records.routed)} are in the topic"
    yield from _named("more than once in the topic", records.repeated_in_topic)


def done_of(group: GroupRecord) -> set[int]:
    """Return the events that the group has processed."""
    return {ended.number for ended in group.ended if ended.is_done}


def missing_of(records: Records, group: GroupRecord) -> set[int]:
    """Return the events that the group has neither processed nor in its dead letters."""
    return records.routed.keys() - done_of(group) - {letter.number for letter in group.dead}


def _lost(records: Records, group: GroupRecord) -> Iterator[str]:
    yield from _named("lost", sorted(missing_of(records, group) - group.trimmed))


def _told(records: Records, group: GroupRecord) -> Iterator[str]:
    lost = len(missing_of(records, group) & group.trimmed - group.uncountable)
    told = group.told["missed"] + group.told["trimmed"]
    if told < lost:
        yield f"{lost} events were trimmed before they were handled, the members told of {told}"


def _order(records: Records, group: GroupRecord) -> Iterator[str]:
    """Compare the events of each chat that a life began, without those that another life had before, or may have had.

    When a group is deleted, what is beyond its place comes again, and members handle on what they had read ahead. What
    a member hands back before it ends may have been read after it was last asked what it has.
    """
    shared = {number for release in group.releases for number in release.numbers}
    latest: dict[tuple[int, str], Entry] = {}
    wrong: list[int] = []
    for number, life, deliveries, at in group.begun:
        key, entry = (life, records.chats[number]), records.routed[number]
        if deliveries != 1 or number in shared:
            continue
        if any(gone.place < entry and entry[0] / 1000 <= gone.at + _DELETING for gone in group.deletions):
            continue
        latest[key] = max(entry, latest.get(key, entry))
        if entry < latest[key] and not any(
            _may_hand_back(stopping, entry, at, returned_bound(records)) for stopping in group.stopping
        ):
            wrong.append(number)
    yield from _named("begun after a later one of their chat", wrong)


def _may_hand_back(stopping: Pause, entry: Entry, at: float, bound: float) -> bool:
    """Return True if a member that is stopping may have read the event and handed it back, for another to begin it."""
    last_read = min(stopping.ended, stopping.began + _READING)
    return entry[0] / 1000 <= last_read and stopping.began <= at <= last_read + bound


def _stalls(records: Records, group: GroupRecord) -> Iterator[str]:
    bound = stall_bound(records)
    late = [(wait, number) for wait, number, _ in waits_of(records, group) if wait > bound]
    yield from _named("waited too long", [number for _, number in sorted(late, reverse=True)])
    if late:
        yield f"the longest waited {max(late)[0]:.1f} s"


def _returns(records: Records, group: GroupRecord) -> Iterator[str]:
    bound = returned_bound(records)
    late = [(wait, number) for wait, number, kind in waits_of(records, group) if kind == "stop" and wait > bound]
    yield from _named("handed back and begun late", [number for _, number in sorted(late, reverse=True)])
    if late:
        yield f"the longest waited {max(late)[0]:.1f} s"


def waits_of(records: Records, group: GroupRecord) -> Iterator[tuple[float, int, str]]:
    """Yield, for each time that an event was begun, the seconds since it was available, its number, and why it was so.

    It is available when it is routed, and again when its member is killed or hands it back, its handler fails, or the
    group is deleted. What the group has yet to read waits for its turn: its time counts from when the event before it
    was begun. Time in which the group stood still or had no member, or its member was busy with a slow event, is not
    counted.
    """
    releases: dict[int, list[tuple[float, str]]] = defaultdict(list)
    for release in group.releases:
        for number in release.numbers:
            releases[number].append((release.at, release.kind))
    for ended in group.ended:
        if not ended.is_done:
            releases[ended.number].append((ended.at, "fail"))
    ends = {release.life: release.at for release in reversed(group.releases)}
    busy = _busy(group, ends)
    idle = [(pause.began, pause.ended) for pause in group.pauses] + list(_without_members(group, ends, busy))
    turns = sorted((begun.at, records.routed[begun.number]) for begun in group.begun if begun.deliveries == 1)
    for begun in group.begun:
        routed = records.routed[begun.number]
        sources = [(routed[0] / 1000, "routed"), *releases[begun.number]]
        sources += [(deletion.at, "delete") for deletion in group.deletions if routed > deletion.place]
        since, kind = max(source for source in sources if source[0] <= begun.at or source[1] == "routed")
        if begun.at - since > 1 and kind in _QUEUED:
            since = max(since, _turn(turns, routed, begun.at))
        wait = begun.at - since
        if wait > 1:
            wait -= _overlap(since, begun.at, [*idle, *busy.get(begun.life, [])])
        yield wait, begun.number, kind


def _turn(turns: list[tuple[float, Entry]], entry: Entry, at: float) -> float:
    """Return when an event before the entry was last begun for the first time, of those begun before `at`."""
    later = bisect_left(turns, (at, (0, 0)))
    return next((turns[index][0] for index in range(later - 1, -1, -1) if turns[index][1] < entry), 0.0)


def _without_members(
    group: GroupRecord, ends: Mapping[int, float], busy: Mapping[int, list[tuple[float, float]]]
) -> Iterator[tuple[float, float]]:
    """Yield the spans in which no member was there: a life is, from the first event that it begins until it must end.

    Meanwhile it is away while it handles an event alone that was delivered often, since it may kill its process.
    """
    lives: dict[int, tuple[float, float]] = {}
    for item in sorted(group.begun, key=lambda event: event.at):
        began, _ = lives.get(item.life, (item.at, 0.0))
        lives[item.life] = began, ends.get(item.life, inf)
    alone = {(begun.life, begun.at) for begun in group.begun if begun.deliveries >= ALONE}
    there: list[tuple[float, float]] = []
    for life, (began, ended) in lives.items():
        since = began
        for away, back in busy.get(life, []):
            if (life, away) in alone:
                there.append((since, away))
                since = back
        there.append((since, ended))
    until = inf
    for began, ended in sorted(there):
        if began > until:
            yield until, began
        until = ended if until == inf else max(until, ended)


def _busy(group: GroupRecord, ends: Mapping[int, float]) -> dict[int, list[tuple[float, float]]]:
    """Return when each life was busy with a slow event; `ends` are the ends of those that were ended."""
    open_: dict[tuple[int, int], Begun] = {}
    events: list[Begun | Ended] = [*group.begun, *group.ended]
    found: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for item in sorted(events, key=lambda event: event.at):
        if isinstance(item, Begun):
            open_[item.life, item.number] = item
        elif (begun := open_.pop((item.life, item.number), None)) and item.at - begun.at > _SLOW:
            found[item.life].append((begun.at, item.at))
    for (life, _), begun in open_.items():
        if (ended := ends.get(life, 0.0)) - begun.at > _SLOW:
            found[life].append((begun.at, ended))
    return found


def _overlap(since: float, until: float, spans: list[tuple[float, float]]) -> float:
    """Return how long any of the spans was, between two times."""
    total = 0.0
    for began, ended in sorted(spans):
        total += max(0.0, min(until, ended) - max(since, began))
        since = max(since, ended)
    return total


def repeats_of(records: Records, group: GroupRecord) -> Iterator[tuple[int, bool]]:
    """Yield each event that was begun again after it was processed, and True if a kill or a deletion explains that."""
    kills: dict[int, list[Release]] = defaultdict(list)
    for release in group.releases:
        if release.kind == "kill":
            for number in release.numbers:
                kills[number].append(release)
    done: dict[int, float] = {}
    events = [(begun.at, 0, begun.number) for begun in group.begun]
    events += [(ended.at, 1, ended.number) for ended in group.ended if ended.is_done]
    for at, is_done, number in sorted(events):
        if is_done:
            done[number] = at
        elif number in done:
            by_kill = any(done[number] <= kill.at <= at for kill in kills[number])
            entry = records.routed[number]
            by_deletion = any(entry > deletion.place and deletion.at <= at for deletion in group.deletions)
            yield number, by_kill or by_deletion


def _repeats(records: Records, group: GroupRecord) -> Iterator[str]:
    unexplained = [number for number, is_explained in repeats_of(records, group) if not is_explained]
    yield from _named("came again, though their member had time to acknowledge them", unexplained)


def _restored(_: Records, group: GroupRecord) -> Iterator[str]:
    if group.told["restored"] < len(group.deletions):
        yield f"deleted {len(group.deletions)} times, and told {group.told['restored']} times"


def _dead(records: Records, group: GroupRecord) -> Iterator[str]:
    killed: dict[int, int] = defaultdict(int)
    for release in group.releases:
        for number in release.numbers if release.kind == "kill" else ():
            killed[number] += 1
    numbers = {letter.number for letter in group.dead}
    harmless = sorted(n for n in numbers - records.poison if killed[n] < records.max_deliveries)
    yield from _named("dead letters that could be handled", harmless)
    yield from _named("processed though they cannot be", sorted(done_of(group) & records.poison))
    yield from _named(
        "dead letters without all fields", [letter.number for letter in group.dead if not letter.is_whole]
    )
    limit = records.max_deliveries
    yield from _named("dead letters after other deliveries", [x.number for x in group.dead if x.deliveries != limit])
    begun: dict[int, int] = defaultdict(int)
    for one in group.begun:
        begun[one.number] += one.number in records.poison
    often = [number for number, times in begun.items() if times > limit * (1 + len(group.deletions))]
    yield from _named(f"begun more than {limit} times", often)


def _deaths(_: Records, group: GroupRecord) -> list[str]:
    return group.broken


def _needed(records: Records) -> Iterator[str]:
    if records.needed_by_safe_trims:
        yield f"{records.needed_by_safe_trims} entries"


def _unfinished(_: Records, group: GroupRecord) -> Iterator[str]:
    if group.unfinished:
        yield group.unfinished


def _named(what: str, numbers: Iterable[int]) -> Iterator[str]:
    """Yield a line about `numbers` that names the first few, if there are any."""
    found = list(numbers)
    if found:
        more = ", ..." if len(found) > _MAX_NAMED else ""
        yield f"{len(found)} {what}: {', '.join(map(str, found[:_MAX_NAMED]))}{more}"
