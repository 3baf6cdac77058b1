"""Subscriptions that are not in relay.toml: checked by the models and the rules of its `[[subscriptions]]` tables.

A row is the raw table, as TOML would have it but given as JSON, with a `SecretReference` in place of each secret value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from relay.core.config.checks.contradictions import contradictions
from relay.core.config.checks.mistakes import JSON, message_of
from relay.core.config.pairs.shadows import by_name, completed, row_of
from relay.core.config.relay_toml import Subscription
from relay.core.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.core.config.relay_toml import RelayConfig
    from relay.core.config.teams import Team

Checked = Subscription | tuple[Problem, ...]
"""A valid subscription, or the mistakes of its row, by key."""


def check_rows(
    rows: Sequence[dict[str, Any]],
    config: RelayConfig,
    teams: Sequence[Team] = (),
    beside: Mapping[str, dict[str, Any]] | None = None,
) -> list[Checked]:
    """Check each of `rows`, whose names differ, as if it were in the file of `config` and `teams` were there too.

    They may shadow each other, what `config` has, and the tables `beside`, by name.
    """
    others = {each.name: row_of(each) for each in config.subscriptions}
    others = by_name(rows) | dict(beside or {}) | others
    data = {
        "topics": [{"name": topic.name} for topic in config.topics],
        "teams": [team.model_dump(exclude_none=True, mode="json") for team in (*config.teams, *teams)],
        "egress": config.egress.model_dump(exclude_none=True, mode="json"),
        "subscriptions": list(rows),
    }
    problems: dict[int, list[Problem]] = {}
    for (_, position, *keys), message in contradictions(data, are_stored=True, beside=others):
        problems.setdefault(int(position), []).append(_problem(keys, message))
    return [_checked(completed(row, others), problems.get(position, [])) for position, row in enumerate(rows)]


def _checked(row: dict[str, Any], problems: list[Problem]) -> Checked:
    try:
        subscription = Subscription.model_validate(row)
    except ValidationError as error:
        mistakes = [_problem(detail["loc"], message_of(detail, JSON)) for detail in error.errors()]
        return (*problems, *mistakes)
    return tuple(problems) or subscription


def _problem(keys: Sequence[str | int], message: str) -> Problem:
    return Problem(".".join(map(str, keys)) or "subscription", message)
