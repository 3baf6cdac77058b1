"""Teams: those of relay.toml, and those made by API or command line. A team of the file wins over one of its name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import ValidationError

from relay.core.access.scopes import Scope
from relay.core.config.teams import EVERY_TOPIC, Team
from relay.core.errors import ChangedMeanwhile, Conflict, Invalid, NotFound, Problem
from relay.services.topics.pull.states import groups_left
from relay.services.wording import BY_API, IN_FILE
from relay.store.teams.teams import StoredTeam, stored_teams
from relay.store.teams.tokens import Token, tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from relay.core.access.principal import Principal
    from relay.core.config.relay_toml import RelayConfig
    from relay.services.context import Context


class Source(StrEnum):
    """The place of a team's definition."""

    FILE = "file"
    """relay.toml; the API cannot change it."""
    API = "api"
    """Redis: the API or the command line made it."""

    @property
    def shown(self) -> str:
        """The words for it on every face."""
        return IN_FILE if self is Source.FILE else BY_API


@dataclass(frozen=True, slots=True)
class TeamState:
    """A team, and what belongs to it."""

    name: str
    topics: tuple[str, ...]
    """The topics that it is granted, or `*`."""
    contact: str
    egress: tuple[str, ...] | None
    """The destinations of its subscriptions, within `[egress]`; None if it has no list of its own."""
    source: Source
    version: int
    """Increased by every change; 0 for a team of the file."""
    subscriptions: tuple[str, ...]
    """The names of its push subscriptions."""
    tokens: int
    """The number of its tokens that are valid now."""


def granted_topics(config: RelayConfig, team: Team) -> frozenset[str]:
    """Return the topics of the rules that a team may read and subscribe to now."""
    return frozenset(name for name in config.topic_names if team.grants(name))


async def find_team(context: Context, config: RelayConfig, name: str) -> Team | None:
    """Return the team of that name, of the file or of the API; None if there is none. For services: no access check."""
    if team := config.teams_by_name.get(name):
        return team
    stored = await stored_teams(context.redis).get(name)
    return None if stored is None else stored.team


async def begin_of_team(context: Context, name: str) -> int:
    """Return the time before which nothing of that name is the team's, Unix ms: it was another's; 0 without one."""
    if name in (await context.config()).teams_by_name:
        return 0
    stored = await stored_teams(context.redis).get(name)
    return 0 if stored is None else stored.created_ms


async def list_teams(context: Context, principal: Principal) -> list[TeamState]:
    """Return the teams that the principal sees, by name.

    Raises:
        Forbidden: the scope `read` is missing.
    """
    principal.require(Scope.READ)
    config = await context.config()
    stored = await stored_teams(context.redis).all()
    known: list[Team | StoredTeam] = [*config.teams]
    known += (each for name, each in stored.items() if name not in config.teams_by_name)
    held = await tokens(context.redis).all()
    states = (_state(context, config, held.values(), team) for team in known if principal.owns(team.name))
    return sorted(states, key=lambda state: state.name)


async def get_team(context: Context, principal: Principal, name: str) -> TeamState:
    """Return a team.

    Raises:
        Forbidden: the scope `read` is missing.
        NotFound: there is no such team.
    """
    known = {team.name: team for team in await list_teams(context, principal)}
    if name not in known:
        raise _unknown(name, known)
    return known[name]


async def create_team(
    context: Context, principal: Principal, name: str, topics: Sequence[str], contact: str = "", why: str = ""
) -> TeamState:
    """Create a team. A former team of its name leaves it nothing: its tokens are deleted.

    Raises:
        Forbidden: the principal is not an operator with the scope `admin`.
        Invalid: the name, a topic or the contact is wrong; names all of them.
        Conflict: the name is taken, or subscriptions of a former team have it.
    """
    principal.require_operator(Scope.ADMIN)
    config = await context.config()
    team = _checked(config, name, topics, contact)
    if name in config.teams_by_name:
        raise _of_the_file(context, name, "made")
    if await stored_teams(context.redis).get(name):
        raise Conflict(f'there is a team "{name}" already; change it, or choose another name')
    stored = (await context.rules.view()).stored.values()
    if left := [each.name for each in stored if each.table.get("team") == name]:
        raise Conflict(
            f'a former team "{name}" still has the subscriptions {", ".join(sorted(left))}; delete them and drop their '
            "events, or choose another name"
        )
    await context.record(principal, "teams create", name, why=why)
    for token in (await tokens(context.redis).all()).values():
        if token.team == name:
            await tokens(context.redis).delete(token.id, context.redis.key.tokens_used)
    made = StoredTeam(
        name=team.name,
        topics=team.topics,
        contact=team.contact,
        created_ms=context.now_ms,
        created_by=principal.name,
    )
    if not await stored_teams(context.redis).add(name, made):
        raise Conflict(f'there is a team "{name}" already; change it, or choose another name')
    return await _state_now(context, config, made)


