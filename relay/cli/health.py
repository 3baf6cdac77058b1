"""`relay health`: the health check of a role on this machine, for containers and supervisors."""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException
from typing import Annotated, Literal

import typer

from relay.cli.command import command, commands
from relay.cli.output import say
from relay.config.admin_address import admin_address
from relay.config.settings import Settings
from relay.core.errors import RelayError
from relay.net.listen_address import EVERY_ADDRESS, Listen

app = commands()

Role = Literal["ingress", "worker", "admin", "up"]

_TIMEOUT = 4.0  # seconds: less than a container's health check has
_ANY = {EVERY_ADDRESS: "127.0.0.1", "::": "::1"}


@command(app, examples=("relay health", "relay health --ready"))
def health(
    *,
    role: Annotated[Role, typer.Option(metavar="ROLE", help="Role to ask without RELAY_ADMIN_LISTEN.")] = "ingress",
    ready: Annotated[bool, typer.Option("--ready", help="Also fail while it takes no work (/ready).")] = False,
) -> None:
    """Check whether a role on this machine works, at RELAY_ADMIN_LISTEN; exit code 1 if not.

    A role that waits for Redis works, but is not ready.
    """
    address = admin_address(Settings.load(), role)
    here = Listen(host=_ANY.get(address.host, address.host), port=address.port)
    status, body = _get(here, "/ready" if ready else "/live")
    if status != 200:
        raise RelayError(f"{here}: {status}\n{body}")
    say(f"{here}: {'ready' if ready else 'live'}", fg="green")


def _get(address: Listen, path: str) -> tuple[int, str]:
    connection = HTTPConnection(address.host, address.port, timeout=_TIMEOUT)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace").strip()
    except (OSError, HTTPException) as error:
        raise RelayError(f"{address}: {error}") from None
    finally:
        connection.close()
