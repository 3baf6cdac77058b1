"""Check every promise against the records of a run. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.chaos.events import chat_of
from tests.chaos.linq import ACCEPTED, GIVEN_UP, REFUSED
from tests.chaos.teams import ORDERED, PULL_TOPIC, SHORT_TOPIC, STRICT, TEAMS, topic_wants

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.records import First, Records, TeamRecord, Watch

MAX_REPEATS = 0.001
"""Highest share of repeats among pushes to teams that respond at once, for runs that are long enough to tell.

Teams that respond slowly always have many requests in flight, each of which is repeated when its worker ends.
"""
LONG_ENOUGH = 100_000
"""Pushes. A fault costs a few repeats however much traffic there is, so a short run shows a larger share."""

_MAX_NAMED = 5
_RECOVERY = 6.0
"""Seconds that what happened before a watch may still show: the sender's timeout, a lease."""
_MIN_SHARE = 0.5
"""Lowest share, of what is accepted for it and of the good team's rate, that the strict team gets during a watch."""
_ENOUGH = 20
"""Events expected at the strict team, below which nothing is said about the rate."""


@dataclass(frozen=True, slots=True)
class Promise:
    """A promise, and the evidence if it was broken."""

    text: str
    broken: list[str]

    @property
    def is_kept(self) -> bool:
        """True if there is no evidence against it."""
        return not self.broken


def judge(records: Records) -> list[Promise]:
    """Return every promise with its evidence."""
    return [
        Promise(
            "an accepted event is in each of its topics exactly once, and nothing else is there", list(_topics(records))
        ),
        Promise("every push team has each of its events, or there is a dead letter", list(_pushed(records))),
        Promise("the pull team has each of its events", list(_pulled(records))),
        Promise("bodies are as they were sent, and signatures verify", list(_wrong(records))),
        Promise("everything comes to rest", [records.unfinished] if records.unfinished else []),
        Promise("the ledger balances, and says what the streams say", list(_ledger(records))),
        Promise("Linq is never refused, and never gives up", list(_refused(records))),
        Promise("no process ends by itself", records.deaths),
        Promise("the logs have no traceback", records.log_errors),
        Promise("a healthy team without retries has no dead letter", list(_charged(records))),
        Promise("what affects one party does not stop the others", [*records.evidence, *_stopped(records)]),
        Promise("a team gets the events of a chat in order if it asks for that", list(_order(records))),
        Promise(
            f"of {LONG_ENOUGH} pushes or more to prompt teams, under {MAX_REPEATS:.1%} are repeats",
            list(_repeats(records)),
        ),
    ]


def lost(records: Records) -> int:
    """Count the accepted events that are missing in a topic or at a team."""
    missing: set[int] = set()
    for name in records.topics:
        missing.update(_missing_in_topic(records, name))
    for team in TEAMS:
        missing.update(_missing_at_team(records, team.name, team.topic))
    missing.update(_missing_at(records, records.pulled, PULL_TOPIC))
    return len(missing)


def exact(records: Records) -> int:
    """Count the accepted events that are in each of their topics exactly once."""
    amiss: set[int] = set()
    for name, topic in records.topics.items():
        amiss.update(_missing_in_topic(records, name))
        amiss.update(number for number, times in enumerate(topic.times) if times > 1)
    return records.states.count(ACCEPTED) - len([number for number in amiss if records.states[number] == ACCEPTED])


def _topics(records: Records) -> Iterator[str]:
    for name, topic in records.topics.items():
        yield from _named(f"missing in {name}", _missing_in_topic(records, name))
        yield from _named(f"more than once in {name}", (n for n, times in enumerate(topic.times) if times > 1))
        strangers = (n for n, times in enumerate(topic.times) if times and not topic_wants(name, n))
        yield from _named(f"in {name} and of another line", strangers)
        yield from (f"{name}: {wrong}" for wrong in topic.wrong)


def _pushed(records: Records) -> Iterator[str]:
    for team in TEAMS:
        yield from _named(f"missing at {team.name}", _missing_at_team(records, team.name, team.topic))
        strangers = (n for n, times in enumerate(records.teams[team.name].times) if times and not team.wants(n))
        yield from _named(f"at {team.name}, which is not subscribed to them", strangers)


def _pulled(records: Records) -> Iterator[str]:
    yield from _named("missing", _missing_at(records, records.pulled, PULL_TOPIC))


def _wrong(records: Records) -> Iterator[str]:
    for name, team in records.teams.items():
        yield from (f"{name}: {wrong}" for wrong in team.wrong)
    yield from (f"pulled: {wrong}" for wrong in records.pulled.wrong)


