"""Explanation of an event: the topics that it matches, the subscriptions that get it, and why the others do not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from relay.core.access.scopes import Scope
from relay.core.config.topics import filtered_by, mismatches
from relay.core.event import Dialect
from relay.services.access import subscriptions_of
from relay.services.deliveries import subscriptions
from relay.services.topics import topics
from relay.services.wording import counted
from relay.store.keyring.line_accounts import LineAccounts, may_prove

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from relay.core.access.principal import Principal
    from relay.core.conditions.content import Content
    from relay.core.config.relay_toml import RelayConfig, Subscription
    from relay.core.config.topics import Topic
    from relay.core.event import Event
    from relay.services.context import Context

YES, NO, IF_LINE = "yes", "no", "depends on the line"


@dataclass(frozen=True, slots=True)
class ConditionVerdict:
    """The outcome of one condition of a topic."""

    condition: str
    """Its key in relay.toml."""
    wanted: str
    holds: bool
    why_not: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result for one topic or subscription."""

    answer: str
    """`yes`, `no`, or `depends on the line`."""
    why_not: list[str]
    conditions: tuple[ConditionVerdict, ...] = ()
    """The conditions that the topic sets beyond event types and lines."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """A subscription of a topic that the event matches, or could match."""

    subscription: str
    topic: str
    kind: str
    """`push` or `pull`."""
    receives: str
    """`yes`, `no`, or `depends on the line`."""
    to: str | None
    """Scheme and host of a push subscription's URL."""
    state: str | None
    """None if Redis cannot be asked."""
    why_not: list[str]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The topics and subscriptions that an event gets to, and does not."""

    topics: Mapping[str, Verdict]
    """By the name of each topic of the rules."""
    receivers: tuple[Receiver, ...]
    redis_error: str | None
    """The reason why states and pull groups are missing; None if they are not."""

    @property
    def matching(self) -> list[str]:
        """The topics that the event matches."""
        return [name for name, verdict in self.topics.items() if verdict.answer == YES]


async def with_proved_line(context: Context, event: Event) -> Event:
    """Return an event whose URL names no line: without that of its payload, if that is none of its account."""
    if event.line is None or event.api is Dialect.V2:
        return event
    accounts = LineAccounts(context.redis)
    await accounts.read(await context.config())
    return event if may_prove(accounts.known, event.account, event.line) else event._replace(line=None)


async def explain(
    context: Context, principal: Principal, event: Event, content: Content, *, is_exact: bool = False
) -> Explanation:
    """Return which topics and subscriptions get `event`, and why the others do not.

    A line that the event does not name can be known once its webhook arrives. With `is_exact`, the lag of pull groups
    is counted.
    """
    principal.require(Scope.READ)
    found = by_rules(await context.config(), principal, event, content)
    possible = [name for name, verdict in found.topics.items() if verdict.answer != NO]
    states = {each.name: each.sentence for each in await subscriptions.list_states(context, principal)}
    readers = await topics.read_states(context, principal, possible, is_exact=is_exact)
    push = [replace(each, state=states.get(each.subscription)) for each in found.receivers]
    pull = [
        Receiver(
            group.name,
            topic.name,
            "pull",
            found.topics[topic.name].answer,
            None,
            f"{counted(group.lag, 'event')} behind",
            [],
        )
        for topic in readers
        for group in topic.groups
        if not group.is_push
    ]
    return replace(found, receivers=(*push, *pull))


def by_rules(
    config: RelayConfig, principal: Principal, event: Event, content: Content, redis_error: str | None = None
) -> Explanation:
    """Return the explanation without what Redis knows; `redis_error` is the reason why."""
    verdicts = {
        topic.name: _topic(topic, event, content) for topic in config.topics if principal.sees_topic(topic.name)
    }
    push = [
        _push(subscription, event, verdicts[subscription.topic])
        for subscription in subscriptions_of(config, principal).values()
        if subscription.topic in verdicts and verdicts[subscription.topic].answer != NO
    ]
    return Explanation(verdicts, tuple(push), redis_error)


def _topic(topic: Topic, event: Event, content: Content) -> Verdict:
    verdict = _verdict(lambda candidate: mismatches(topic, candidate, content), event, topic.lines)
    reasons = [(condition, condition.check(event, content)) for condition in topic.conditions]
    return replace(
        verdict,
        conditions=tuple(ConditionVerdict(each.name, each.wanted, why is None, why) for each, why in reasons),
    )


def _verdict(reasons: Callable[[Event], list[str]], event: Event, lines: tuple[str, ...] | None) -> Verdict:
    """Return the result for `event`, whose line can be unknown to this command and known when the webhook arrives."""
    why_not = reasons(event)
    if not why_not:
        return Verdict(YES, [])
    if event.line is None and lines and not reasons(event._replace(line=lines[0])):
        return Verdict(IF_LINE, why_not)
    return Verdict(NO, why_not)


def _push(subscription: Subscription, event: Event, topic: Verdict) -> Receiver:
    verdict = _verdict(lambda candidate: filtered_by(subscription, candidate), event, subscription.lines)
    url = urlsplit(subscription.url)
    receives = topic.answer if verdict.answer == YES else verdict.answer
    origin = f"{url.scheme}://{url.netloc.rpartition('@')[2]}"
    return Receiver(subscription.name, subscription.topic, "push", receives, origin, None, verdict.why_not)


def _behind(lag: int) -> str:
    return f"{counted(lag, 'event')} behind"
