"""`relay explain`: the topics that an event matches, and the subscriptions that get it."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from relay.cli.command import command, commands
from relay.cli.filters import checked_line
from relay.cli.output import View, counted, print_fields, print_json, print_table, say
from relay.cli.subscriptions import states
from relay.config.file import read_config
from relay.config.load import load_settings
from relay.config.settings import Settings
from relay.core.config.topics import filtered_by, mismatches
from relay.core.errors import RelayError, SettingsError, Unparsable
from relay.core.event import Dialect, Event
from relay.core.json_text import parse_json
from relay.linq.payloads.decode import decode
from relay.parts import open_store
from relay.process.event_loop import run
from relay.store.driver.client import REDIS_ERRORS, describe
from relay.store.topics.topics import topic_states

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.core.config.relay_toml import RelayConfig, Subscription

app = commands()

_IF_LINE = "depends on the line"


@dataclass(frozen=True, slots=True)
class _Verdict:
    """The result for one topic or subscription."""

    answer: str
    """`yes`, `no`, or `depends on the line`."""
    why_not: list[str]


@dataclass(frozen=True, slots=True)
class _Receiver:
    """A subscription of a topic that the event matches, or could match."""

    subscription: str
    topic: str
    kind: str
    """`push` or `pull`."""
    receives: str
    to: str | None
    """Scheme and host of a push subscription's URL."""
    state: str | None
    """None if Redis cannot be asked."""
    why_not: list[str]


@command(
    app,
    examples=("relay explain webhook.json", "cat webhook.json | relay explain - --line +16465550123"),
    view=("wide", "json"),
)
def explain(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A webhook's body; - for standard input.", allow_dash=True)
    ],
    *,
    line: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="The line of the webhook URL, such as +16465550123.")
    ] = None,
    view: View,
) -> None:
    """Show which topics an event matches, which subscriptions get it, and why the others do not.

    The state of subscriptions, and the pull subscribers, are read from Redis; without it, they are left out.
    """
    config = read_config(Settings.load().relay_config)
    event = _event(file, checked_line(line))
    verdicts = {
        topic.name: _verdict(lambda candidate, topic=topic: mismatches(topic, candidate), event, topic.lines)  # type: ignore[misc]
        for topic in config.topics
    }
    possible = [name for name, verdict in verdicts.items() if verdict.answer != "no"]
    redis_error, found = run(_receivers(config, event, {name: verdicts[name] for name in possible}))
    if view.json:
        print_json(
            {
                "event": _fields(event),
                "topics": [name for name, verdict in verdicts.items() if verdict.answer == "yes"],
                "not": {name: verdict.why_not for name, verdict in verdicts.items() if verdict.why_not},
                "subscriptions": [asdict(receiver) for receiver in found],
                "redis_error": redis_error,
            }
        )
        return
    print_fields("Event", _fields(event), view)
    rows = [(name, verdict.answer, "; ".join(verdict.why_not)) for name, verdict in verdicts.items()]
    print_table("Topics", ("topic", "matches", "why not"), rows, view)
    columns = ("subscription", "topic", "kind", "receives it", "to", "state", "why not")
    cells = [(*list(asdict(each).values())[:-1], "; ".join(each.why_not)) for each in found]
    print_table("Subscriptions of these topics", columns, cells, view)
    if event.line is None and not line:
        say("The body names no line. Linq's request does, in its URL: give that line with --line.")
    if redis_error:
        say(f"States and pull subscribers are not shown, because Redis cannot be asked: {redis_error}", fg="yellow")


def _verdict(reasons: Callable[[Event], list[str]], event: Event, lines: tuple[str, ...] | None) -> _Verdict:
    """Return the result for `event`, whose line can be unknown to this command and known when the webhook arrives."""
    why_not = reasons(event)
    if not why_not:
        return _Verdict("yes", [])
    if event.line is None and lines and not reasons(event._replace(line=lines[0])):
        return _Verdict(_IF_LINE, why_not)
    return _Verdict("no", why_not)


async def _receivers(
    config: RelayConfig, event: Event, topics: dict[str, _Verdict]
) -> tuple[str | None, list[_Receiver]]:
    """Return the error of Redis, if it cannot be asked, and the subscriptions of `topics`."""
    push = [
        _push(subscription, event, topics[subscription.topic])
        for subscription in config.subscriptions
        if subscription.topic in topics
    ]
    try:
        settings = load_settings()
        known = await states(settings)
        async with open_store(settings) as redis:
            found = await topic_states(redis, topics)
    except SettingsError as error:
        return "; ".join(map(str, error.problems)), push
    except REDIS_ERRORS as error:
        return describe(error), push
    pull = [
        _Receiver(
            group.name, topic.name, "pull", topics[topic.name].answer, None, f"{counted(group.lag, 'event')} behind", []
        )
        for topic in found
        if topic.name in topics
        for group in topic.groups
        if not group.is_push
    ]
    return None, [*(replace(each, state=known.get(each.subscription, "not started yet")) for each in push), *pull]


def _push(subscription: Subscription, event: Event, topic: _Verdict) -> _Receiver:
    verdict = _verdict(lambda candidate: filtered_by(subscription, candidate), event, subscription.lines)
    url = urlsplit(subscription.url)
    receives = topic.answer if verdict.answer == "yes" else verdict.answer
    origin = f"{url.scheme}://{url.netloc.rpartition('@')[2]}"
    return _Receiver(subscription.name, subscription.topic, "push", receives, origin, None, verdict.why_not)


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