def _ledger(records: Records) -> Iterator[str]:
    if records.ledger.get("code") != 0:
        yield f"relay ledger ended with {records.ledger.get('code')}: {records.ledger.get('totals')}"
    rows = {row["subscription"]: row for row in records.ledger.get("subscriptions", ())}
    yield from (f"does not balance: {row}" for row in rows.values() if not row["balances"])
    for team in TEAMS:
        known = {"waiting": 0, "retrying": 0, "lost": 0, "dead": records.teams[team.name].dead_letters}
        if team.topic != SHORT_TOPIC:
            known["routed"] = sum(records.topics[team.topic].times)
        for what, count in known.items() if team.name in rows else ():
            if rows[team.name][what] != count:
                yield f"{team.name}: {what} {rows[team.name][what]} in the ledger, {count} in the streams"


def _charged(records: Records) -> Iterator[str]:
    if dead := records.teams[STRICT].dead_letters:
        yield f"{dead} at {STRICT}: {', '.join(map(str, sorted(records.teams[STRICT].dead)[:_MAX_NAMED]))}"


def _stopped(records: Records) -> Iterator[str]:
    """Yield what Linq and the healthy teams missed while a fault of others was the only one."""
    of_all, of_good = _shares(records)
    for watch in records.watches:
        since, until = watch.began + _RECOVERY, watch.ended
        if since >= until or not _is_alone(watch, records):
            continue
        for what in ("unanswered", "answered 503"):
            if count := records.linq.count(what, since, until):
                yield f"{watch.kind}: {count} requests of Linq {what}"
        good, strict = (records.teams[name].timeline.count("got", since, until) for name in (TEAMS[0].name, STRICT))
        expected = min(good * of_good, records.linq.count("accepted", since, until) * of_all)
        if expected >= _ENOUGH and strict < _MIN_SHARE * expected:
            yield f"{watch.kind}: the strict team got {strict} events, the good team {good}"


def _is_alone(watch: Watch, records: Records) -> bool:
    return not any(
        fault.kind != watch.kind and fault.began < watch.ended and watch.began < fault.ended for fault in records.faults
    )


def _shares(records: Records) -> tuple[float, float]:
    """Return the events that the strict team wants as shares of all, and of those that the good team wants."""
    strict = next(team for team in TEAMS if team.name == STRICT)
    numbers = range(len(records.states))
    wanted = sum(map(strict.wants, numbers))
    return wanted / max(len(numbers), 1), wanted / max(sum(map(TEAMS[0].wants, numbers)), 1)


def _refused(records: Records) -> Iterator[str]:
    for state, what in ((REFUSED, "refused"), (GIVEN_UP, "given up on"), (0, "never decided")):
        if count := records.states.count(state):
            yield f"{count} events were {what}"
    yield from records.refused


def _order(records: Records) -> Iterator[str]:
    """Yield the events that came after a later one of their chat.

    Left out are those of which the first push was from a primary that was lost afterwards, on either side.
    """
    team = next(team for team in TEAMS if team.name == ORDERED)
    places = {number: place for place, number in enumerate(records.topics[team.topic].order)}
    latest: dict[str, First] = {}
    late = []
    for first in records.teams[ORDERED].firsts:
        if first.number not in places or records.is_from_lost_primary(first):
            continue
        before = latest.setdefault(chat_of(first.number), first)
        if places[before.number] <= places[first.number]:
            latest[chat_of(first.number)] = first
        else:
            late.append(first.number)
    yield from _named(f"at {ORDERED} after a later one of their chat", iter(late))


def _repeats(records: Records) -> Iterator[str]:
    pushes, count = records.prompt_pushes, records.prompt_repeats
    if pushes >= LONG_ENOUGH and count > MAX_REPEATS * pushes:
        yield f"{count} of {pushes} ({count / pushes:.3%}), without those of deletions and lost primaries"


def _missing_in_topic(records: Records, name: str) -> Iterator[int]:
    if name == SHORT_TOPIC:  # it is trimmed; what it had is checked at its teams
        return
    times = records.topics[name].times
    for number, state in enumerate(records.states):
        if state == ACCEPTED and not times[number] and topic_wants(name, number):
            yield number


def _missing_at_team(records: Records, name: str, topic: str) -> Iterator[int]:
    team = next(team for team in TEAMS if team.name == name)
    return (number for number in _missing_at(records, records.teams[name], topic) if team.wants(number))


def _missing_at(records: Records, team: TeamRecord, topic: str) -> Iterator[int]:
    """Yield events that are in the topic, or were accepted for it, but are neither at the team nor dead letters."""
    times = records.topics[topic].times
    for number, state in enumerate(records.states):
        is_owed = times[number] or (state == ACCEPTED and topic_wants(topic, number))
        if is_owed and not team.times[number] and number not in team.dead:
            yield number


def _named(what: str, numbers: Iterator[int]) -> Iterator[str]:
    """Yield a line about `numbers` that names the first few, if there are any."""
    found = list(numbers)
    if found:
        more = ", ..." if len(found) > _MAX_NAMED else ""
        yield f"{len(found)} {what}: {', '.join(map(str, found[:_MAX_NAMED]))}{more}"