async def change_team(  # noqa: PLR0913  what can be changed
    context: Context,
    principal: Principal,
    name: str,
    *,
    topics: Sequence[str] | None = None,
    contact: str | None = None,
    version: int | None = None,
    why: str = "",
) -> TeamState:
    """Change what is given of a team; with `version`, only if it still has that version.

    Values that it has already change nothing, and leave its version.

    Raises:
        Forbidden: the principal is not an operator with the scope `admin`.
        NotFound: there is no such team.
        Invalid: a topic or the contact is wrong.
        Conflict: the file has the team, it has another version, or its subscriptions need a topic that it would lose.
    """
    principal.require_operator(Scope.ADMIN)
    config = await context.config()
    await _check_changeable(context, config, name, version, "changed")

    def change(present: StoredTeam) -> StoredTeam:
        _check_version(present, version)
        team = _checked(
            config, name, present.topics if topics is None else topics, present.contact if contact is None else contact
        )
        needed = {each.topic: each.name for each in config.subscriptions if each.team == name}
        if lost := {topic: owner for topic, owner in needed.items() if not team.grants(topic)}:
            uses = ", ".join(f'"{topic}" is delivered to {owner}' for topic, owner in lost.items())
            raise Conflict(f'the team "{name}" cannot lose topics that its subscriptions need: {uses}')
        if (team.topics, team.contact) == (present.topics, present.contact):
            return present
        return present.model_copy(
            update={"topics": team.topics, "contact": team.contact, "version": present.version + 1}
        )

    present = await _stored(context, name)
    if change(present) is present:  # a change that is refused, or changes nothing, is not recorded
        return await _state_now(context, config, present)
    await context.record(principal, "teams change", name, why=why)
    changed = await stored_teams(context.redis).change(name, change)
    if changed is None:
        raise _unknown(name)
    return await _state_now(context, config, changed)


async def delete_team(
    context: Context, principal: Principal, name: str, *, version: int | None = None, why: str = ""
) -> None:
    """Delete a team, which must own nothing any more; with `version`, only if it still has that version.

    Raises:
        Forbidden: the principal is not an operator with the scope `admin`.
        NotFound: there is no such team.
        Conflict: the file has the team, it has another version, or it owns subscriptions, pull groups or valid tokens.
    """
    principal.require_operator(Scope.ADMIN)
    config = await context.config()
    await _check_changeable(context, config, name, version, "deleted")
    held = [token for token in (await tokens(context.redis).all()).values() if token.team == name]
    owned = [f"the subscription {each.name}" for each in config.subscriptions if each.team == name]
    owned += [f"the token {each.id} ({each.label})" for each in held if each.is_valid(context.now_ms)]
    owned += [f"the pull group {group.topic}/{group.group}" for group in await groups_left(context, name)]
    if owned:
        message = "delete or revoke them first, and drop the dead letters of pull groups"
        raise Conflict(f'the team "{name}" still owns {", ".join(owned)}; {message}')
    await context.record(principal, "teams delete", name, why=why)

    def delete(present: StoredTeam) -> None:
        _check_version(present, version)

    await stored_teams(context.redis).change(name, delete)
    for token in held:
        await tokens(context.redis).delete(token.id, context.redis.key.tokens_used)


def _state(context: Context, config: RelayConfig, held: Iterable[Token], team: Team | StoredTeam) -> TeamState:
    is_stored = isinstance(team, StoredTeam)
    return TeamState(
        name=team.name,
        topics=team.topics,
        contact=team.contact,
        egress=None if isinstance(team, StoredTeam) else team.egress,
        source=Source.API if is_stored else Source.FILE,
        version=team.version if isinstance(team, StoredTeam) else 0,
        subscriptions=tuple(each.name for each in config.subscriptions if each.team == team.name),
        tokens=sum(token.team == team.name and token.is_valid(context.now_ms) for token in held),
    )


async def _state_now(context: Context, config: RelayConfig, team: StoredTeam) -> TeamState:
    return _state(context, config, (await tokens(context.redis).all()).values(), team)


async def _stored(context: Context, name: str) -> StoredTeam:
    found = await stored_teams(context.redis).get(name)
    if found is None:
        raise _unknown(name, await stored_teams(context.redis).all())
    return found


async def _check_changeable(context: Context, config: RelayConfig, name: str, version: int | None, verb: str) -> None:
    if name in config.teams_by_name:
        raise _of_the_file(context, name, verb)
    _check_version(await _stored(context, name), version)


def _check_version(present: StoredTeam, version: int | None) -> None:
    if version is not None and version != present.version:
        raise ChangedMeanwhile(
            f'the team "{present.name}" has version {present.version}, not {version}; look at it again, then change it'
        )


def _checked(config: RelayConfig, name: str, topics: Sequence[str], contact: str) -> Team:
    problems = [
        Problem(f"topics[{position}]", f'there is no topic "{topic}" (topics: {", ".join(sorted(config.topic_names))})')
        for position, topic in enumerate(topics)
        if topic != EVERY_TOPIC and topic not in config.topic_names
    ]
    try:
        team = Team(name=name, topics=tuple(topics), contact=contact)
    except ValidationError as error:
        found = dict.fromkeys(str(detail["loc"][0]) for detail in error.errors())
        problems += [Problem(field, _MISTAKES[field]) for field in found if field != "topics" or not topics]
    if problems:
        raise Invalid(*problems)
    return team


_MISTAKES = {
    "name": 'it is not the name of a team; use letters, digits, "_" and "-", at most 64',
    "topics": 'the list is empty; name at least one topic, or "*" for all',
    "contact": "it is longer than 200 characters",
}


def _of_the_file(context: Context, name: str, verb: str) -> Conflict:
    return Conflict(f'the team "{name}" is in {context.settings.relay_config}; it can only be {verb} there')


def _unknown(name: str, known: Iterable[str] = ()) -> NotFound:
    return NotFound(f'no team "{name}" (known: {", ".join(sorted(known)) or "none"})')
