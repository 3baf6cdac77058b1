"""`relay message`: the life of one message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli.command import command, commands
from relay.cli.message_view import life_summary, print_life
from relay.cli.operator import cli_principal
from relay.cli.output import View, print_json
from relay.cli.remote import calls
from relay.cli.remote.access import Via
from relay.cli.search_progress import CursorOption, SecondsOption, continued_by, search_progress
from relay.config.load import load_settings
from relay.process.event_loop import run
from relay.services.context import open_context
from relay.services.topics.life.life import life_of

if TYPE_CHECKING:
    from relay.cli.remote.access import Access
    from relay.services.topics.life.summary import Life

app = commands()


@command(
    app,
    examples=(
        "relay message b3f2a8d1-77c4-4e19-a5d0-2c6e9f1b4a83",
        "relay message b3f2a8d1-77c4-4e19-a5d0-2c6e9f1b4a83 --json | jq .state",
    ),
    view=("utc", "json"),
)
def message(
    message_id: Annotated[str, typer.Argument(metavar="ID", help="Linq's message id.")],
    *,
    seconds: SecondsOption = 10.0,
    cursor: CursorOption = None,
    via: Via,
    view: View,
) -> None:
    """Show the life of a message: sent, delivered, read, failed, edited, reactions, replies, and what is missing.

    The topics are searched, newest first, back to its beginning. Exit code 1 if they hold nothing of it.
    """
    found = run(_life(via.remote(), message_id, cursor, seconds, view))
    if view.json:
        print_json(life_summary(found))
    else:
        print_life(found, view)


async def _life(access: Access | None, message_id: str, cursor: str | None, seconds: float, view: View) -> Life:
    with continued_by(f"message {message_id}", f'event of message "{message_id}"', view):
        if access is not None:
            return await calls.life(access, message_id, cursor, seconds or None)
        async with open_context(load_settings()) as context:
            with search_progress(view) as progress:
                return await life_of(
                    context, cli_principal(), message_id, cursor, seconds=seconds or None, progress=progress
                )
