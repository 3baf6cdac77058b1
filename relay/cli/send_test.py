"""`relay send-test`: a sample event, signed and marked as a test, to one push subscription."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli.command import command, commands
from relay.cli.operator import WhyOption, cli_principal
from relay.cli.output import View, print_json, say
from relay.cli.remote import calls
from relay.cli.remote.access import Via
from relay.config.load import load_settings
from relay.process.event_loop import run
from relay.services.context import open_context
from relay.services.deliveries import stored_subscriptions

if TYPE_CHECKING:
    from relay.cli.remote.access import Access
    from relay.services.deliveries.stored_subscriptions import SentTest

app = commands()


@command(
    app,
    "send-test",
    examples=("relay send-test crm", "relay send-test crm --type message.read"),
    view=("json",),
)
def send_test(
    subscription: Annotated[str, typer.Argument(metavar="SUBSCRIPTION", help="The subscription, also of relay.toml.")],
    *,
    event_type: Annotated[
        str | None,
        typer.Option(
            "--type", metavar="TYPE", help="The event type; default: message.received, or another that it gets."
        ),
    ] = None,
    why: WhyOption = "",
    via: Via,
    view: View,
) -> None:
    """Send a sample event to a subscription, like any other but with Relay-Test: true."""
    sent = run(_send(via.remote(), subscription, event_type, why))
    if view.json:
        print_json(asdict(sent))
        return
    say(f"{sent.event_type} {sent.event_id} goes to {sent.subscription}.")
    if sent.waits_for:
        say(f"It waits: {sent.waits_for}.")
    say(f"  relay attempts --id {sent.event_id}")


async def _send(access: Access | None, name: str, event_type: str | None, why: str) -> SentTest:
    if access is not None:
        return await calls.send_test(access, name, event_type, why)
    async with open_context(load_settings()) as context:
        return await stored_subscriptions.send_test(context, cli_principal(), name, event_type, why)
