"""How `relay replay` tells of replays, to people and to machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relay.cli.output import console, counted, local_time, print_table

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from relay.store.topics.history import Extent, Survey
    from relay.store.topics.replays import Order, Replay


@dataclass(frozen=True, slots=True)
class Beginning:
    """What there is to send, and the replay that was started, if it was."""

    order: Order
    survey: Survey
    extent: Extent
    misses: bool
    """Whether the history does not go back as far as was asked."""
    replay: Replay | None


def nothing(order: Order, survey: Survey, extent: Extent) -> str:
    """Why there is nothing to send."""
    if survey.events:
        return f'none of the {counted(survey.events, "event")} of "{order.topic}" in that time is wanted'
    if extent.oldest_ms is None:
        return f'topic "{order.topic}" has no events'
    return f'topic "{order.topic}" has no events of that time; its oldest one is of {local_time(extent.oldest_ms)}'


def say_beginning(began: Beginning) -> None:
    """Tells a person what is sent, or would be."""
    from relay.core.durations import format_duration

    order, survey = began.order, began.survey
    lasts = format_duration(survey.matching / order.rate)
    if survey.first_ms is not None and survey.last_ms is not None:
        console.print(
            f"{order.topic} has {counted(survey.events, 'event')} from {local_time(survey.first_ms)} to "
            f"{local_time(survey.last_ms)}; {survey.matching} of them are wanted."
        )
    if began.misses and began.extent.oldest_ms is not None:
        console.print(f"What was routed before {local_time(began.extent.oldest_ms)} is no longer kept.")
    if began.replay is None:
        console.print(f"They would be sent to {order.to} in {lasts} or more.")
        return
    console.print(f"Replay {began.replay.id} sends them to {order.to}, in {lasts} or more.")
    console.print(f"relay replay list shows how far it is, relay replay cancel {began.replay.id} stops it.")


def ending(ended: Replay) -> str:
    """What became of a replay, in a sentence."""
    note = f" ({ended.reason})" if ended.reason else ""
    return f"Replay {ended.id} is {ended.state}{note}: {ended.order.to} was given {counted(ended.sent, 'event')}."


def print_replays(replays: Iterable[Replay], held: Container[str]) -> None:
    """Prints replays for a person; `held` are the lanes that do not deliver."""
    columns = ("id", "state", "topic", "to", "wanted", "sent", "of", "rate", "started", "ended", "by", "note")
    print_table("Replays", columns, [_row(one, is_held=one.order.to in held) for one in replays])


def _row(one: Replay, *, is_held: bool) -> tuple[object, ...]:
    order, wanted = one.order, one.order.wanted
    waits = "waits: the lane is not delivering" if is_held and one.state == "running" else ""
    ended = local_time(one.ended_ms) if one.ended_ms else ""
    meant = " ".join(filter(None, (wanted.event_type, wanted.line))) or "all"
    progress = (one.sent, one.matching, f"{order.rate:g}/s")
    return (
        one.id,
        one.state,
        order.topic,
        order.to,
        meant,
        *progress,
        local_time(one.started_ms),
        ended,
        order.by,
        (one.reason or waits),
    )


def summary(one: Replay) -> dict[str, Any]:
    """A replay in JSON."""
    return {
        "id": one.id,
        "state": one.state,
        "topic": one.order.topic,
        "subscription": one.order.to,
        "type": one.order.wanted.event_type,
        "line": one.order.wanted.line,
        "rate": one.order.rate,
        "by": one.order.by,
        "events": one.events,
        "matching": one.matching,
        "seen": one.seen,
        "sent": one.sent,
        "missed": one.missed,
        "after": one.span.after,
        "end": one.span.end,
        "cursor": one.cursor,
        "reason": one.reason,
        "started_at": one.started_ms,
        "ended_at": one.ended_ms,
    }


def survey_summary(began: Beginning) -> dict[str, Any]:
    """What a dry run found, in JSON."""
    survey = began.survey
    return {
        "topic": began.order.topic,
        "subscription": began.order.to,
        "events": survey.events,
        "matching": survey.matching,
        "first_at": survey.first_ms,
        "last_at": survey.last_ms,
        "history_since": began.extent.oldest_ms,
        "is_complete": not began.misses,
    }
