"""Reactions to the account events of Linq's that concern the relay itself. Pure.

An event is only a reason to look. What is changed follows from the look, as in the scheduled check, so a party that
forges or replays events causes looks and nothing else. One thing an event adds: that Linq has released a line counts as
the looks that must agree on the deletion of its subscription (`bootstrap.deletions`), once a look confirms it.

    webhook_subscription.*         one of ours may be off, changed or gone
    phone_number.assigned          a line to register, unless relay.toml leaves it out
    phone_number.released          a subscription to delete
    phone_number.status_updated    logged: Linq may have flagged the line
    environment.line_moved         as assigned or released, without naming which
    api_token.*                    logged as an error if it is the key of the relay
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from relay.core.lines import is_line
from relay.store.account_events import AccountEvent

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from relay.bootstrap.survey import Survey
    from relay.linq.payloads.envelope import Envelope

ASSIGNED = "phone_number.assigned"
RELEASED = "phone_number.released"

_STATUS = "phone_number.status_updated"
_TOKEN = "api_token."  # noqa: S105  a family of events
_DISABLED = "webhook_subscription.disabled"

LIST_TIMEOUT_MS = 120_000
"""Time for which a line may be missing from Linq's list, or still be in it, before the scheduled check takes over."""

GIVE_UP_MS = 3_600_000
"""Time for which a look that fails, or a repair that fails, is repeated for an event."""

_MAX_ABOUT = 200


class Notice(NamedTuple):
    """A line of the log about an event."""

    level: str
    """`info`, `warning` or `error`."""
    fields: dict[str, Any]


def account_event_of(envelope: Envelope, at_ms: int) -> AccountEvent:
    """Return what the reaction to an event needs; `at_ms` is the time now, Unix milliseconds."""
    line = envelope.data.get("phone_number")
    return AccountEvent(envelope.event_type, line if is_line(line) else None, at_ms, _about(envelope.data)[:_MAX_ABOUT])


def _about(data: dict[str, Any]) -> str:
    match data:
        case {"webhook_subscription": {"id": str(found)}}:
            return found
        case {"api_token": {"token_prefix": str(found), "expires_at": str(at)}}:
            return f"{found} {at}"
        case {"api_token": {"token_prefix": str(found)}}:
            return found
        case {"new_status": str(status), "new_reputation": str(reputation)}:
            return f"{status}, {reputation}"
        case {"new_status": str(status)}:
            return status
        case _:
            return ""


def needs_look(event: AccountEvent) -> bool:
    """Return True if an event may have changed what a look at Linq would find."""
    return event.type != _STATUS and not event.type.startswith(_TOKEN)


def last_words(events: Iterable[AccountEvent]) -> dict[str, bool]:
    """Return for each line that Linq has assigned or released whether it has released it, by its last event.

    Linq promises no order. What a look finds decides; an event that came late only delays the deletion.
    """
    words = {}
    for event in sorted(events, key=lambda event: event.at_ms):
        if event.line and event.type in {ASSIGNED, RELEASED}:
            words[event.line] = event.type == RELEASED
    return words


def settled(
    events: Sequence[AccountEvent], survey: Survey | None, failed: Collection[str | None], now_ms: int
) -> list[AccountEvent]:
    """Return the events that are dealt with.

    `survey` is what the look found, None if it failed; `failed` are the lines whose repair failed (None: the account).
    """
    words = last_words(events)

    def is_settled(event: AccountEvent) -> bool:
        age = now_ms - event.at_ms
        if not needs_look(event) or age > GIVE_UP_MS:
            return True
        if survey is None or (event.line in failed if event.line else failed):
            return False
        if event.line is None or words.get(event.line) is None:
            return True
        is_listed = event.line in survey.desired.lines
        released = words[event.line]
        if released:
            is_done = not is_listed or not survey.desired.follows_the_list
        else:
            is_done = is_listed or not survey.desired.may_register(event.line)
        return is_done or age > LIST_TIMEOUT_MS

    return [event for event in events if is_settled(event)]


def notice_of(event: AccountEvent, key: str, *, heals: bool) -> Notice:
    """Return the log line about an event; `key` is the relay's key for the v3 API, and `heals` is `[linq] heal`."""
    fields: dict[str, Any] = {"type": event.type}
    if event.line:
        fields["line"] = event.line
    if event.about:
        fields["token" if event.type.startswith(_TOKEN) else "about"] = event.about
    prefix = event.about.partition(" ")[0].rstrip(".*…")
    if event.type.startswith(_TOKEN):
        if not (prefix and key.startswith(prefix)):
            return Notice("info", fields)
        note = "it seems to be LINQ_API_V3_API_KEY: without a valid one nothing can be repaired at Linq"
        return Notice("error", fields | {"note": note})
    if not heals and event.type in {_DISABLED, ASSIGNED, RELEASED}:
        note = "[linq] heal is off: see relay bootstrap plan, and run relay bootstrap apply"
        return Notice("error" if event.type == _DISABLED else "warning", fields | {"note": note})
    return Notice("warning", fields)
