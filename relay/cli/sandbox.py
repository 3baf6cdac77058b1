"""`relay sandbox` and `relay demo`: everything without an account."""

from __future__ import annotations

from typing import Annotated

import typer

DEFAULT_LINES = ("+16465550123", "+16465550124", "+16465550125")


def sandbox(
    *,
    listen: Annotated[str, typer.Option(help="HOST:PORT to listen on.")] = "127.0.0.1:4010",
    line: Annotated[list[str] | None, typer.Option(help="A line of the account, E.164; repeat it for more.")] = None,
    api_key: Annotated[str, typer.Option(help="The key that clients have to send.")] = "sandbox-key",
    allow_local: Annotated[
        bool, typer.Option("--allow-local", help="Take plain http and private addresses as targets.")
    ] = False,
    speed: Annotated[
        float, typer.Option(min=0.01, help="Divides every wait: before another attempt, for a held event.")
    ] = 1.0,
    rate: Annotated[float, typer.Option(min=0.0, help="Play conversations at this many events a second.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Makes conversations repeatable.")] = 1,
) -> None:
    """Play Linq: its webhook API, signed deliveries with retries, conversations, and faults on request.

    GET /sandbox is a page that shows everything and says how to make things happen.
    """
    from relay.core.lines import is_line
    from relay.net.listen_address import parse_listen
    from relay.process.event_loop import run
    from relay.sandbox.serve import serve_sandbox

    lines = list(dict.fromkeys(line or DEFAULT_LINES))
    if not api_key:
        raise typer.BadParameter("give a key that clients have to send", param_hint="--api-key")
    for one in lines:
        if not is_line(one):
            raise typer.BadParameter(
                f'"{one}" is not a phone number in E.164, such as +16465550123', param_hint="--line"
            )
    try:
        at = parse_listen(listen)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--listen") from None

    def on_ready(port: int) -> None:
        url = f"http://{at.model_copy(update={'port': port})}"
        typer.echo(f"Linq sandbox at {url}, key {api_key}, lines {', '.join(lines)}")
        typer.echo(f"  all that happens, and how to make things happen: {url}/sandbox")
        typer.echo(f"  LINQ_API_V3_BASE_URL={url}/api/partner LINQ_API_V3_API_KEY={api_key}")
        typer.echo(f"  LINQ_V2_BASE_URL={url}/api/partner/v2 LINQ_V2_TOKEN={api_key}")

    run(serve_sandbox(at, lines, api_key, on_ready, allow_local=allow_local, speed=speed, rate=rate, seed=seed))


def demo(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Play once, print the ledger, and end (within a minute).")
    ] = False,
    seed: Annotated[int, typer.Option(help="Makes the conversations repeatable.")] = 1,
) -> None:
    """Run it all on this machine, with a sandbox in Linq's place and two sample teams, and watch."""
    from relay.demo.play import run_demo
    from relay.process.event_loop import run

    raise typer.Exit(run(run_demo(once=once, seed=seed)))
