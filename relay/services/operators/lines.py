"""Lines: their activity against their usual week, what Linq reports about them, who takes them, and their secrets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from relay.core.access.scopes import Scope
from relay.core.config.teams import EVERY_TOPIC
from relay.core.errors import NotFound
from relay.core.event import ACCOUNT
from relay.core.lines import is_line
from relay.services.access import subscriptions_of, team_of
from relay.store.keyring.keyring import read_records
from relay.store.lines.rhythm import HOUR_MS
from relay.store.state.linq.lines import WatchedLine, read_lines
from relay.store.teams.teams import stored_teams

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from relay.core.access.principal import Principal
    from relay.core.config.relay_toml import RelayConfig
    from relay.core.config.teams import Team
    from relay.core.config.topics import Topic
    from relay.services.context import Context
    from relay.store.keyring.last_seen import LastEvent

_DAYS = 14
_HOURS = 24


class LineHealth(StrEnum):
    """State of a line; the worst of those that it has."""

    FAILED = "failed"
    """A stored secret of it cannot be used."""
    RELEASED = "released"
    """Linq took it from the account."""
    SILENT = "silent"
    """It has had no event for longer than is usual for it."""
    FLAGGED = "flagged"
    """Linq has flagged it, or calls its reputation critical."""
    ACTIVE = "active"
    NEW = "new"
    """It has not had an event yet."""


@dataclass(frozen=True, slots=True)
class Generation:
    """A generation of a line's Linq subscription, without its secret."""

    number: int
    subscription_id: str
    """Linq's id of the subscription."""
    stored_at: int
    """Unix seconds."""
    retire_at: int | None
    """Unix seconds: when its successor replaces it, or when it was found missing at Linq; None if neither."""


@dataclass(frozen=True, slots=True)
class Day:
    """The events of a line in a day of UTC."""

    begin_ms: int
    """Its begin, Unix milliseconds."""
    events: int


@dataclass(frozen=True, slots=True)
class LineState:
    """A line; or `account` and `v2`, from which events come that name no line in their URL."""

    line: str
    state: LineHealth
    account: str | None
    """The name of its account at Linq; None where only one is configured."""
    kind: str | None
    """`iMessage` or `RCS`; None if Linq has not told."""
    status: str | None
    """`ACTIVE` or `FLAGGED`, by Linq's last event about it."""
    reputation: str | None
    """`HEALTHY`, `AT_RISK` or `CRITICAL`."""
    listed_ms: int | None
    """Time at which Linq last listed it; Unix milliseconds, as the others."""
    released_ms: int | None
    """Time at which Linq took it from the account; None if it is there."""
    last_event_ms: int | None
    """None if there was none."""
    last_inbound_ms: int | None
    last_outbound_ms: int | None
    events_last_day: int | None
    """Events in the last 24 hours; None for `account` and `v2`."""
    events_usual_day: float | None
    """The mean of the same hours in the weeks before; None until the line has been known for two weeks."""
    is_silent: bool
    """True if it has had no event for longer than is usual for it."""
    has_rhythm: bool
    """True if that was judged by its usual week, not by `[linq] silent_after`."""
    teams: tuple[str, ...]
    """Teams that own a subscription to it, or are granted a topic that takes it by name; a team sees itself only."""
    topics: tuple[str, ...]
    """Topics that take it, of those that the principal sees."""
    subscriptions: tuple[str, ...]
    """Push subscriptions that take it, of those that the principal sees."""
    opt_outs: int | None
    """Handles that have opted out of it; None without `[linq] opt_outs`."""
    days: tuple[Day, ...] = ()
    """Its last two weeks by day, of one line only."""
    last_generation: int | None = None
    """The generation of the secret that verified the last event; None where that is not shown."""
    generations: tuple[Generation, ...] = ()
    """By number."""
    fault: str = ""
    """The reason why a stored secret cannot be used; empty if all can be read."""


async def list_lines(context: Context, principal: Principal) -> list[LineState]:
    """Return the lines, by number.

    An operator gets all that have a secret, had an event, are listed by Linq or named by a topic; a team those that its
    topics take, without their secrets.
    """
    principal.require(Scope.READ)
    config = await context.config()
    teams = await _teams(context, config, principal)
    found = {each.line: each for each in await read_lines(context.redis, config, context.now_ms)}
    for line in _named(config, principal):
        found.setdefault(line, _unknown(line, config))
    if not principal.is_operator:
        seen = [each for each in found.values() if _topics(config, principal, each.line)]
        return [_state(config, principal, teams, each) for each in sorted(seen, key=lambda each: each.line)]
    records, broken = await read_records(context.redis)
    generations: dict[str, list[Generation]] = {}
    for record in records:
        generation = Generation(record.generation, record.subscription_id, record.stored_at, record.retire_at)
        generations.setdefault(record.line or ACCOUNT, []).append(generation)
    faults = {error.owner: str(error) for error in broken}
    for line in (*generations, *faults):
        found.setdefault(line, _unknown(line, config))
    return [
        _with_secrets(
            _state(config, principal, teams, each), each.last, generations.get(line, ()), faults.get(line, "")
        )
        for line, each in sorted(found.items())
    ]


