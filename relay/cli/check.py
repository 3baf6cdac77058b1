"""`relay check`: mistakes and contents of relay.toml."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from relay.cli.command import command, commands
from relay.cli.output import View, print_json, print_table, say
from relay.config.file import load_config
from relay.config.secrets.lookup import account_key
from relay.config.settings import Settings
from relay.core.config.pairs.replies import double_reply_warnings
from relay.core.config.topics import Topic
from relay.core.durations import format_duration
from relay.core.errors import ConfigError, SettingsError
from relay.core.event import Dialect
from relay.core.net.masked_url import masked_url
from relay.core.patterns import matches
from relay.linq.payloads.event_types import SENT_TWICE, unknown_patterns

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from relay.core.config.relay_toml import RelayConfig, Subscription

app = commands()


@command(app, examples=("relay check", "RELAY_CONFIG=next.toml relay check --json"), view=("wide", "json"))
def check(*, view: View) -> None:
    """Check relay.toml; exit code 2 if it cannot be used, with every mistake and its place."""
    settings = Settings.load()
    path = settings.relay_config
    try:
        config = load_config(path).config
    except ConfigError as error:
        if not view.json:
            raise
        print_json({"ok": False, "problems": [{"place": p.place, "message": p.message} for p in error.problems]})
        raise typer.Exit(2) from None
    has_v3 = bool(settings.linq_api_v3_api_key or config.linq.accounts)
    is_v2_alone = bool(settings.linq_v2_token) and not has_v3
    warnings = [*_warnings(config, path), *([] if is_v2_alone else _twice(config))]
    if view.json:
        print_json(
            {
                "ok": True,
                "topics": len(config.topics),
                "subscriptions": len(config.subscriptions),
                "teams": len(config.teams),
                "warnings": warnings,
            }
        )
        return
    rows = [(topic.name, ", ".join(topic.events), _lines(topic), _conditions(topic)) for topic in config.topics]
    print_table("Topics", ("name", "events", "lines", "conditions"), rows, view)
    if config.subscriptions:
        subscriptions = [
            (
                each.name,
                each.topic,
                each.team,
                masked_url(each.url),
                " ".join(map(format_duration, each.retry)) or "never",
            )
            for each in config.subscriptions
        ]
        columns = ("name", "topic", "team", "url", "retry after")
        print_table("Push subscriptions", columns, subscriptions, view)
    if config.shadows:
        print_table("Shadows", ("name", "shadow of"), config.shadows.items(), view)
    if config.teams:
        teams = [
            (each.name, ", ".join(each.topics), each.contact, ", ".join(each.egress or ())) for each in config.teams
        ]
        print_table("Teams", ("name", "topics", "contact", "egress"), teams, view)
    for warning in warnings:
        say(f"warning: {warning}", fg="yellow")
    say(f"{path} is valid.", fg="green")


def _warnings(config: RelayConfig, path: Path) -> list[str]:
    v2_events = config.linq.v2.events if config.linq.v2 else None
    used = [
        *((f"topic {topic.name}", topic.events, tuple(Dialect)) for topic in config.topics),
        ("[linq]", config.linq.events or (), [Dialect.V3]),
        ("[linq.v2]", v2_events or (), [Dialect.V2]),
    ]
    warnings = [
        f'{place}: no known event type matches "{pattern}"{hint}'
        for place, patterns, dialects in used
        for pattern, hint in unknown_patterns(patterns, dialects)
    ]
    if config.linq.accounts and config.linq.v2 is not None:
        warnings.append("[linq.v2] is for one account, that of LINQ_V2_TOKEN; [[linq.accounts]] are at the v3 API")
    for account in config.linq.accounts:
        try:
            account_key(account, path.parent)
        except SettingsError as error:
            warnings += (f"{problem}; it is needed where lines are registered" for problem in error.problems)
    if not config.topics:
        warnings.append("there is no topic, so every event is acknowledged and dropped")
    warnings += [
        f"subscription {each.name}: its certificate is not verified, so any server could impersonate it (see ca_file)"
        for each in config.subscriptions
        if not each.verify_tls
    ]
    if config.linq.v2 is not None:
        topics = {topic.name: topic for topic in config.topics}
        warnings += [
            f'subscription {each.name}: shape = "{each.shape}" does not translate events of the v2 API: it gets '
            "them as Linq sent them, with Relay-Shape: untranslated"
            for each in config.subscriptions
            if each.shape is not None and "v3" not in {each.api, topics[each.topic].api}
        ]
    return warnings + double_reply_warnings(config)


def _twice(config: RelayConfig) -> list[str]:
    """Return a warning for each topic that has the same message through both APIs, to be told apart nowhere."""
    if config.linq.v2 is None:
        return []
    return [
        f'topic {topic.name}: with [linq.v2] it has each message twice, by v3 and by v2; set api = "v3" or "v2" on it, '
        "or on each of its subscriptions"
        for topic in config.topics
        if topic.api is None
        and any(matches(pattern, event_type) for pattern in topic.events for event_type in SENT_TWICE)
        and not _are_told_apart(config.subscriptions_by_topic.get(topic.name, ()))
    ]


def _are_told_apart(subscriptions: Sequence[Subscription]) -> bool:
    return bool(subscriptions) and all(each.api is not None for each in subscriptions)


def _lines(topic: Topic) -> str:
    return "every line" if topic.lines is None else ", ".join(topic.lines)


def _conditions(topic: Topic) -> str:
    return ", ".join(f"{condition.name} = {condition.wanted}" for condition in topic.conditions)
