"""The comparison of messages at Linq with the accepted ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from relay.core.config.topics import mismatches
from relay.core.errors import Unparsable
from relay.core.event import Dialect
from relay.core.patterns import matches
from relay.gaps.rebuild import event_type_of, objects_in, rebuilt, time_ms_of
from relay.linq.payloads.content import BodyContent
from relay.linq.payloads.decode import decode
from relay.store.gaps.message_index import message_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.core.config.relay_toml import RelayConfig
    from relay.core.event import Event
    from relay.store.gaps.backfilled import MissingMessage
    from relay.store.gaps.message_index import MessageIndex


_NOTE = "no event can be made from what Linq returns for it; the walk continues without it"

log = structlog.get_logger()


class Candidate(NamedTuple):
    """A message of the span, with its chat."""

    chat: dict[str, Any]
    message: dict[str, Any]
    line: str
    event_type: str
    at_ms: int

    @property
    def key(self) -> bytes:
        """Its key in the message index."""
        return message_key(self.event_type, self.line, self.message["id"])


@dataclass(frozen=True, slots=True)
class Gap:
    """A message without an accepted event."""

    candidate: Candidate
    event: MissingMessage
    is_taken: bool
    """True if a topic takes it as history."""


class Compared(NamedTuple):
    """The result for several candidates."""

    gaps: list[Gap]
    """The candidates without an accepted event."""
    unwanted: int
    """Number of those that no topic takes at all."""
    unreadable: int
    """Number of those of which no event can be made."""


def is_of(chat: dict[str, Any], line: str) -> bool:
    """Return True unless a chat names other handles of ours only: a list for one line must not bring another's."""
    ours = [each for each in objects_in(chat.get("handles")) if each.get("is_me")]
    return not ours or any(each.get("handle") == line for each in ours)


def candidate_of(chat: dict[str, Any], message: dict[str, Any], line: str, config: RelayConfig) -> Candidate | None:
    """Return a message as a candidate; None if Linq sends no event of it, or the relay subscribes to none."""
    event_type, at_ms = event_type_of(message), time_ms_of(message)
    if event_type is None or at_ms is None:
        return None
    subscribed = config.linq.events
    if subscribed is not None and not any(matches(pattern, event_type) for pattern in subscribed):
        return None
    return Candidate(chat, message, line, event_type, at_ms)


def gaps_among(
    candidates: Sequence[Candidate], index: MessageIndex, config: RelayConfig, now: float, account: str | None = None
) -> Compared:
    """Return the candidates without an accepted event; one that is odd does not stop the others."""
    unknown = index.without_known(candidate.key for candidate in candidates)
    gaps, unwanted, unreadable = [], 0, 0
    made_at = datetime.fromtimestamp(now, UTC)
    for candidate in candidates:
        if candidate.key not in unknown:
            continue
        try:
            event = rebuilt(candidate.chat, candidate.message, candidate.line, candidate.event_type, made_at)
            is_live, is_history = _taken(event, candidate.line, config, account)
        except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
            unreadable += 1
            log.warning("gaps.unreadable", message=candidate.message["id"], error=type(error).__name__, note=_NOTE)
            continue
        if is_live or is_history:
            gaps.append(Gap(candidate, event, is_history))
        else:
            unwanted += 1
    return Compared(gaps, unwanted, unreadable)


def _taken(event: MissingMessage, line: str, config: RelayConfig, account: str | None) -> tuple[bool, bool]:
    """Return True if a topic takes the event while it is live, and True if one takes it as history."""
    try:
        history = decode(Dialect.V3, event.body, line).event._replace(account=account)
    except Unparsable:
        return False, False
    live = history._replace(fields=history.fields._replace(reconciled_at=None))
    content = BodyContent(event.body)

    def is_taken(as_event: Event) -> bool:
        return any(not mismatches(topic, as_event, content) for topic in config.topics)

    return is_taken(live), is_taken(history)