async def get_line(context: Context, principal: Principal, line: str) -> LineState:
    """Return a line, with its last two weeks by day.

    Raises:
        NotFound: there is no such line, or it is not one that the topics of the team take.
    """
    lines = {each.line: each for each in await list_lines(context, principal)}
    if line not in lines:
        raise unknown_line(line, lines)
    found = next((each for each in await read_lines(context.redis, None, context.now_ms) if each.line == line), None)
    if found is None or found.last is None or not is_line(line):
        return lines[line]
    return replace(lines[line], days=_days(found.last, context.now_ms))


async def check_line(context: Context, principal: Principal, line: str) -> None:
    """Check that the principal sees a line.

    Raises:
        NotFound: it does not, or there is none.
    """
    lines = [each.line for each in await list_lines(context, principal)]
    if line not in lines:
        raise unknown_line(line, lines)


def unknown_line(line: str, known: Iterable[str]) -> NotFound:
    """Return the error about a line that does not exist."""
    return NotFound(f'no line "{line}" (known: {", ".join(known) or "none"})')


def _state(
    config: RelayConfig, principal: Principal, teams: Mapping[str, Team | None], watched: WatchedLine
) -> LineState:
    line, facts = watched.line, watched.facts
    topics = _topics(config, principal, line)
    return LineState(
        line=line,
        state=_word(watched),
        account=watched.account,
        kind=facts.kind,
        status=facts.status,
        reputation=facts.reputation,
        listed_ms=facts.listed_ms,
        released_ms=facts.released_ms,
        last_event_ms=watched.last.at_ms if watched.last else None,
        last_inbound_ms=watched.event_times.inbound_ms,
        last_outbound_ms=watched.event_times.outbound_ms,
        events_last_day=watched.events_last_day,
        events_usual_day=watched.events_usual_day,
        is_silent=watched.is_silent,
        has_rhythm=watched.has_rhythm,
        teams=tuple(name for name, team in teams.items() if _owns(config, name, team, line)),
        topics=tuple(topic.name for topic in topics),
        subscriptions=tuple(
            name
            for name, each in subscriptions_of(config, principal).items()
            if _takes(each.lines, line) and each.topic in {topic.name for topic in topics}
        ),
        opt_outs=watched.opt_outs,
    )


def _with_secrets(state: LineState, last: LastEvent | None, generations: Iterable[Generation], fault: str) -> LineState:
    return replace(
        state,
        state=LineHealth.FAILED if fault else state.state,
        last_generation=last.generation if last else None,
        generations=tuple(sorted(generations, key=lambda generation: generation.number)),
        fault=fault,
    )


def _word(watched: WatchedLine) -> LineHealth:
    if watched.facts.released_ms is not None:
        return LineHealth.RELEASED
    if watched.is_silent:
        return LineHealth.SILENT
    if watched.facts.is_flagged:
        return LineHealth.FLAGGED
    return LineHealth.ACTIVE if watched.last else LineHealth.NEW


async def _teams(context: Context, config: RelayConfig, principal: Principal) -> dict[str, Team | None]:
    """Return the teams that the principal sees, by name; None for one that is only named by a subscription."""
    teams: dict[str, Team | None] = {
        name: stored.team for name, stored in (await stored_teams(context.redis).all()).items()
    }
    teams |= config.teams_by_name
    owners = {team_of(each) for each in config.subscriptions} - {None}
    known = {name: teams.get(name) for name in sorted({*teams, *filter(None, owners)})}
    return {name: team for name, team in known.items() if principal.owns(name)}


def _owns(config: RelayConfig, name: str, team: Team | None, line: str) -> bool:
    """Return True if a team has a subscription to a line, or is granted a topic that takes it."""
    if any(
        team_of(each) == name and _takes(each.lines, line) and _topic_takes(config, each.topic, line)
        for each in config.subscriptions
    ):
        return True
    granted = () if team is None or EVERY_TOPIC in team.topics else team.topics
    return any(_topic_takes(config, topic, line) for topic in granted)


def _topic_takes(config: RelayConfig, name: str, line: str) -> bool:
    return any(topic.name == name and _takes(topic.lines, line) for topic in config.topics)


def _topics(config: RelayConfig, principal: Principal, line: str) -> list[Topic]:
    return [topic for topic in config.topics if principal.sees_topic(topic.name) and _takes(topic.lines, line)]


def _takes(lines: tuple[str, ...] | None, line: str) -> bool:
    return is_line(line) and (lines is None or line in lines)


def _named(config: RelayConfig, principal: Principal) -> set[str]:
    return {line for topic in config.topics if principal.sees_topic(topic.name) for line in topic.lines or ()}


def _unknown(line: str, config: RelayConfig) -> WatchedLine:
    """Return a line of which nothing is known yet."""
    return WatchedLine(line, opt_outs=0 if config.linq.opt_outs and is_line(line) else None)


def _days(last: LastEvent, now_ms: int) -> tuple[Day, ...]:
    midnight = datetime.fromtimestamp(now_ms / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    begins = [midnight - timedelta(days=back) for back in range(_DAYS - 1, -1, -1)]
    first_hours = [round(begin.timestamp() * 1000) // HOUR_MS for begin in begins]
    return tuple(
        Day(hour * HOUR_MS, sum(last.activity.count(each) for each in range(hour, hour + _HOURS)))
        for hour in first_hours
    )
