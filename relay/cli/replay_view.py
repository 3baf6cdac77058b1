"""The output of `relay replay`, for people and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relay.cli.output import View, counted, print_table, say
from relay.core.durations import format_duration

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from relay.store.topics.history import Extent, Survey
    from relay.store.topics.replays import Order, Replay


@dataclass(frozen=True, slots=True)
class Start:
    """The events that a replay would send, and the replay, if it was started."""

    order: Order
    survey: Survey
    extent: Extent
    is_cut: bool
    """True if the history does not reach back to the beginning of the period."""
    replay: Replay | None


def no_match_sentence(order: Order, survey: Survey, extent: Extent) -> str:
    """Return the reason why there is nothing to send."""
    if survey.events:
        return f'none of the {counted(survey.events, "event")} of "{order.topic}" in that period matches'
    if extent.oldest_ms is None:
        return f'topic "{order.topic}" has no events'
    oldest = View().time(extent.oldest_ms)
    return f'topic "{order.topic}" has no events in that period; its oldest event is from {oldest}'


def print_start(start: Start, view: View) -> None:
    """Print what is sent, or would be."""
    order, survey = start.order, start.survey
    duration = format_duration(survey.matching / order.rate)
    if survey.first_ms is not None and survey.last_ms is not None:
        say(
            f"{order.topic} has {counted(survey.events, 'event')} from {view.time(survey.first_ms)} to "
            f"{view.time(survey.last_ms)}; {survey.matching} of them match{'es' if survey.matching == 1 else ''}."
        )
    if start.is_cut and start.extent.oldest_ms is not None:
        say(f"Events routed before {view.time(start.extent.oldest_ms)} are no longer stored.")
    if start.replay is None:
        say(f"They would be sent to {order.to} in at least {duration}.")
        return
    say(f"Replay {start.replay.id} sends them to {order.to} in at least {duration}.")
    say(f"relay replay list shows its progress, relay replay cancel {start.replay.id} stops it.")


def end_sentence(ended: Replay) -> str:
    """Return the result of a replay."""
    note = f" ({ended.reason})" if ended.reason else ""
    return f"Replay {ended.id} is {ended.state}{note}: {ended.order.to} was sent {counted(ended.sent, 'event')}."


def print_replays(replays: Iterable[Replay], suspended: Container[str], view: View) -> None:
    """Print replays for people; `suspended` are the subscriptions that do not deliver."""
    order = ("id", "state", "topic", "subscription", "filter")
    columns = (*order, "sent", "matching", "rate", "started", "ended", "by", "note")
    rows = [_row(replay, view, is_suspended=replay.order.to in suspended) for replay in replays]
    print_table("Replays", columns, rows, view)


def _row(replay: Replay, view: View, *, is_suspended: bool) -> tuple[object, ...]:
    order, which = replay.order, replay.order.event_filter
    waits = "waits: the subscription is not delivering" if is_suspended and replay.state == "running" else ""
    return (
        replay.id,
        replay.state,
        order.topic,
        order.to,
        " ".join(filter(None, (which.event_type, which.line))) or "all",
        replay.sent,
        replay.matching,
        f"{order.rate:g}/s",
        view.time(replay.started_ms),
        view.time(replay.ended_ms),
        order.by,
        replay.reason or waits,
    )


def summary(replay: Replay) -> dict[str, Any]:
    """Return a replay for JSON."""
    return {
        "id": replay.id,
        "state": replay.state,
        "topic": replay.order.topic,
        "subscription": replay.order.to,
        "type": replay.order.event_filter.event_type,
        "line": replay.order.event_filter.line,
        "rate": replay.order.rate,
        "by": replay.order.by,
        "events": replay.events,
        "matching": replay.matching,
        "seen": replay.seen,
        "sent": replay.sent,
        "missed": replay.missed,
        "after": replay.span.after,
        "end": replay.span.end,
        "cursor": replay.cursor,
        "reason": replay.reason,
        "started_at": replay.started_ms,
        "ended_at": replay.ended_ms,
    }


def survey_summary(start: Start) -> dict[str, Any]:
    """Return the result of a dry run for JSON."""
    survey = start.survey
    return {
        "dry_run": True,
        "would_replay": survey.matching,
        "topic": start.order.topic,
        "subscription": start.order.to,
        "events": survey.events,
        "matching": survey.matching,
        "first_at": survey.first_ms,
        "last_at": survey.last_ms,
        "history_since": start.extent.oldest_ms,
        "is_complete": not start.is_cut,
    }
