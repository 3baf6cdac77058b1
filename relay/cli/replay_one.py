"""`relay replay --id`: one event, sent to a push subscription again."""

from __future__ import annotations

import typer

from relay.cli.operator import cli_principal
from relay.cli.output import View, print_json, say
from relay.cli.search_progress import search_progress
from relay.config.load import load_settings
from relay.config.settings import Settings
from relay.core.errors import NotFound
from relay.process.event_loop import run
from relay.services.context import open_context
from relay.services.topics.events import NotFoundYet, Resent, resend

_SECONDS = 10.0


def send_one(event_id: str, to: str | None, topic: str | None, why: str, view: View) -> None:
    """Send one event to a subscription again, and print what was done."""
    if to is None:
        raise typer.BadParameter("the subscription that receives it is needed", param_hint="--to")
    sent = run(_send(load_settings(), event_id, to, topic, why, view))
    if view.json:
        print_json(
            {
                "id": sent.event_id,
                "topic": sent.place.topic,
                "entry": sent.place.entry,
                "subscription": sent.subscription,
                "replay": sent.replay,
                "notes": sent.notes,
            }
        )
        return
    say(f"Event {sent.event_id} of {sent.place.topic} is queued for {sent.subscription}.")
    for note in sent.notes:
        say(f"It waits: {note}.", fg="yellow")
    say(f"relay event {sent.event_id} shows what happens to it.")


async def _send(settings: Settings, event_id: str, to: str, topic: str | None, why: str, view: View) -> Resent:
    async with open_context(settings) as context:
        with search_progress(view) as progress:
            try:
                return await resend(
                    context,
                    cli_principal(),
                    event_id,
                    to,
                    topic=topic,
                    why=why,
                    seconds=_SECONDS,
                    progress=progress,
                )
            except NotFoundYet as error:
                raise NotFound(
                    f'no event "{event_id}" was routed since {view.time(error.searched_to_ms)}; name its topic and '
                    "period instead: relay replay --topic TOPIC --to SUBSCRIPTION --since TIME --until TIME"
                ) from None
