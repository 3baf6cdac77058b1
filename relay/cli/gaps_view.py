"""The output of `relay gaps` and `relay backfill`: a walk's beginning, its progress and its findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.cli.output import View, counted, print_json, print_table, say
from relay.store.gaps.walk_record import Mode, Walk, summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import Progress


def print_walks(walks: Sequence[Walk]) -> None:
    """Print the summary of a walk; a list of them if there are several accounts."""
    print_json(summary(walks[0]) if len(walks) == 1 else [summary(walk) for walk in walks])


class Shown:
    """The progress of a walk on a terminal."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("reading chats", total=None)

    def update(self, walk: Walk) -> None:
        """Show what was read and found so far."""
        put = f", {walk.put:,} put back" if walk.mode is Mode.FILL else ""
        text = f"{walk.chats:,} chats, {walk.messages:,} messages, {walk.missing:,} missing{put}"
        self._bar.update(self._task, description=text)


def beginning(walk: Walk, view: View, *, resume: bool) -> str:
    """Return the sentence printed when a walk begins: its span, its lines and, if it is resumed, its progress."""
    span = f"{view.time(walk.since_ms)} to {view.time(walk.until_ms)}"
    if resume:
        return f"Resuming the run of {view.time(walk.started_ms)}: {span}; {counted(walk.chats, 'chat')} done."
    late = "" if walk.asked_since_ms is None else " (earlier messages are not remembered)"
    of = f" of account {walk.account}" if walk.account else ""
    return f"Messages from {span}{late}, {counted(len(walk.lines), 'line')}{of}."


def print_walk(walk: Walk, view: View) -> None:
    """Print the findings of a walk for people."""
    rows = [
        (line, each.chats, each.messages, each.missing, view.time(each.first_ms), view.time(each.last_ms))
        for line, each in sorted(walk.findings.items())
    ]
    title = f"Messages at Linq, account {walk.account}" if walk.account else "Messages at Linq"
    print_table(title, ("line", "chats", "messages", "missing", "from", "to"), rows, view)
    found, chats = f"{walk.missing:,} of {counted(walk.messages, 'message')}", len(walk.chats_with_gaps)
    say(f"{found} missing, in {counted(chats, 'chat')}; {counted(walk.calls, 'call')} to Linq.")
    if walk.untaken:
        say(f"{walk.untaken:,} of them match no topic that takes history; they are not put back.")
    if walk.before or walk.meanwhile:
        say(f"{walk.before:,} had been put back before, {walk.meanwhile:,} came meanwhile.")
    if walk.unreadable:
        what = counted(walk.unreadable, "missing message")
        say(f"{what} cannot be put back: what Linq returns for them is not a message (gaps.unreadable in the log).")
    if walk.gone:
        say(f"{counted(walk.gone, 'chat')} listed by Linq no longer exist.")
