"""Subscribers that answer messages themselves, and whose answers would meet: both get the messages of one line.

The relay cannot see who answers, so only subscriptions that say so (`replies`) are looked at; a shadow is told not to.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from relay.core.patterns import matches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from relay.core.config.relay_toml import RelayConfig, Subscription
    from relay.core.config.topics import Topic
    from relay.core.event import Freshness

INBOUND = ("message.received",)
"""Event types of what people write to a line."""


def double_replies(config: RelayConfig) -> Iterator[tuple[str, str, str]]:
    """Yield each pair of subscriptions that both answer on a line: their names, and the line or `every line`."""
    topics = {topic.name: topic for topic in config.topics}
    replying = [each for each in config.subscriptions if each.replies and each.shadow_of is None]
    for first, second in combinations(replying, 2):
        both = (topics[first.topic], topics[second.topic])
        takes = all(_takes_messages(each, topics[each.topic]) for each in (first, second))
        if takes and _can_meet(*both) and len({*_freshness(first, both[0]), *_freshness(second, both[1])}) < 2:
            lines = _common(_common(first.lines, second.lines), _common(both[0].lines, both[1].lines))
            if lines is None or lines:
                yield first.name, second.name, "every line" if lines is None else ", ".join(lines)


def double_reply_warnings(config: RelayConfig) -> list[str]:
    """Return a sentence for each pair."""
    return [
        f"subscriptions {first} and {second} both reply on {lines}: a message there is answered twice; narrow "
        "`lines` of one of them, or make it a shadow"
        for first, second, lines in double_replies(config)
    ]


def _takes_messages(subscription: Subscription, topic: Topic) -> bool:
    patterns: tuple[Sequence[str], ...] = (topic.events, subscription.events or ("*",))
    is_outbound = topic.direction == "outbound"
    takes_no_api = len({topic.api, subscription.api} - {None}) > 1
    return not (is_outbound or takes_no_api) and any(
        all(any(matches(pattern, event_type) for pattern in each) for each in patterns) for event_type in INBOUND
    )


def _can_meet(first: Topic, second: Topic) -> bool:
    """Return True if one message can be in both topics, by the conditions that exclude each other.

    `api` is none of them: Linq sends a message through both APIs while both are on. What `where` says is not judged.
    """
    lists = ((first.service, second.service), (first.account, second.account), (first.sender, second.sender))
    if any(mine is not None and theirs is not None and not {*mine} & {*theirs} for mine, theirs in lists):
        return False
    left_out = ((first.sender, second.not_sender), (second.sender, first.not_sender))
    if any(mine is not None and {*mine} <= {*(theirs or ())} for mine, theirs in left_out):
        return False
    if {first.opt_out, second.opt_out} == {"stop", "start"}:
        return False
    flags = ((first.is_group, second.is_group), (first.has_media, second.has_media))
    return all(mine is None or theirs is None or mine == theirs for mine, theirs in flags)


def _freshness(subscription: Subscription, topic: Topic) -> set[Freshness]:
    """Return what the filters of a subscription and its topic ask for; empty if nothing."""
    return {each for each in (topic.freshness, subscription.freshness) if each is not None}


def _common(lines: Sequence[str] | None, others: Sequence[str] | None) -> Sequence[str] | None:
    """Return the lines that both have; None stands for every line."""
    if lines is None or others is None:
        return others if lines is None else lines
    return [line for line in lines if line in others]
