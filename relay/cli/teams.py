"""`relay teams`: the teams, and those that are not in relay.toml."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli.command import command, commands
from relay.cli.operator import WhyOption, cli_principal
from relay.cli.output import View, print_json, print_table, say
from relay.config.load import load_settings
from relay.process.event_loop import run
from relay.services.account import teams
from relay.services.context import open_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.config.settings import Settings
    from relay.services.account.teams import TeamState

app = commands(
    "List the teams; create, change and delete those outside relay.toml.",
    examples=("relay teams list", "relay teams create crm --topic support --contact '#crm-oncall'"),
)

NameArgument = Annotated[str, typer.Argument(metavar="TEAM", help="The team's name.")]
TopicOption = Annotated[
    list[str] | None,
    typer.Option("--topic", metavar="TOPIC", help="A topic that it may read and subscribe to; repeatable, * for all."),
]


@command(app, "list", examples=("relay teams list", "relay teams list --json"), view=("wide", "json"))
def list_(*, view: View) -> None:
    """Show the teams, the topics that each is granted, and what belongs to it."""
    found = run(_list(load_settings()))
    if view.json:
        print_json([asdict(team) for team in found])
        return
    rows = [
        (each.name, ", ".join(each.topics), each.contact, each.source.shown, len(each.subscriptions), each.tokens)
        for each in found
    ]
    print_table("Teams", ("team", "topics", "contact", "origin", "subscriptions", "tokens"), rows, view)


@command(
    app,
    examples=("relay teams create crm --topic support --contact '#crm-oncall'", "relay teams create ops --topic '*'"),
    view=(),
)
def create(
    name: NameArgument,
    *,
    topics: TopicOption = None,
    contact: Annotated[str, typer.Option(metavar="TEXT", help="The people to ask.")] = "",
    why: WhyOption = "",
) -> None:
    """Create a team; relay token create makes a token for it."""
    run(_create(load_settings(), name, topics or [], contact, why))
    say(f"The team {name} is created. For a token of it:")
    say(f"  relay token create LABEL --team {name} --scope read --scope subscribe")


@command(
    app,
    examples=("relay teams change crm --topic support --topic billing", "relay teams change crm --contact '#crm'"),
    view=(),
)
def change(
    name: NameArgument,
    *,
    topics: TopicOption = None,
    contact: Annotated[str | None, typer.Option(metavar="TEXT", help="The people to ask.")] = None,
    why: WhyOption = "",
) -> None:
    """Replace the topics or the contact of a team; its tokens follow at once."""
    if topics is None and contact is None:
        raise typer.BadParameter("give --topic, --contact, or both")
    changed = run(_change(load_settings(), name, topics, contact, why))
    say(f"The team {name} is changed; its topics: {', '.join(changed.topics)}.")


@command(app, examples=("relay teams delete crm", "relay teams delete crm --why merged"), view=())
def delete(name: NameArgument, *, why: WhyOption = "") -> None:
    """Delete a team that owns no subscription and no valid token."""
    run(_delete(load_settings(), name, why))
    say(f"The team {name} is deleted.")


async def _list(settings: Settings) -> list[TeamState]:
    async with open_context(settings) as context:
        return await teams.list_teams(context, cli_principal())


async def _create(settings: Settings, name: str, topics: Sequence[str], contact: str, why: str) -> TeamState:
    async with open_context(settings) as context:
        return await teams.create_team(context, cli_principal(), name, topics, contact, why)


async def _change(
    settings: Settings, name: str, topics: Sequence[str] | None, contact: str | None, why: str
) -> TeamState:
    async with open_context(settings) as context:
        return await teams.change_team(context, cli_principal(), name, topics=topics, contact=contact, why=why)


async def _delete(settings: Settings, name: str, why: str) -> None:
    async with open_context(settings) as context:
        await teams.delete_team(context, cli_principal(), name, why=why)
