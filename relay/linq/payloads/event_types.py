"""Event types that Linq is known to offer, for hints only: a type that is not listed here must not be rejected.

v3: the SDK's list. v2: https://docs.linqapp.com/v2/api (14 types).
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from relay.core.event import Dialect
from relay.core.patterns import matches

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

V2_TYPES = (
    "message.sent",
    "message.received",
    "message.read",
    "call.completed",
    "reaction.sent",
    "reaction.received",
    "typing_indicator.received",
    "typing_indicator.removed",
    "chat.created",
    "contact.created",
    "contact.updated",
    "contact.deleted",
    "participant.added",
    "participant.removed",
)

SENT_TWICE = tuple(event_type for event_type in V2_TYPES if event_type.startswith("message."))
"""Event types that v3 and v2 both have, for what happened once."""

REACTED_TO = frozenset(
    (
        *("webhook_subscription.disabled", "webhook_subscription.enabled", "webhook_subscription.deleted"),
        *("webhook_subscription.target_url_changed", "webhook_subscription.events.updated"),
        "webhook_subscription.phone_numbers.updated",
        *("phone_number.assigned", "phone_number.released", "phone_number.status_updated", "environment.line_moved"),
        *("api_token.expiry_scheduled", "api_token.expired", "api_token.deleted"),
    )
)
"""Account events that concern the relay itself (`bootstrap.reactions`): the account's subscription always has them."""

_FAMILIES_OF_LINES = {"message", "reaction", "poll", "participant", "chat", "call", "location"}
_FAMILIES_OF_THE_ACCOUNT = {
    *("payment", "connection", "api_token", "environment", "webhook_subscription", "team_member", "zero_day_retention"),
}


@cache
def v3_types() -> tuple[str, ...]:
    """Return the event types of the SDK, from the file of that list alone: the whole SDK takes a worker 13 MB."""
    package = find_spec("linq")
    assert package is not None and package.submodule_search_locations  # noqa: S101, PT018  it is a dependency
    file = Path(package.submodule_search_locations[0], "types", "webhook_event_type.py")
    spec = spec_from_file_location("linq_webhook_event_type", file)
    assert spec is not None and spec.loader  # noqa: S101, PT018  of a Python file
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return get_args(module.WebhookEventType)


def is_of_lines(event_type: str) -> bool:
    """Return True if events of this type may belong to a line; True for unknown families."""
    return _family(event_type) not in _FAMILIES_OF_THE_ACCOUNT


def is_of_the_account(event_type: str) -> bool:
    """Return True if events of this type may belong to no line, or to one that is not registered yet.

    True for unknown families. A type for which both functions return True arrives through both kinds of Linq
    subscription, and deduplication keeps one.
    """
    return _family(event_type) not in _FAMILIES_OF_LINES


def in_both_apis(patterns: Iterable[str]) -> bool:
    """Return True if `patterns` match messages, which arrive once over each API if both are on."""
    return any(matches(pattern, event_type) for pattern in patterns for event_type in SENT_TWICE)


def _family(event_type: str) -> str:
    return event_type.partition(".")[0]


def unknown_patterns(patterns: Iterable[str], dialects: Collection[Dialect]) -> Iterator[tuple[str, str]]:
    """Yield the patterns that match no known type of `dialects`, each with a hint at the nearest type."""
    by_dialect = {Dialect.V3: v3_types(), Dialect.V2: V2_TYPES}
    known = [event_type for dialect in dialects for event_type in by_dialect[dialect]]
    for pattern in patterns:
        if not any(matches(pattern, event_type) for event_type in known):
            close = get_close_matches(pattern, known, n=1)
            yield pattern, f'; did you mean "{close[0]}"?' if close else ""
