"""Visibility: the subscriptions, topics and groups that a principal sees, and the errors about all others.

What it may not see is answered exactly as what does not exist.
"""

from __future__ import annotations

from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

from relay.core.errors import ConfigError, NotFound
from relay.store.lanes.position import lane_names
from relay.store.topics.topics import topic_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from relay.core.access.principal import Principal
    from relay.core.config.relay_toml import RelayConfig, Subscription
    from relay.services.context import Context
    from relay.store.topics.topics import GroupState


def team_of(subscription: Subscription) -> str | None:
    """Return the team that owns a subscription."""
    team: str | None = getattr(subscription, "team", None)
    return team


def subscriptions_of(config: RelayConfig, principal: Principal) -> dict[str, Subscription]:
    """Return the subscriptions of the rules that the principal sees, by name."""
    return {known.name: known for known in config.subscriptions if principal.owns(team_of(known))}


def configured(config: RelayConfig, principal: Principal, name: str) -> Subscription:
    """Return the subscription of that name.

    Raises:
        NotFound: there is none.
    """
    known = subscriptions_of(config, principal)
    if name not in known:
        raise unknown_subscription(name, known, "")
    return known[name]


def unknown_subscription(name: str, known: Iterable[str], where: str) -> NotFound:
    """Return the error about a subscription that does not exist; `where` begins with a space, or is empty."""
    return NotFound(f'no subscription "{name}"{where} (known: {_listed(sorted(known))})')


async def lanes_of(context: Context, principal: Principal, subscription: str | None = None) -> Sequence[str]:
    """Return the lanes that the principal sees, or only that of `subscription`; none if it was not started yet.

    Raises:
        NotFound: there is no subscription of that name.
    """
    lanes = await lane_names(context.redis)
    if principal.is_operator and (subscription is None or subscription in lanes):
        return lanes if subscription is None else [subscription]
    known: Mapping[str, Subscription] = {}
    with suppress(ConfigError) if principal.is_operator else nullcontext():
        known = subscriptions_of(await context.config(), principal)
    if not principal.is_operator:
        lanes = [name for name in lanes if name in known]
    if subscription is None:
        return lanes
    if subscription in lanes:
        return [subscription]
    if subscription in known:
        return []
    raise NotFound(f'no subscription "{subscription}" has ever received an event (known: {_listed(lanes, "none yet")})')


async def topics_of(context: Context, principal: Principal) -> list[str]:
    """Return the topics that the principal sees: those of the rules in their order, then all that ever had an event."""
    config = await context.config()
    names = await topic_names(context.redis, (topic.name for topic in config.topics))
    return [name for name in names if principal.sees_topic(name)]


async def check_topic(context: Context, principal: Principal, name: str) -> None:
    """Check that there is a topic of that name, or once was.

    Raises:
        NotFound: there is none.
    """
    if principal.sees_topic(name) and any(topic.name == name for topic in (await context.config()).topics):
        return  # without a look at those that once were, which every request of a reader would cost
    topics = await topics_of(context, principal)
    if name not in topics:
        raise NotFound(f'no topic "{name}" (known: {_listed(topics)})')


def sees_pull_group(principal: Principal, name: str) -> bool:
    """Return True if the principal sees a pull group of a topic that it sees.

    The group of a team has its name, or begins with the name and a dot.
    """
    return principal.is_operator or name == principal.team or name.startswith(f"{principal.team}.")


def unknown_group(topic: str, name: str, known: Iterable[str]) -> NotFound:
    """Return the error about a pull group that does not exist."""
    return NotFound(f'topic "{topic}" has no group "{name}" (pull groups: {_listed(sorted(known))})')


def group_visibility(config: RelayConfig, principal: Principal) -> Callable[[GroupState], bool]:
    """Return the test of which consumer groups the principal sees of a topic that it sees."""
    known = subscriptions_of(config, principal)

    def sees(group: GroupState) -> bool:
        if principal.is_operator:
            return True
        return group.name in known if group.is_push else sees_pull_group(principal, group.name)

    return sees


def _listed(names: Iterable[str], none: str = "none") -> str:
    return ", ".join(names) or none
