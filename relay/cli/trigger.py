"""`relay trigger`: lets the sandbox send an event, so that a handler can be tried with any type."""

from __future__ import annotations

from difflib import get_close_matches
from http import HTTPStatus
from typing import Annotated, Any

import aiohttp
import typer

from relay.cli.command import command, commands
from relay.cli.filters import checked_line
from relay.cli.output import JsonOption, counted, print_json, say
from relay.core.errors import RelayError
from relay.process.event_loop import run
from relay.sandbox.payloads import known_types

app = commands()

_TIMEOUT = 10.0  # seconds


@command(
    app,
    examples=(
        "relay trigger message.received",
        "relay trigger message.received --line +16465550124 --text 'hello'",
        "relay trigger --list",
    ),
)
def trigger(
    event_type: Annotated[
        str | None, typer.Argument(metavar="TYPE", help="The event type, such as message.received.")
    ] = None,
    *,
    line: Annotated[str | None, typer.Option(metavar="NUMBER", help="A line of the sandbox; default: any.")] = None,
    text: Annotated[str | None, typer.Option(metavar="TEXT", help="The text of the message.")] = None,
    count: Annotated[int, typer.Option(min=1, max=1000, metavar="NUMBER", help="Number of events.")] = 1,
    sandbox: Annotated[str, typer.Option(metavar="URL", help="The sandbox.")] = "http://127.0.0.1:4010",
    list_types: Annotated[bool, typer.Option("--list", help="List the event types, and end.")] = False,
    json: JsonOption = False,
) -> None:
    """Have a running relay sandbox send an event of a given type to the relay, with a realistic payload.

    It takes the whole way of Linq's webhooks: signature, line, topics, subscriptions.
    """
    types = sorted(known_types())
    if list_types:
        if json:
            print_json(types)
        else:
            typer.echo("\n".join(types))
        return
    if event_type not in types:
        near = get_close_matches(event_type or "", types, n=3, cutoff=0.5)
        wrong = f'the sandbox has no event type "{event_type}"' if event_type else "name an event type"
        hint = f"; did you mean {', '.join(near)}?" if near else ", such as message.received"
        raise typer.BadParameter(f"{wrong}{hint} --list has all of them", param_hint="TYPE")
    if line is not None:
        checked_line(line)
    wanted = {"type": event_type, "line": line, "text": text, "count": count}
    emitted = run(_emit(sandbox, {name: value for name, value in wanted.items() if value is not None}))
    if json:
        print_json(emitted)
        return
    reached = emitted["subscriptions"]
    say(
        f"{counted(count, event_type)}: {', '.join(emitted['event_ids'])}"
        if count == 1
        else f"{counted(count, f'{event_type} event')}, the first {emitted['event_id']}"
    )
    if not reached:
        say("no webhook subscription at the sandbox matches; run relay bootstrap apply against it", fg="yellow")


async def _emit(sandbox: str, emission: dict[str, Any]) -> dict[str, Any]:
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.post(f"{sandbox.rstrip('/')}/sandbox/emit", json=emission) as response,
        ):
            answer: dict[str, Any] = await response.json(content_type=None)
            if response.status != HTTPStatus.OK:
                raise RelayError(f"the sandbox refuses it: {_reason(answer)}")
            return answer
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise RelayError(
            f"no sandbox answers at {sandbox} ({str(error) or type(error).__name__}); start it with relay sandbox, or "
            f"name it with --sandbox"
        ) from None


def _reason(answer: Any) -> str:
    try:
        return str(answer["error"]["message"])
    except (KeyError, TypeError):
        return str(answer)
