"""`relay check` and `relay explain`: what relay.toml says, and what it does with an event."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.cli.command import command, commands
from relay.cli.filters import checked_line
from relay.cli.output import JsonOption, View, print_fields, print_json, print_table, say
from relay.config.file import load_config, read_config
from relay.config.settings import Settings
from relay.core.config.topics import Topic, mismatches
from relay.core.durations import format_duration
from relay.core.errors import ConfigError, RelayError, Unparsable
from relay.core.event import Dialect, Event
from relay.core.json_text import parse_json
from relay.core.masked_url import masked_url
from relay.linq.payloads.decode import decode
from relay.linq.payloads.event_types import unknown_patterns

if TYPE_CHECKING:
    from relay.core.config.relay_toml import RelayConfig

app = commands()


@command(app, examples=("relay check", "RELAY_CONFIG=next.toml relay check --json"), view=("wide", "json"))
def check(*, view: View) -> None:
    """Check relay.toml; exit code 2 if it cannot be used, with every mistake and its place."""
    path = Settings.load().relay_config
    try:
        config = load_config(path).config
    except ConfigError as error:
        if not view.json:
            raise
        print_json({"ok": False, "problems": [{"place": p.place, "message": p.message} for p in error.problems]})
        raise typer.Exit(2) from None
    warnings = _warnings(config)
    if view.json:
        print_json(
            {"ok": True, "topics": len(config.topics), "subscriptions": len(config.subscriptions), "warnings": warnings}
        )
        return
    rows = [(topic.name, ", ".join(topic.events), _lines(topic), _conditions(topic)) for topic in config.topics]
    print_table("Topics", ("name", "events", "lines", "conditions"), rows, view)
    if config.subscriptions:
        subscriptions = [
            (each.name, each.topic, masked_url(each.url), " ".join(map(format_duration, each.retry)) or "never")
            for each in config.subscriptions
        ]
        print_table("Push subscriptions", ("name", "topic", "url", "retry after"), subscriptions, view)
    for warning in warnings:
        say(f"warning: {warning}", fg="yellow")
    say(f"{path} is valid.", fg="green")


def _warnings(config: RelayConfig) -> list[str]:
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
    if not config.topics:
        warnings.append("there is no topic, so every event is acknowledged and dropped")
    warnings += [
        f"subscription {each.name}: its certificate is not verified, so any server could impersonate it (see ca_file)"
        for each in config.subscriptions
        if not each.verify_tls
    ]
    return warnings


@command(app, examples=("relay explain webhook.json", "cat webhook.json | relay explain - --line +16465550123"))
def explain(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A webhook's body; - for standard input.", allow_dash=True)
    ],
    *,
    line: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="The line of the webhook URL, such as +16465550123.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show which topics an event matches, and why it does not match the others."""
    config = read_config(Settings.load().relay_config)
    event = _event(file, checked_line(line))
    reasons = {topic.name: mismatches(topic, event) for topic in config.topics}
    if json:
        matched = [name for name, why_not in reasons.items() if not why_not]
        print_json(
            {"event": _fields(event), "topics": matched, "not": {name: why for name, why in reasons.items() if why}}
        )
        return
    print_fields("Event", _fields(event), View())
    rows = [(name, "no" if why else "yes", "; ".join(why)) for name, why in reasons.items()]
    print_table("Topics", ("topic", "matches", "why not"), rows)


def _event(file: Path, line: str | None) -> Event:
    """Return the event in a file.

    Raises:
        RelayError: the file cannot be read, or is not an event.
    """
    try:
        body = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        envelope = parse_json(body)
    except OSError as error:
        raise RelayError(f"{file}: {error.strerror}") from None
    except ValueError as error:
        raise RelayError(f"{file}: not JSON: {error}") from None
    if not isinstance(envelope, dict):
        raise RelayError(f"{file}: not an event: Linq's events are JSON objects")
    dialect = Dialect.V2 if envelope.get("api_version") == "v2" else Dialect.V3
    try:
        return decode(dialect, body, line).event
    except Unparsable as error:
        raise RelayError(f"{file}: not an event: {error}") from None


def _fields(event: Event) -> dict[str, Any]:
    fields = event.fields
    return {
        "id": event.id,
        "type": event.type,
        "version": event.version,
        "line": event.line,
        "chat": fields.chat,
        "message": fields.message,
        "direction": fields.direction,
        "service": fields.service,
        "is_group": fields.is_group,
        "freshness": event.freshness,
        "created_at": event.created_at,
    }


def _lines(topic: Topic) -> str:
    return "every line" if topic.lines is None else ", ".join(topic.lines)


def _conditions(topic: Topic) -> str:
    conditions = {
        "direction": topic.direction,
        "service": "/".join(topic.service) if topic.service else None,
        "is_group": topic.is_group,
        "freshness": topic.freshness,
    }
    return ", ".join(f"{name} = {value}" for name, value in conditions.items() if value is not None)
