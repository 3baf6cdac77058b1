"""`relay check` and `relay explain`: relay.toml, looked at."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from relay.cli.output import JsonOption, console, print_json, print_table

if TYPE_CHECKING:
    from relay.core.config.topics import Topic
    from relay.core.event import Event


def check(*, json: JsonOption = False) -> None:
    """Say whether relay.toml can be used, with every mistake and its place."""
    from relay.config.file import load_config
    from relay.config.settings import Settings, masked_url
    from relay.core.durations import format_duration
    from relay.core.errors import ConfigError
    from relay.core.event import Dialect
    from relay.linq.payloads.event_types import unknown_patterns

    path = Settings.load().relay_config
    try:
        config = load_config(path).config
    except ConfigError as error:
        if not json:
            raise
        print_json({"ok": False, "problems": [{"place": p.place, "message": p.message} for p in error.problems]})
        raise typer.Exit(2) from None
    v2_events = config.linq.v2.events if config.linq.v2 else None
    wanted = [
        *((f"topic {topic.name}", topic.events, tuple(Dialect)) for topic in config.topics),
        ("[linq]", config.linq.events or (), [Dialect.V3]),
        ("[linq.v2]", v2_events or (), [Dialect.V2]),
    ]
    warnings = [
        f'{place}: no event type that we know matches "{pattern}"{hint}'
        for place, patterns, dialects in wanted
        for pattern, hint in unknown_patterns(patterns, dialects)
    ]
    if not config.topics:
        warnings.append("there is no topic, so every event will be acknowledged and dropped")
    warnings += [
        f"subscription {one.name}: its certificate is not verified, so anybody could pose as it (see ca_file)"
        for one in config.subscriptions
        if not one.verify_tls
    ]
    if json:
        print_json(
            {"ok": True, "topics": len(config.topics), "subscriptions": len(config.subscriptions), "warnings": warnings}
        )
        return
    print_table(
        "Topics",
        ("name", "events", "lines", "conditions"),
        [(t.name, ", ".join(t.events), _lines(t), _conditions(t)) for t in config.topics],
    )
    if config.subscriptions:
        rows = [
            (s.name, s.topic, masked_url(s.url), " ".join(map(format_duration, s.retry)) or "never")
            for s in config.subscriptions
        ]
        print_table("Push subscriptions", ("name", "topic", "url", "retry after"), rows)
    for warning in warnings:
        console.print(Text.assemble(("warning", "yellow"), f": {warning}"), soft_wrap=True)
    console.print(f"{path} is good.")


def explain(
    file: Annotated[Path, typer.Argument(help="A webhook's body; - for standard input.", allow_dash=True)],
    *,
    line: Annotated[str | None, typer.Option(help="The line of the URL it came through, E.164.")] = None,
    json: JsonOption = False,
) -> None:
    """Say which topics an event matches, and why not the others."""
    from relay.config.file import read_config
    from relay.config.settings import Settings
    from relay.core.config.topics import mismatches
    from relay.core.errors import RelayError, Unparsable
    from relay.core.event import Dialect
    from relay.core.json_text import parse_json
    from relay.core.lines import is_line
    from relay.linq.payloads.decode import decode

    config = read_config(Settings.load().relay_config)
    if line is not None and not is_line(line):
        raise typer.BadParameter(f'"{line}" is not a phone number in E.164, such as +16465550123', param_hint="--line")
    try:
        body = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        envelope = parse_json(body)
    except OSError as error:
        raise RelayError(f"{file}: {error.strerror}") from None
    except ValueError as error:
        raise RelayError(f"{file}: not JSON: {error}") from None
    if not isinstance(envelope, dict):
        raise RelayError(f"{file}: not an event: Linq's are JSON objects")
    dialect = Dialect.V2 if envelope.get("api_version") == "v2" else Dialect.V3
    try:
        event = decode(dialect, body, line).event
    except Unparsable as error:
        raise RelayError(f"{file}: not an event: {error}") from None
    reasons = {topic.name: mismatches(topic, event) for topic in config.topics}
    if json:
        matched = [name for name, why_not in reasons.items() if not why_not]
        print_json(
            {"event": _facts(event), "topics": matched, "not": {name: why for name, why in reasons.items() if why}}
        )
        return
    print_table("Event", ("field", "value"), _facts(event).items())
    print_table(
        "Topics",
        ("topic", "matches", "why not"),
        [(n, "no" if why else "yes", "; ".join(why)) for n, why in reasons.items()],
    )


def _facts(event: Event) -> dict[str, Any]:
    facts = event.fields
    return {
        "id": event.id,
        "type": event.type,
        "version": event.version,
        "line": event.line,
        "chat": facts.chat,
        "message": facts.message,
        "direction": facts.direction,
        "service": facts.service,
        "is_group": facts.is_group,
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
