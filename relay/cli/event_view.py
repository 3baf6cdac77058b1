"""The story of an event, for people and as JSON."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from relay.cli import terminal
from relay.cli.attempts import attempt_summary
from relay.cli.output import View, counted, printable, say
from relay.cli.sections import row, title, wrapped
from relay.core.durations import format_duration
from relay.core.event import Freshness
from relay.services.topics.events import EventStory
from relay.services.topics.history.neighbours import Neighbour
from relay.services.topics.history.pull import PullPart, PullState
from relay.services.topics.history.push import PushPart, PushState
from relay.services.topics.history.story import Receipt
from relay.services.topics.history.view import EventView
from relay.store.lanes.attempts.log import FoundAttempt
from relay.store.topics.record import Proof

_PROOFS = {
    Proof.URL: "proved by the URL",
    Proof.PAYLOAD: "named in the payload",
    Proof.CHAT: "known from its chat",
    Proof.NONE: "",
}
_COLOURS = {
    PushState.DELIVERED: "green",
    PushState.DEAD: "red",
    PushState.DROPPED: "red",
    PushState.RETRYING: "yellow",
    PushState.REPLAYING: "yellow",
}


def print_story(story: EventStory, view: View, *, body: bool) -> None:
    """Print a story for people."""
    event = story.event
    say(f"Event {event.id}", bold=True)
    for label, text in _event_rows(event, story.receipt, view):
        row(label, text)
    title("Topics")
    width = max((len(part.topic) for part in story.topics), default=0)
    for part in story.topics:
        text = f"routed {view.time(part.routed_ms)}  {part.entry}" if part.entry else "; ".join(part.why_not)
        row(part.topic, text if part.entry else f"no: {text}", width)
    title("Push subscriptions")
    for push in story.push:
        _print_push(push, view)
    _none_of(story.push)
    title("Pull groups")
    names = {f"{pull.group} of {pull.topic}": pull for pull in story.pull}
    for name, pull in names.items():
        row(name, _pull_text(pull), max(map(len, names)))
    _none_of(story.pull)
    if event.chat:
        title(f"Chat {event.chat}")
        for label, neighbour in (("previous", story.chat.previous), ("next", story.chat.next)):
            row(label, _neighbour_text(neighbour))
    if body:
        title("Body")
        say(f"  {event.body}")
    for note in story.notes:
        say("")
        wrapped(note, "", "")


def _event_rows(event: EventView, receipt: Receipt, view: View) -> list[tuple[str, str]]:
    proof = _PROOFS[receipt.proof] if receipt.proof else ""
    details = (event.message, event.direction, event.service, "in a group" if event.is_group else None)
    repeats = f"{receipt.repeats}"
    if receipt.last_repeat_ms:
        repeats += f", the last at {view.time(receipt.last_repeat_ms)}"
    source = f", from {receipt.address}" if receipt.address else ""
    rows = [
        ("type", event.type),
        ("line", f"{event.line or 'none'}{f' ({proof})' if proof else ''}"),
        ("account", event.account),
        ("chat", event.chat),
        ("message", ", ".join(filter(None, details))),
        ("freshness", _freshness(event)),
        ("source", "backfill: made by the relay of a message at Linq, not signed by Linq" if event.source else None),
        ("created", event.created and f"{event.created} at Linq"),
        ("accepted", f"{view.time(event.at_ms)}{source}" if event.at_ms else None),
        ("url", receipt.url),
        ("secret", receipt.secret),
        ("repeats", repeats if receipt.repeats is not None else None),
        ("body", f"{counted(event.body.size, 'byte')}, version {event.version}" if event.version else None),
    ]
    return [(label, text) for label, text in rows if text]


def _freshness(event: EventView) -> str | None:
    if event.freshness is not Freshness.HISTORY:
        return None
    return "history" if event.source else "history: Linq recovered it later"


def _print_push(part: PushPart, view: View) -> None:
    state = str(part.state)
    if part.state is PushState.DELIVERED and part.replayed:
        state += ", after it was sent again"
    if part.dead is not None:
        state += f" since {view.time(part.dead.at_ms)}: {part.dead.reason}"
    if part.due_ms is not None:
        due = "due " if part.due_ms < time.time() * 1000 else ""  # a breaker, a pause or a limit can hold it up
        state += f", next attempt {due}{view.time(part.due_ms)}"
    painted = terminal.paint(printable(part.subscription), fg=_COLOURS.get(part.state), bold=True)
    wrapped(f"{part.subscription} of {part.topic}: {state}", "  ", "    ", lead=(part.subscription, painted))
    for note in part.notes:
        wrapped(note, "    * ", "      ")
    for found in part.attempts:
        _print_attempt(found, view)


def _print_attempt(found: FoundAttempt, view: View) -> None:
    attempt = found.attempt
    marks = list(attempt.marks)
    if not found.counted:
        marks.append("ignored: too late")
    took = format_duration(attempt.took_ms / 1000)
    status = "" if attempt.status is None else str(attempt.status)
    columns = (f"{attempt.number:>3}", view.time(attempt.at_ms), f"{attempt.outcome:<11}", f"{status:<3}", took)
    say("  ".join(("  ", *columns, *marks)).rstrip())
    if found.detail:
        say(_shortened(f"         {' '.join(found.detail.split())}"))


def _pull_text(part: PullPart) -> str:
    if part.state is not PullState.PENDING:
        return f"{part.state}: {part.reason}" if part.reason else str(part.state)
    idle = format_duration((part.idle_ms or 0) / 1000)
    times = f", {counted(part.deliveries, 'time')}" if part.deliveries and part.deliveries > 1 else ""
    return f"delivered to {part.member} {idle} ago{times}, not acknowledged"


def _neighbour_text(neighbour: Neighbour | None) -> str:
    return "none found" if neighbour is None else f"{neighbour.id}  {neighbour.type}"


def _none_of(parts: Sequence[object]) -> None:
    if not parts:
        say("  none")


def _shortened(text: str) -> str:
    return text[: terminal.width()] if terminal.is_terminal() else text


def event_summary(event: EventView) -> dict[str, Any]:
    """Return an event for JSON; `_at` is Unix milliseconds."""
    summary = asdict(event)
    summary["accepted_at"] = summary.pop("at_ms")
    summary["topics"] = [
        {"topic": place.topic, "entry": place.entry, "routed_at": place.at_ms} for place in event.places
    ]
    del summary["places"]
    return summary


def story_summary(story: EventStory) -> dict[str, Any]:
    """Return a story for JSON."""
    receipt = story.receipt
    return {
        **event_summary(story.event),
        "held": story.is_held,
        "received": {
            "address": receipt.address,
            "url": receipt.url,
            "secret": receipt.secret,
            "line_proof": receipt.proof,
            "repeats": receipt.repeats,
            "last_repeat_at": receipt.last_repeat_ms,
        },
        "topics": [
            {"topic": part.topic, "entry": part.entry, "routed_at": part.routed_ms, "why_not": part.why_not}
            for part in story.topics
        ],
        "push": [_push_summary(part) for part in story.push],
        "pull": [asdict(part) for part in story.pull],
        "previous": _neighbour_summary(story.chat.previous),
        "next": _neighbour_summary(story.chat.next),
        "notes": story.notes,
    }


def _push_summary(part: PushPart) -> dict[str, Any]:
    dead = part.dead
    return {
        "subscription": part.subscription,
        "topic": part.topic,
        "state": part.state,
        "next_at": part.due_ms,
        "dead": dead and {"entry": dead.entry, "dead_at": dead.at_ms, "reason": dead.reason},
        "replayed": part.replayed,
        "replays_waiting": part.replays,
        "notes": part.notes,
        "attempts": [attempt_summary(found) for found in part.attempts],
    }


def _neighbour_summary(neighbour: Neighbour | None) -> dict[str, Any] | None:
    if neighbour is None:
        return None
    return {"id": neighbour.id, "type": neighbour.type, "routed_at": neighbour.at_ms}
