"""Pages of `relay dead list`, and `relay dead replay` over the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from relay.cli.operator import cli_principal
from relay.config.load import load_settings
from relay.services.context import open_context
from relay.services.deliveries import dead_letters
from relay.services.page import MAX_LIMIT
from relay.services.topics.pull import dead_letters as of_groups

if TYPE_CHECKING:
    from relay.cli.remote.access import Access
    from relay.core.event_filter import EventFilter
    from relay.store.keys import GroupName
    from relay.store.lanes.dead_letters import DeadLetter


async def read(
    access: Access | None, subscription: str | None, which: EventFilter, cursor: str | None, limit: int
) -> tuple[list[DeadLetter], str | None, dict[GroupName, int]]:
    """Return dead letters of subscriptions, the cursor of those after, and the numbers of those of pull groups.

    The numbers are those of all groups if nothing is narrowed; none over the API.
    """
    if access is not None:
        from relay.cli.remote import calls  # noqa: PLC0415  with the HTTP client, when it is needed

        return *(await calls.dead_letters(access, subscription, which, cursor, limit)), {}
    letters: list[DeadLetter] = []
    async with open_context(load_settings()) as context:
        principal = cli_principal()
        is_all = subscription is None and cursor is None and which.is_any
        numbers = await of_groups.numbers(context, principal) if is_all else {}
        while True:
            size = min(limit - len(letters), MAX_LIMIT)
            page = await dead_letters.search(context, principal, subscription, which, cursor, size)
            letters += page.items
            cursor = page.next
            if cursor is None or len(letters) >= limit:
                return letters, cursor, numbers


def tell_rest(cursor: str | None) -> None:
    """Tell on standard error how to go on, if there is more."""
    if cursor is not None:
        typer.echo(f"There are more; go on with --cursor {cursor}", err=True)


async def replay(
    access: Access,
    subscription: str | None,
    which: EventFilter,
    rate: float | None,
    why: str,
    *,
    every: bool,
    dry_run: bool,
) -> dict[str, int]:
    """Send dead letters of subscriptions back over the API; return how many, by subscription."""
    from relay.cli.remote import calls  # noqa: PLC0415  with the HTTP client, when it is needed

    if rate is not None:
        raise typer.BadParameter("over the API, all are sent back at once; leave it out", param_hint="--rate")
    if not why:
        raise typer.BadParameter("over the API, a replay needs its reason", param_hint="--why")
    return await calls.replay_dead_letters(access, subscription, which, why, every=every, dry_run=dry_run)
