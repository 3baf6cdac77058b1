"""The operator of this command, and the record of what the operator changes."""

from __future__ import annotations

import getpass
import os
import socket
from typing import TYPE_CHECKING, Annotated

import typer

from relay.core.access.principal import Principal
from relay.core.access.scopes import EVERY_SCOPE
from relay.store import audit

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

WhyOption = Annotated[str, typer.Option("--why", metavar="TEXT", help="The reason, for relay audit.")]
WhyArgument = Annotated[str, typer.Argument(metavar="WHY", help="The reason, for relay audit.")]


def operator() -> str:
    """Return the operator's user and machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as containers have
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def cli_principal() -> Principal:
    """Return the operator of this command as the author of what it asks for, with every right."""
    return Principal(operator(), team=None, scopes=EVERY_SCOPE)


async def record(redis: Redis, command: str, target: str, count: int | None = None, why: str = "") -> None:
    """Record a change for `relay audit`; a command that changes something without a service calls it first.

    Raises:
        StoreError: it cannot be recorded, so it must not be made.
    """
    await audit.record(redis, operator(), command, target, count, why)
