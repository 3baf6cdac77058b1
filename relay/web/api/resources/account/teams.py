"""Teams: their topics and contacts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from relay.core.access.scopes import Scope
from relay.core.config.fields import Name
from relay.services.account import teams
from relay.services.account.teams import Source
from relay.web.api.models import Input, Output, Page, Paging, Why, part_of
from relay.web.api.operation import Call, Tag, Versions, operation

TAG = Tag("teams", "Teams, of relay.toml or made here. A team's token sees its own team alone.")

Topics = Annotated[list[Annotated[str, Field(min_length=1, max_length=64)]], Field(min_length=1, max_length=1000)]
Contact = Annotated[str, Field(max_length=200)]


class TeamPath(Input):
    """The path of a team."""

    team: Name


class Team(Output):
    """A team."""

    name: str
    """Its name."""
    topics: list[str]
    """The topics that it may read and subscribe to; `*` is all."""
    contact: str
    """The people to ask."""
    egress: list[str] | None
    """The destinations of its subscriptions, within `[egress]` of relay.toml; null if it has no list of its own."""
    source: Source
    """`file`: relay.toml has it, and it is changed there. `api`: it was made here, or by the command line."""
    version: int
    """Increased by every change; 0 for a team of relay.toml."""
    subscriptions: list[str]
    """The names of its push subscriptions."""
    tokens: int
    """The number of its tokens that are valid now."""


class NewTeam(Input):
    """A team to create."""

    name: Name
    """Its name, which cannot change."""
    topics: Topics
    """The topics that it may read and subscribe to; `*` is all."""
    contact: Contact = ""
    """The people to ask."""
    why: Why | None = None


class TeamChange(Input):
    """A change of a team; fields that are left out stay."""

    topics: Topics | None = None
    """The topics that it may read and subscribe to; `*` is all."""
    contact: Contact | None = None
    """The people to ask."""
    why: Why | None = None


class Deletion(Input):
    """The reason of a deletion."""

    why: Why


@operation("GET", "/teams", tag=TAG, scope=Scope.READ)
async def list_teams(call: Call, query: Paging) -> Page[Team]:
    """List the teams that you may see: your own, or all if you are an operator."""
    return part_of(await teams.list_teams(call.context, call.principal), query, Team, lambda team: team.name)


@operation("GET", "/teams/{team}", tag=TAG, scope=Scope.READ, versions=Versions.SHOWN)
async def get_team(call: Call, path: TeamPath) -> Team:
    """Get a team."""
    return Team.model_validate(await teams.get_team(call.context, call.principal, path.team))


@operation(
    "POST",
    "/teams",
    tag=TAG,
    scope=Scope.ADMIN,
    operators_only=True,
    status=201,
    versions=Versions.SHOWN,
    idempotent=True,
)
async def create_team(call: Call, body: NewTeam) -> Team:
    """Create a team."""
    made = await teams.create_team(call.context, call.principal, body.name, body.topics, body.contact, body.why or "")
    return Team.model_validate(made)


@operation(
    "PATCH",
    "/teams/{team}",
    tag=TAG,
    scope=Scope.ADMIN,
    operators_only=True,
    versions=Versions.CHECKED,
    errors={409},
)
async def change_team(call: Call, path: TeamPath, body: TeamChange) -> Team:
    """Change the topics or the contact of a team that was made here."""
    changed = await teams.change_team(
        call.context,
        call.principal,
        path.team,
        topics=body.topics,
        contact=body.contact,
        version=call.version,
        why=body.why or "",
    )
    return Team.model_validate(changed)


@operation(
    "DELETE",
    "/teams/{team}",
    tag=TAG,
    scope=Scope.ADMIN,
    operators_only=True,
    versions=Versions.CHECKED,
    errors={409},
)
async def delete_team(call: Call, path: TeamPath, query: Deletion) -> None:
    """Delete a team that was made here, and that owns nothing any more."""
    await teams.delete_team(call.context, call.principal, path.team, version=call.version, why=query.why)


OPERATIONS = (list_teams, get_team, create_team, change_team, delete_team)
