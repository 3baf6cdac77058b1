"""The command line. Each command's modules are imported when it runs; errors are told without a traceback.

Exit codes: 0 done, 1 it failed (the message says how), 2 the command line, the environment or relay.toml is wrong, or,
for `bootstrap plan`, changes are pending.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from redis.exceptions import RedisError

from relay import __version__
from relay.cli.attempts import attempts
from relay.cli.bootstrap import bootstrap
from relay.cli.check import check, explain
from relay.cli.dead import dead
from relay.cli.docs import docs
from relay.cli.doctor import doctor
from relay.cli.ledger import ledger
from relay.cli.quarantine import quarantine
from relay.cli.replay import replay
from relay.cli.rewind import rewind
from relay.cli.sandbox import demo, sandbox
from relay.cli.secret import secret
from relay.cli.serve import ingress, up, worker
from relay.cli.subscriptions import subscriptions
from relay.cli.topics import topics
from relay.core.errors import RelayError, SeveralProblems

app = typer.Typer(
    name="relay",
    help="Between Linq and your teams: every webhook verified, stored, routed and delivered.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (up, ingress, worker, sandbox, demo, check, explain, doctor, ledger, topics, attempts, rewind):
    app.command()(command)
app.command(hidden=True)(docs)
app.add_typer(quarantine)
app.add_typer(bootstrap)
app.add_typer(dead)
app.add_typer(subscriptions)
app.add_typer(replay)
app.add_typer(secret)


def _version(wanted: bool) -> None:  # noqa: FBT001  typer's callbacks are called like this
    if wanted:
        typer.echo(f"linq-relay {__version__}")
        raise typer.Exit


@app.callback()
def _relay(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Between Linq and your teams: every webhook verified, stored, routed and delivered."""


def main() -> None:
    """Runs the command line."""
    try:
        app()
    except RelayError as error:
        typer.secho(str(error), err=True, fg=typer.colors.RED)
        sys.exit(2 if isinstance(error, SeveralProblems) else 1)
    except RedisError as error:
        typer.secho(f"Redis: {error}", err=True, fg=typer.colors.RED)
        sys.exit(1)
    except OSError as error:
        typer.secho(f"relay: {error}", err=True, fg=typer.colors.RED)
        sys.exit(1)
