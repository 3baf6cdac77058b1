"""`relay listen`: a topic's events on this machine, for development without a public URL; needs an API token only."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from yarl import URL

from relay.cli.command import command, commands
from relay.cli.listening.forward import Forward
from relay.cli.listening.keys import pressed_keys
from relay.cli.listening.session import HELP, Session
from relay.cli.listening.show import tell
from relay.cli.output import JsonOption, counted
from relay.cli.remote.access import Via, open_api
from relay.core.durations import parse_duration
from relay.core.secret import SigningSecret
from relay.core.timestamps import parse_time
from relay.process.event_loop import run, stop_on_signals
from relay.process.tasks import end_task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.cli.remote.access import Access

app = commands()


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """The options of a session."""

    access: Access
    topic: str
    query: Mapping[str, str]
    forward: URL | None
    timeout: float
    seconds: float | None
    most: int | None
    as_json: bool
    shape: str | None


@command(
    app,
    examples=(
        "relay listen --topic support --forward http://localhost:3000/hook",
        "relay listen --topic support --since 1h --type 'message.*' --count 10 --json",
        "relay listen --topic support --print-secret",
    ),
)
def listen(
    *,
    topic: Annotated[str, typer.Option("--topic", metavar="NAME", help="The topic.")],
    forward: Annotated[
        str | None,
        typer.Option("--forward", metavar="URL", help="Where to POST each event, such as http://localhost:3000/hook."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Begin at this time, such as 1h (ago); else with the next event.")
    ] = None,
    line: Annotated[str | None, typer.Option(metavar="NUMBER", help="Only this line, such as +16465550123.")] = None,
    event_type: Annotated[
        str | None, typer.Option("--type", metavar="PATTERN", help="Only these event types, such as message.*")
    ] = None,
    handle: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only this phone number or e-mail address of a customer.")
    ] = None,
    via: Via,
    timeout: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="Longest time for each POST.")] = 10.0,
    duration: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="End after this time, such as 10m.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, metavar="NUMBER", help="End after this many events.")] = None,
    shape: Annotated[
        Literal["2025-01-01", "2026-02-03"] | None,
        typer.Option(metavar="VERSION", help="POST in this version of Linq's payloads: 2025-01-01 or 2026-02-03."),
    ] = None,
    print_secret: Annotated[
        bool, typer.Option("--print-secret", help="Print the secret that signs the POSTs, and end.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show the events of a topic as they come, and POST them to this machine.

    Each POST has the headers and signatures of a push delivery, made with a secret of the token's team that never
    changes. After a lost connection it continues where it was. No subscription and no group takes part, so none
    misses an event.
    """
    query = {"since": _ago(since), "line": line, "type": event_type, "handle": handle}
    options = SessionOptions(
        via.access(),
        topic,
        {name: value for name, value in query.items() if value is not None},
        _local_url(forward),
        timeout,
        _seconds(duration),
        count,
        json,
        shape,
    )
    if print_secret:
        typer.echo(run(_secret(options)))
    else:
        run(_listen(options))


async def _listen(options: SessionOptions) -> None:
    stop = stop_on_signals()
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(open_api(options.access))
        forward = None
        tell(f'the events of "{options.topic}" at {options.access.base}')
        if options.forward is not None:
            secret = await api.get("/me/listen-secret")
            forward = Forward(
                api.http,
                options.forward,
                SigningSecret(secret["secret"]),
                options.topic,
                options.timeout,
                options.shape,
            )
            tell(f"go to {options.forward}, signed with the secret that --print-secret shows")
        session = Session(api, options.topic, options.query, forward, as_json=options.as_json)
        keys = stack.enter_context(pressed_keys())
        if keys is not None:
            tell(HELP)
        running = asyncio.create_task(session.run(keys, options.most))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({running, stopping}, timeout=options.seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end_task(running)
            await end_task(stopping)
        if not running.cancelled():
            running.result()
        counts = session.counts
        sent = f", {counts.delivered} delivered, {counts.failed} failed" if forward else ""
        tell(f"{counted(counts.events, 'event')}{sent}")


async def _secret(options: SessionOptions) -> str:
    async with open_api(options.access) as api:
        return str((await api.get("/me/listen-secret"))["secret"])


def _local_url(text: str | None) -> URL | None:
    if text is None:
        return None
    try:
        url = URL(text)
        if url.scheme not in {"http", "https"} or not url.host:
            raise ValueError  # noqa: TRY301
    except ValueError:
        example = "write it in full, such as http://localhost:3000/hook"
        raise typer.BadParameter(f'"{text}" is not a URL; {example}', param_hint="--forward") from None
    return url


def _ago(since: str | None) -> str | None:
    """Return a time as a duration before now."""
    if since is None:
        return None
    now = time.time()
    try:
        return f"{max(now - parse_time(since, now), 0):.3f}s"
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since") from None


def _seconds(duration: str | None) -> float | None:
    try:
        return None if duration is None else parse_duration(duration)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--for") from None
