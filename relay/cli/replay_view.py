"""The output of `relay replay`, for people and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.cli.output import View, counted, print_table, say
from relay.core.durations import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.services.deliveries.replays import Preview, ReplayState
    from relay.store.topics.replays import Replay


def print_start(found: Preview, started: Replay | None, view: View) -> None:
    """Print what is sent, or without `started` would be."""
    order, survey = found.order, found.survey
    duration = format_duration(survey.matching / order.rate)
    if survey.first_ms is not None and survey.last_ms is not None:
        say(
            f"{order.topic} has {counted(survey.events, 'event')} from {view.time(survey.first_ms)} to "
            f"{view.time(survey.last_ms)}; {survey.matching} of them match{'es' if survey.matching == 1 else ''}."
        )
    if found.is_cut and found.extent.oldest_ms is not None:
        say(f"Events routed before {view.time(found.extent.oldest_ms)} are no longer stored.")
    if started is None:
        say(f"They would be sent to {order.to} in at least {duration}.")
        return
    say(f"Replay {started.id} sends them to {order.to} in at least {duration}.")
    say(f"relay replay list shows its progress, relay replay cancel {started.id} stops it.")


def end_sentence(ended: Replay) -> str:
    """Return the result of a replay."""
    note = f" ({ended.reason})" if ended.reason else ""
    return f"Replay {ended.id} is {ended.state}{note}: {ended.order.to} was sent {counted(ended.sent, 'event')}."


def print_replays(replays: Iterable[ReplayState], view: View) -> None:
    """Print replays for people."""
    order = ("id", "state", "topic", "subscription", "filter")
    columns = (*order, "sent", "matching", "rate", "started", "ended", "by", "note")
    rows = [_row(each.replay, view, waits=each.waits) for each in replays]
    print_table("Replays", columns, rows, view)


def _row(replay: Replay, view: View, *, waits: bool) -> tuple[object, ...]:
    order, which = replay.order, replay.order.event_filter
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
        replay.reason or ("waits: the subscription is not delivering" if waits else ""),
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


def survey_summary(found: Preview) -> dict[str, Any]:
    """Return the result of a dry run for JSON."""
    survey = found.survey
    return {
        "dry_run": True,
        "would_replay": survey.matching,
        "topic": found.order.topic,
        "subscription": found.order.to,
        "events": survey.events,
        "matching": survey.matching,
        "first_at": survey.first_ms,
        "last_at": survey.last_ms,
        "history_since": found.extent.oldest_ms,
        "is_complete": not found.is_cut,
    }
