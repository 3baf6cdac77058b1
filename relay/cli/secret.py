"""`relay secret`: new secrets."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from relay.core.secret import new_key, new_secret

secret = typer.Typer(name="secret", help="Make secrets.", no_args_is_help=True)


class Purpose(StrEnum):
    """What a secret is for."""

    SUBSCRIPTION = "subscription"
    RELAY = "relay"


@secret.callback()
def _secret() -> None:
    """Make secrets."""


@secret.command()
def generate(
    *,
    purpose: Annotated[
        Purpose, typer.Option("--for", help="subscription: a signing secret (whsec_...); relay: a RELAY_SECRET_KEY.")
    ] = Purpose.SUBSCRIPTION,
) -> None:
    """Print a new secret of 32 random bytes."""
    typer.echo(new_key() if purpose is Purpose.RELAY else new_secret())
