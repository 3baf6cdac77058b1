"""Admission of a subscription made by the API: its team and topic, its name, and how many there may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.core.config.checks.contradictions import exclusive_topic
from relay.core.config.pairs.shadows import FILTERS, is_shadow
from relay.core.errors import Conflict, Hint, Invalid, Problem, TooMany
from relay.store.lanes.position import lane_names
from relay.store.stored_subscriptions.hash import MAX_PER_TEAM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.core.access.principal import Principal
    from relay.core.config.relay_toml import Subscription
    from relay.rules.merge import View
    from relay.services.context import Context
    from relay.store.stored_subscriptions.record import StoredSubscription


def own_keys(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a table that are stored: not what a shadow has of its original, which may change."""
    return {key: value for key, value in table.items() if not is_shadow(table) or key not in {"topic", *FILTERS}}


def check_access(principal: Principal, view: View, table: Mapping[str, Any]) -> None:
    """Check the team and the topic of a table, without a word about what the principal may not see."""
    if principal.is_operator:
        return
    if table.get("team") != principal.team:
        raise Invalid(Problem("team", f'it must be "{principal.team}", the team of the token'))
    if "topic" not in table and isinstance(table.get("shadow_of"), str):
        return  # that of its original, which must be of the same team
    topic, known = table.get("topic"), [each.name for each in view.file.topics if principal.sees_topic(each.name)]
    if topic not in known:
        raise Invalid(Problem("topic", f'there is no topic "{topic}" (topics: {", ".join(known) or "none"})'))


def team_of_original(view: View, table: Mapping[str, Any]) -> str | None:
    """Return the team of the subscription that the table shadows; None if it has none, or does not exist."""
    original = table.get("shadow_of")
    return next((each.team for each in view.config.subscriptions if each.name == original), None)


def check_exclusive(principal: Principal, view: View, wanted: Subscription) -> None:
    """Check that no other subscription has the topic, if it is exclusive; shadows do not count.

    Raises:
        Conflict: another one has it.
    """
    topic = next(each for each in view.file.topics if each.name == wanted.topic)
    if not topic.exclusive or wanted.shadow_of is not None:
        return
    for holder in view.config.subscriptions_by_topic.get(topic.name, ()):
        if holder.name != wanted.name and holder.shadow_of is None:
            shown = holder.name if principal.owns(holder.team) else None
            raise Conflict(exclusive_topic(topic.name, shown, wanted.name))


async def free_name(context: Context, principal: Principal, view: View, record: StoredSubscription) -> int:
    """Return the version that a new record of this name replaces: that of a deleted subscription of its team, or 0.

    A name whose lane still has events of another team, or of the operators, is taken: they would be delivered.
    """
    name, former = record.name, view.stored.get(record.name)
    if view.is_in_file(name):
        raise _taken(principal, name, "it is in relay.toml; change it there")
    if (former is not None and not former.deleted) or (former is None and name in view.unusable):
        raise _taken(principal, name, "change it, or delete it first")
    is_own = record.team is None or (former is not None and former.team == record.team)
    if not is_own and (former is not None or name in await lane_names(context.redis)):
        hint = Hint(f"relay subscriptions drop {name}", f"DELETE /subscriptions/{name}/events")
        raise _taken(principal, name, "a former subscription left events; drop them first", hint)
    return 0 if former is None else former.version


def _taken(principal: Principal, name: str, reason: str, hint: Hint | None = None) -> Conflict:
    """Return the error of a name that is taken; a team gets the same one for every cause."""
    if principal.is_operator:
        return Conflict(f'the name "{name}" is taken: {reason}', hint=hint)
    own = f"{principal.team}-"
    example = "choose another" if name.startswith(own) else f'choose another that begins with "{own}"'
    return Conflict(f'the name "{name}" cannot be used; {example}')


def check_number(view: View, record: StoredSubscription) -> None:
    """Check the number of records of a team; the script checks that of all."""
    others = [known for known in view.stored.values() if known.team == record.team and known.name != record.name]
    if record.team is not None and len(others) >= MAX_PER_TEAM:
        deleted = sum(known.deleted for known in others)
        note = f", of which {deleted} are deleted and not dropped" if deleted else ""
        raise TooMany(f"the team has {MAX_PER_TEAM} subscriptions made by the API already{note}")
