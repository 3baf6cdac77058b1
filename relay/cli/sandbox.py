"""`relay sandbox` and `relay demo`: the relay without an account at Linq."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli.command import command, commands
from relay.cli.filters import checked_line
from relay.demo.play import run_demo
from relay.net.listen_address import parse_listen
from relay.process.event_loop import run
from relay.sandbox.serve import serve_sandbox

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_LINES = ("+16465550123", "+16465550124", "+16465550125")

app = commands()


@command(app, examples=("relay sandbox --allow-local --rate 2", "relay sandbox --listen 127.0.0.1:4020 --speed 60"))
def sandbox(
    *,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="The address to listen on.")] = "127.0.0.1:4010",
    line: Annotated[
        list[str] | None,
        typer.Option(metavar="NUMBER", help="A line of the account, such as +16465550123; repeatable."),
    ] = None,
    account: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=NUMBER,...", help="A further account: its API key and its lines; repeatable."),
    ] = None,
    api_key: Annotated[str, typer.Option(metavar="TEXT", help="API key that clients must send.")] = "sandbox-key",
    allow_local: Annotated[
        bool, typer.Option("--allow-local", help="Accept webhook URLs with plain http and private addresses.")
    ] = False,
    speed: Annotated[
        float,
        typer.Option(min=0.01, metavar="FACTOR", help="Factor by which delays (retries, held events) are shortened."),
    ] = 1.0,
    rate: Annotated[
        float, typer.Option(min=0.0, metavar="NUMBER", help="Events of simulated conversations per second; 0: none.")
    ] = 0.0,
    seed: Annotated[
        int, typer.Option(metavar="NUMBER", help="Random seed; the same one makes the same conversations.")
    ] = 1,
) -> None:
    """Simulate Linq: its webhook API, signed webhooks with retries, conversations, and faults on request.

    The page /sandbox shows everything that happens, and controls it.
    """
    lines = list(dict.fromkeys(line or DEFAULT_LINES))
    if not api_key:
        raise typer.BadParameter("the key cannot be empty", param_hint="--api-key")
    accounts = _accounts(account or (), lines, api_key)
    try:
        at = parse_listen(listen)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--listen") from None

    def on_ready(port: int) -> None:
        url = f"http://{at.model_copy(update={'port': port})}"
        typer.echo(f"Linq sandbox at {url}, key {api_key}, lines {', '.join(lines)}")
        for key, numbers in accounts.items():
            typer.echo(f"  account with key {key}: lines {', '.join(numbers)}")
        typer.echo(f"  watch and control it at {url}/sandbox")
        typer.echo(f"  LINQ_API_V3_BASE_URL={url}/api/partner LINQ_API_V3_API_KEY={api_key}")
        typer.echo(f"  LINQ_V2_BASE_URL={url}/api/partner/v2 LINQ_V2_TOKEN={api_key}")

    serving = serve_sandbox(
        at, lines, api_key, on_ready, allow_local=allow_local, speed=speed, rate=rate, seed=seed, accounts=accounts
    )
    run(serving)


def _accounts(texts: Sequence[str], lines: Sequence[str], api_key: str) -> dict[str, list[str]]:
    """Return the lines of the further accounts by key; check those of all."""
    accounts = dict(map(_account, texts))
    own = [*lines, *(number for numbers in accounts.values() for number in numbers)]
    for number in own:
        checked_line(number)
    if len(own) != len(set(own)) or len(accounts) != len(texts) or api_key in accounts:
        raise typer.BadParameter("accounts need different keys and lines", param_hint="--account")
    return accounts


def _account(text: str) -> tuple[str, list[str]]:
    key, _, numbers = text.partition("=")
    lines = [number for number in numbers.split(",") if number]
    if not key or not lines:
        raise typer.BadParameter(f'"{text}" is not KEY=NUMBER,...', param_hint="--account")
    return key, lines


@command(app, examples=("relay demo", "relay demo --once"))
def demo(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Play once, print the ledger, and end (within a minute).")
    ] = False,
    seed: Annotated[
        int, typer.Option(metavar="NUMBER", help="Random seed; the same one makes the same conversations.")
    ] = 1,
) -> None:
    """Run everything on this machine against a sandbox, with two sample teams, and show what happens."""
    raise typer.Exit(run(run_demo(once=once, seed=seed)))
