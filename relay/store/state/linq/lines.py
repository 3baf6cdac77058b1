"""The lines as the relay knows them: what came from each, what Linq tells, and what is wrong with one.

A line is watched, so that its silence means something, if it has a secret of ours or is listed by Linq; with
`[linq.v2]`, whose one subscription spans all lines, also if it had events. A line that Linq took from the account is
not silent but released.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.core.event import Dialect, owner_of
from relay.core.lines import is_line
from relay.metrics import declared
from relay.store.driver.client import ask
from relay.store.keyring.last_seen import LastEvent, last_events
from relay.store.keyring.record import UnusableRecord, parse_record
from relay.store.lines.activity import EventTimes, read_activity, read_event_times
from relay.store.lines.linq_facts import LinqFacts, read_facts
from relay.store.lines.opt_outs import count_opt_outs, lines_with_opt_outs
from relay.store.lines.rhythm import Activity, events_of_a_day
from relay.store.state.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from relay.core.config.relay_toml import RelayConfig
    from relay.store.driver.client import Redis

_DAY_MS = 86_400_000
_DEFAULT_SILENCE = 86_400.0
_FORGOTTEN_MS = 90 * _DAY_MS  # after its last event, a line without a secret that Linq does not list

_NO_FACTS = LinqFacts()
_NO_EVENTS = EventTimes()


@dataclass(frozen=True, slots=True)
class WatchedLine:
    """A line, or `account` or `v2`, from which events come that name no line in their URL."""

    line: str
    last: LastEvent | None = None
    """Its last event; None if it had none."""
    event_times: EventTimes = _NO_EVENTS
    facts: LinqFacts = _NO_FACTS
    account: str | None = None
    """Its account of `[[linq.accounts]]`."""
    is_silent: bool = False
    """True if it has had no event for longer than is usual for it."""
    has_rhythm: bool = False
    """True if that was judged by its usual week, not by `silent_after`."""
    is_watched: bool = False
    """True if its silence would be told."""
    is_missed: bool = False
    """True if Linq released it lately, or relay.toml or a secret still has it although Linq released it."""
    events_last_day: int | None = None
    """None for `account` and `v2`."""
    events_usual_day: float | None = None
    opt_outs: int | None = None
    """Number of handles; None without `[linq] opt_outs`."""


async def read_lines(redis: Redis, config: RelayConfig | None, now_ms: float) -> list[WatchedLine]:
    """Return every line that has a secret, had an event or is listed by Linq, by number; then `account` and `v2`."""
    events, times, facts = await last_events(redis), await read_event_times(redis), await read_facts(redis)
    registered, last = await _registered(redis), {_line_of(owner): event for owner, event in events.items()}
    accounts = {_line_of(owner): name for owner in (*events, *registered) if (name := owner.rpartition("/")[0])}
    known = {line for line in times if line in last or line in facts or _is_recent(times[line], now_ms)}
    opted_out = await lines_with_opt_outs(redis) if config and config.linq.opt_outs else []
    owners = {*opted_out, *last, *facts, *known, *(line for line in map(_line_of, registered) if is_line(line))}
    unread = [line for line in owners - last.keys() if is_line(line)]
    activity = await read_activity(redis, unread, now_ms)
    of_lines = [owner for owner in owners if is_line(owner)]
    counts = await count_opt_outs(redis, of_lines) if config and config.linq.opt_outs else {}
    found = _Reading(config, now_ms, {*map(_line_of, registered)}, accounts)
    return [
        found.line(
            owner,
            _newest(last.get(owner), times.get(owner), activity.get(owner)),
            times.get(owner, _NO_EVENTS),
            facts.get(owner, _NO_FACTS),
            counts.get(owner),
        )
        for owner in sorted(owners)
    ]


def line_samples(lines: Collection[WatchedLine]) -> Iterator[Sample]:
    """Yield the samples of the lines."""
    for each in lines:
        labels = (each.line, each.account) if each.account else (each.line,)
        if each.last is not None:
            yield Sample(declared.LINE_LAST_EVENT, each.last.at_ms / 1000, labels)
            if each.is_watched:
                yield Sample(declared.LINE_SILENT, each.is_silent, labels)
        if each.event_times.inbound_ms is not None:
            yield Sample(declared.LINE_LAST_INBOUND, each.event_times.inbound_ms / 1000, labels)
        if each.event_times.outbound_ms is not None:
            yield Sample(declared.LINE_LAST_OUTBOUND, each.event_times.outbound_ms / 1000, labels)
        if each.event_times.event_ms is not None and each.events_last_day is not None:
            yield Sample(declared.LINE_EVENTS_LAST_DAY, each.events_last_day, labels)
            if each.events_usual_day is not None:
                yield Sample(declared.LINE_EVENTS_USUAL_DAY, each.events_usual_day, labels)
        if each.facts != _NO_FACTS:
            yield Sample(declared.LINE_FLAGGED, each.facts.is_flagged, labels)
            yield Sample(declared.LINE_RELEASED, each.is_missed, labels)
        if each.opt_outs is not None:
            yield Sample(declared.LINE_OPT_OUTS, each.opt_outs, labels)


@dataclass(frozen=True, slots=True)
class _Reading:
    """The surroundings in which a line is judged."""

    config: RelayConfig | None
    now_ms: float
    registered: Collection[str]
    accounts: Mapping[str, str]
    """The account of each line that has a secret or an event in one of `[[linq.accounts]]`."""

    def line(
        self, owner: str, last: LastEvent | None, times: EventTimes, facts: LinqFacts, opt_outs: int | None
    ) -> WatchedLine:
        config, activity = self.config, last.activity if last else Activity()
        is_gone = facts.released_ms is not None
        is_watched = not is_gone and (
            owner in self.registered
            or facts.listed_ms is not None
            or (is_line(owner) and config is not None and config.linq.v2 is not None)
        )
        silent_after = config.linq.silent_after if config else _DEFAULT_SILENCE
        is_late = last is not None and last.is_silent(owner, self.now_ms / 1000, silent_after)
        today, usual = events_of_a_day(activity, self.now_ms) if is_line(owner) else (None, None)
        return WatchedLine(
            line=owner,
            last=last,
            event_times=times,
            facts=facts,
            account=facts.account or self.accounts.get(owner),
            is_silent=is_watched and is_late,
            has_rhythm=last is not None and last.has_rhythm(self.now_ms),
            is_watched=is_watched,
            is_missed=is_gone and self._is_missed(owner, facts.released_ms or 0),
            events_last_day=today,
            events_usual_day=usual,
            opt_outs=opt_outs,
        )

    def _is_missed(self, line: str, released_ms: float) -> bool:
        return self.now_ms - released_ms < _DAY_MS or line in self.registered or line in _named(self.config)


def _named(config: RelayConfig | None) -> set[str]:
    """Return the lines that relay.toml names."""
    if config is None:
        return set()
    lists = (
        config.linq.lines,
        *(topic.lines for topic in config.topics),
        *(each.lines for each in config.subscriptions),
    )
    return {line for lines in lists for line in lines or ()}


def _newest(last: LastEvent | None, times: EventTimes | None, activity: Activity | None) -> LastEvent | None:
    """Return the last event of a line: the ingress knows those of its own URL, the router all that name it."""
    if times is None or times.event_ms is None or (last and last.at_ms >= times.event_ms):
        return last
    if last is None:
        return LastEvent(times.event_ms, 0, activity or Activity())
    return LastEvent(times.event_ms, last.generation, last.activity)


def _is_recent(times: EventTimes, now_ms: float) -> bool:
    return times.event_ms is not None and now_ms - times.event_ms < _FORGOTTEN_MS


def _line_of(owner: str) -> str:
    """Return the line of an owner, of whichever account, since a line belongs to one; other owners as they are."""
    return line if is_line(line := owner.rpartition("/")[2]) else owner


async def _registered(redis: Redis) -> set[str]:
    """Return the owners of secrets that have a line, and v2: a line that was removed is not silent."""
    rows = await ask(redis.hgetall(redis.key.keyring))
    found = {Dialect.V2.value}
    for name, row in rows.items():
        try:
            record = parse_record(name, row)
            found.add(owner_of(Dialect.V3, record.line, record.account) if record.line else "")
        except UnusableRecord as error:
            found.add(error.owner)
    return found
