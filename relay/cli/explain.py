"""`relay explain`: the topics that an event matches, and the subscriptions that get it."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from relay.cli.command import command, commands
from relay.cli.filters import checked_line
from relay.cli.operator import cli_principal
from relay.cli.output import View, print_fields, print_json, print_table, say
from relay.config.file import read_config
from relay.config.load import load_settings
from relay.config.settings import Settings
from relay.core.conditions.content import Content
from relay.core.config.relay_toml import RelayConfig
from relay.core.errors import RelayError, SettingsError, Unparsable
from relay.core.event import Dialect, Event
from relay.core.json_text import parse_json
from relay.linq.payloads.content import BodyContent
from relay.linq.payloads.decode import decode
from relay.process.event_loop import run
from relay.services.context import open_context
from relay.services.topics.explain import Explanation, by_rules, with_proved_line
from relay.services.topics.explain import explain as explain_event
from relay.store.driver.client import REDIS_ERRORS, describe

app = commands()


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
    account: Annotated[
        str | None, typer.Option(metavar="NAME", help="The account of the webhook URL, of [[linq.accounts]].")
    ] = None,
    view: View,
) -> None:
    """Show which topics an event matches, which subscriptions get it, and why the others do not.

    The state of subscriptions, and the pull subscribers, are read from Redis; without it, they are left out.
    """
    config = read_config(Settings.load().relay_config)
    event, content = _event(file, checked_line(line), _checked_account(account, config))
    event, found = run(_explain(config, event, content, by_url=line is not None))
    verdicts = found.topics
    if view.json:
        print_json(
            {
                "event": _fields(event),
                "topics": found.matching,
                "conditions": {
                    name: [asdict(each) for each in verdict.conditions]
                    for name, verdict in verdicts.items()
                    if verdict.conditions
                },
                "not": {name: verdict.why_not for name, verdict in verdicts.items() if verdict.why_not},
                "subscriptions": [asdict(receiver) for receiver in found.receivers],
                "redis_error": found.redis_error,
            }
        )
        return
    print_fields("Event", _fields(event), view)
    rows = [(name, verdict.answer, "; ".join(verdict.why_not)) for name, verdict in verdicts.items()]
    print_table("Topics", ("topic", "matches", "why not"), rows, view)
    conditions = [
        (name, each.condition, each.wanted, "yes" if each.holds else "no", each.why_not)
        for name, verdict in verdicts.items()
        for each in verdict.conditions
    ]
    if conditions:
        print_table(
            "Conditions of these topics", ("topic", "condition", "wanted", "holds", "why not"), conditions, view
        )
    columns = ("subscription", "topic", "kind", "receives it", "to", "state", "why not")
    cells = [(*list(asdict(each).values())[:-1], "; ".join(each.why_not)) for each in found.receivers]
    print_table("Subscriptions of these topics", columns, cells, view)
    if event.line is None and not line:
        say(_why_no_line(event))
    if account is None and event.api is Dialect.V3 and any(topic.account for topic in config.topics):
        say("Linq's request names its account in its URL: give one of [[linq.accounts]] with --account.")
    if found.redis_error:
        why = f"because Redis cannot be asked: {found.redis_error}"
        say(f"States and pull subscribers are not shown, {why}", fg="yellow")


def _why_no_line(event: Event) -> str:
    if (named := event.fields.line) is None:
        return "The body names no line. Linq's request does, in its URL: give that line with --line."
    of = f"the account {event.account}" if event.account else "the account without a name"
    return f"The body names {named}, which is not known as a line of {of}: its secret does not prove that line."


async def _explain(config: RelayConfig, event: Event, content: Content, *, by_url: bool) -> tuple[Event, Explanation]:
    """Return the event with the line that it proves, and its explanation; with `by_url`, the URL names the line."""
    try:
        settings = load_settings()
    except SettingsError as error:
        why = "; ".join(map(str, error.problems))
        return event, by_rules(config, cli_principal(), event, content, redis_error=why)
    try:
        async with open_context(settings) as context:
            event = event if by_url else await with_proved_line(context, event)
            return event, await explain_event(context, cli_principal(), event, content, is_exact=True)
    except REDIS_ERRORS as error:
        return event, by_rules(config, cli_principal(), event, content, redis_error=describe(error))


def _checked_account(account: str | None, config: RelayConfig) -> str | None:
    """Return the account if relay.toml has it.

    Raises:
        typer.BadParameter: it does not.
    """
    known = [each.name for each in config.linq.accounts]
    if account is not None and account not in known:
        there = f"there are {', '.join(known)}" if known else "there is no [[linq.accounts]] table"
        raise typer.BadParameter(f'relay.toml has no account "{account}"; {there}', param_hint="--account")
    return account


def _event(file: Path, line: str | None, account: str | None) -> tuple[Event, Content]:
    """Return the event in a file, and its content.

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
        return decode(dialect, body, line).event._replace(account=account), BodyContent(body)
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
        **({"account": event.account} if event.account else {}),
    }
