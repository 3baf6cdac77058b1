"""Mistakes of relay.toml that span tables: duplicate names, unknown topics and teams, refused destinations."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from relay.core.config.egress import Egress, RemoteEgress
from relay.core.config.pairs.shadows import by_name, completed, is_shadow, shadow_mistakes
from relay.core.config.teams import EVERY_TOPIC, Team

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Mistake = tuple[tuple[str | int, ...], str]
"""The path of a value, and the mistake in it."""

Row = dict[str, Any]
Names = dict[str, None]
"""Names in the order of the file."""


def contradictions(
    data: Row, *, are_stored: bool = False, beside: Mapping[str, Row] | None = None
) -> Iterator[Mistake]:
    """Yield the mistakes that span tables.

    Works on raw data, so that these are also found in a file with other mistakes. With `are_stored`, the subscriptions
    are not those of the file: what a team may make itself is less. `beside` are others, by name, that they may shadow.
    """
    egress = _egress(data)
    topics = _names(rows_of(data, "topics"))  # as keys: each of many subscriptions looks its topic up
    for kind in ("topics", "teams", "subscriptions"):
        yield from _duplicates(kind, rows_of(data, kind))
    for position, row in enumerate(rows_of(data, "teams")):
        yield from _unknown_topics(("teams", position, "topics"), row.get("topics"), topics)
    accounts = _names(rows_of(linq, "accounts")) if isinstance(linq := data.get("linq"), dict) else {}
    for position, row in enumerate(rows_of(data, "topics")):
        yield from _unknown_accounts(("topics", position, "account"), row.get("account"), accounts)
    teams = {name: row for row in rows_of(data, "teams") if isinstance(name := row.get("name"), str)}
    yield from _exclusive(data)
    rows = rows_of(data, "subscriptions")
    originals = by_name(rows) | dict(beside or {})
    for position, given in enumerate(rows):
        for key, message in shadow_mistakes(given, originals):
            yield ("subscriptions", position, key), message
        row = completed(given, originals)
        topic = row.get("topic")
        if isinstance(topic, str) and topic not in topics and (topic or not is_shadow(row)):
            yield ("subscriptions", position, "topic"), _no_topic(topic, topics)
        team = row.get("team")
        if isinstance(team, str):
            yield from _team_mistakes(("subscriptions", position, "team"), team, topic, teams, topics)
        owner = teams.get(team) if isinstance(team, str) else None
        destinations = _narrowed(egress, owner)
        if are_stored and owner is not None:
            destinations = RemoteEgress(within=destinations)
        yield from _refused_url(("subscriptions", position, "url"), row, destinations)
    yield from _account_mistakes(data)
    if isinstance(alerts := data.get("alerts"), dict):
        yield from _refused_url(("alerts", "url"), alerts, egress)


def _account_mistakes(data: Row) -> Iterator[Mistake]:
    """Yield what is wrong across the accounts at Linq: names that are used twice, and lines of two accounts."""
    linq = data.get("linq")
    accounts = rows_of(linq, "accounts") if isinstance(linq, dict) else []
    for (_, position, key), mistake in _duplicates("accounts", accounts):
        yield ("linq", "accounts", position, key), mistake
    holders: dict[str, str] = dict.fromkeys(_texts(linq, "lines"), "[linq]") if accounts else {}
    for position, row in enumerate(accounts):
        for place, line in enumerate(_texts(row, "lines")):
            if line in holders:
                known = f"{line} is a line of {holders[line]} already; a line belongs to one account"
                yield ("linq", "accounts", position, "lines", place), known
            holders.setdefault(line, f'account "{row.get("name")}"')


def _texts(row: Any, key: str) -> list[str]:
    values = row.get(key) if isinstance(row, dict) else None
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []


def rows_of(data: Row, kind: str) -> list[Row]:
    """Return the tables `[[kind]]` of a file; anything that is not a table becomes an empty one."""
    rows = data.get(kind)
    return [row if isinstance(row, dict) else {} for row in rows] if isinstance(rows, list) else []


def _names(rows: list[Row]) -> Names:
    return dict.fromkeys(row["name"] for row in rows if isinstance(row.get("name"), str))


def _duplicates(kind: str, rows: list[Row]) -> Iterator[Mistake]:
    seen: Counter[str] = Counter()
    for position, row in enumerate(rows):
        name = row.get("name")
        if isinstance(name, str):
            seen[name] += 1
            if seen[name] > 1:
                yield (kind, position, "name"), f'the name "{name}" is used more than once'


def _no_topic(topic: str, topics: Names) -> str:
    return f'there is no topic "{topic}" (topics: {", ".join(topics) or "none is defined"})'


def _unknown_topics(path: tuple[str | int, ...], granted: Any, topics: Names) -> Iterator[Mistake]:
    for position, topic in enumerate(granted if isinstance(granted, list) else ()):
        if isinstance(topic, str) and topic != EVERY_TOPIC and topic not in topics:
            yield (*path, position), _no_topic(topic, topics)


def _unknown_accounts(path: tuple[str | int, ...], wanted: Any, accounts: Names) -> Iterator[Mistake]:
    for account in wanted if isinstance(wanted, list) else (wanted,):
        if isinstance(account, str) and account not in accounts:
            known = f"accounts: {', '.join(accounts)}" if accounts else "there is no [[linq.accounts]] table"
            yield path, f'there is no account "{account}" ({known}); remove "account", or define it'


def _team_mistakes(
    path: tuple[str | int, ...], team: str, topic: Any, teams: dict[str, Row], topics: Names
) -> Iterator[Mistake]:
    if team not in teams:
        yield path, f'there is no team "{team}" (teams: {", ".join(teams) or "none is defined"})'
        return
    granted = teams[team].get("topics")
    if topic not in topics:  # reported already
        return
    if isinstance(granted, list) and topic not in granted and EVERY_TOPIC not in granted:
        yield path, f'the team "{team}" is not granted the topic "{topic}"; add it to the team\'s topics'


def _exclusive(data: Row) -> Iterator[Mistake]:
    """Yield the subscriptions of exclusive topics but for the first one of each; shadows do not count."""
    exclusive = {row.get("name") for row in rows_of(data, "topics") if row.get("exclusive") is True}
    holders: dict[str, str] = {}
    for position, row in enumerate(rows_of(data, "subscriptions")):
        topic = row.get("topic")
        if isinstance(topic, str) and topic in exclusive and not is_shadow(row):
            holder = holders.setdefault(topic, str(row.get("name")))
            if holder != row.get("name"):
                yield ("subscriptions", position, "topic"), exclusive_topic(topic, holder, str(row.get("name")))


def exclusive_topic(topic: str, holder: str | None, name: str) -> str:
    """Return the mistake of a second subscription, `name`, of an exclusive topic; None hides the name of the first."""
    if holder is None:
        return f'the topic "{topic}" is exclusive, and another subscription has it'
    return (
        f'the topic "{topic}" is exclusive and delivered to "{holder}" already, so "{name}" cannot have it; '
        f'remove one of the two, make it a shadow (shadow_of = "{holder}"), or remove `exclusive` from the topic'
    )


def _refused_url(path: tuple[str | int, ...], row: Row, egress: Egress) -> Iterator[Mistake]:
    if isinstance(url := row.get("url"), str) and "://" in url:  # a reference is checked when it is used
        with suppress(ValueError):  # not a URL, which is reported elsewhere
            if refusal := egress.url_refusal(url):
                yield path, refusal


def _egress(data: Row) -> Egress:
    try:
        return Egress.model_validate(data.get("egress", {}))
    except ValidationError:
        return Egress()


def _narrowed(egress: Egress, team: Row | None) -> Egress:
    """Return the destinations of the subscriptions of a team; its other mistakes are reported elsewhere."""
    try:
        return Team.model_validate(team).narrowed(egress)
    except ValidationError:
        return egress
