"""`relay secret`: new secrets."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from relay.cli.command import command, commands
from relay.core.secret import new_key, new_secret

app = commands("Generate secrets.", examples=("relay secret generate", "relay secret generate --for relay"))


class Purpose(StrEnum):
    """The use of a secret."""

    SUBSCRIPTION = "subscription"
    RELAY = "relay"


@command(app, examples=("relay secret generate", "relay secret generate --for relay"))
def generate(
    *,
    purpose: Annotated[
        Purpose,
        typer.Option(
            "--for",
            metavar="USE",
            help="subscription: a signing secret (whsec_...); relay: a value for RELAY_SECRET_KEY.",
        ),
    ] = Purpose.SUBSCRIPTION,
) -> None:
    """Print a new secret of 32 random bytes."""
    typer.echo(new_key() if purpose is Purpose.RELAY else new_secret())
