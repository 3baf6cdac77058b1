"""Dead letters of subscriptions, as the commands show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.cli.attempts import print_attempts
from relay.cli.output import changed_or_would_be, print_fields, print_json, say
from relay.services.topics.history.view import shown_body

if TYPE_CHECKING:
    from relay.cli.output import View
    from relay.config.settings import Settings
    from relay.services.deliveries.dead_letters import DeadLetterInFull
    from relay.store.lanes.dead_letters import DeadLetter

_LABELS = {"accepted_at": "accepted", "died_at": "dead since", "tries": "attempts"}


def print_in_full(settings: Settings, found: list[DeadLetterInFull], view: View) -> None:
    """Print dead letters with their attempts and bodies."""
    for number, each in enumerate(found):
        if number:
            say("")
        print_fields(f"Dead letter {each.letter.record.id}", summary(each.letter), view, _LABELS)
        if each.attempts:
            print_attempts("Its attempts, oldest first", each.attempts, view, of_one_delivery=True)
        say(str(shown_body(settings, each.letter.record.body)))


def print_counts(counts: dict[str, int], words: tuple[str, str], view: View, *, dry_run: bool) -> None:
    """Print the counts by subscription; `words` are the verb, and what has happened after it."""
    verb, done = words
    if view.json:
        print_json(changed_or_would_be(verb, sum(counts.values()), dry_run=dry_run) | {"subscriptions": counts})
        return
    for name, count in counts.items():
        say(f"{name}: {count} {'would be ' if dry_run else ''}{done}")
    if not counts:
        say("Nothing found.")


def summary(letter: DeadLetter) -> dict[str, Any]:
    """Return a dead letter as `--json` has it."""
    record = letter.record
    return {
        "id": record.id,
        "subscription": letter.subscription,
        "topic": letter.topic,
        "type": record.type,
        "line": record.line,
        "chat": record.chat,
        "accepted_at": record.at,
        "first_attempt_at": letter.first_at,
        "died_at": letter.at,
        "tries": letter.tries,
        "status": letter.status,
        "reason": letter.reason,
        "detail": letter.detail,
    }
