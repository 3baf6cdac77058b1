"""The life of a message, for people and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.cli.output import View, say
from relay.cli.sections import row, title, wrapped
from relay.services.topics.life.summary import MessageState

if TYPE_CHECKING:
    from relay.services.topics.life.steps import Step
    from relay.services.topics.life.summary import Life

_COLOURS = {
    MessageState.DELIVERED: "green",
    MessageState.READ: "green",
    MessageState.FAILED: "red",
}


def print_life(life: Life, view: View) -> None:
    """Print a life for people."""
    facts = life.facts
    say(f"Message {life.message}", bold=True)
    say(f"  state       {life.state}", fg=_COLOURS.get(life.state))
    details = (facts.direction, facts.service, "in a group" if facts.is_group else None)
    rows = (
        ("kind", ", ".join(filter(None, details))),
        ("line", facts.line),
        ("chat", facts.chat),
        ("replies to", facts.reply_to),
        ("trace", facts.trace),
    )
    for label, text in rows:
        if text:
            row(label, text)
    title("Life")
    width = max(len(step.kind) for step in life.steps)
    for step in life.steps:
        _print_step(step, view, width)
    for note in life.notes:
        say("")
        wrapped(note, "", "")
    if life.cursor is not None:
        say("")
        wrapped(f"Searched back to {view.time(life.searched_to_ms)}; to search further back:", "", "")
        say(f"  relay message {life.message} --cursor {life.cursor}")


def _print_step(step: Step, view: View, width: int) -> None:
    what = (step.detail, step.by and f"by {step.by}", step.reply and f"message {step.reply}")
    late = "recovered later" if step.is_history else None
    details = ", ".join(filter(None, (*what, late)))
    row(step.kind, f"{view.time(step.at_ms)}{f'  {details}' if details else ''}", width)
    indent = " " * (max(width, 10) + 4)
    wrapped(f"event {step.event}", indent, indent)
    if step.has:
        by_state: dict[str, list[str]] = {}
        for each in step.has:
            by_state.setdefault(each.state, []).append(each.name)
        for state, names in by_state.items():
            wrapped(f"{state}: {', '.join(names)}", indent, f"{indent}  ")


def life_summary(life: Life) -> dict[str, Any]:
    """Return a life for JSON; `_at` is Unix milliseconds."""
    facts = life.facts
    return {
        "id": life.message,
        "state": life.state,
        "direction": facts.direction,
        "service": facts.service,
        "group": facts.is_group,
        "line": facts.line,
        "chat": facts.chat,
        "reply_to": facts.reply_to,
        "trace": facts.trace,
        "steps": [_step_summary(step) for step in life.steps],
        "missing": list(life.notes),
        "cursor": life.cursor,
        "searched_to": life.searched_to_ms,
    }


def _step_summary(step: Step) -> dict[str, Any]:
    return {
        "kind": step.kind,
        "at": step.at_ms,
        "routed_at": step.routed_ms,
        "event": step.event,
        "type": step.type,
        "by": step.by,
        "detail": step.detail,
        "reply": step.reply,
        "history": step.is_history,
        "topics": [place.topic for place in step.places],
        "subscriptions": None if step.has is None else [{"name": each.name, "state": each.state} for each in step.has],
    }
