"""Every operation of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.web.api.resources import pull, tails
from relay.web.api.resources.account import audit, me, teams, tokens
from relay.web.api.resources.deliveries import attempts, dead_letters, definitions, replays, shadow, subscriptions
from relay.web.api.resources.operators import contracts, ledger, lines, quarantine
from relay.web.api.resources.topics import events, group_dead_letters, groups, messages, topics

if TYPE_CHECKING:
    from relay.web.api.operation import Operation

OPERATIONS: tuple[Operation, ...] = (
    *me.OPERATIONS,
    *topics.OPERATIONS,
    *events.OPERATIONS,
    *messages.OPERATIONS,
    *groups.OPERATIONS,
    *group_dead_letters.OPERATIONS,
    *pull.OPERATIONS,
    *tails.OPERATIONS,
    *subscriptions.OPERATIONS,
    *definitions.OPERATIONS,
    *shadow.OPERATIONS,
    *attempts.OPERATIONS,
    *dead_letters.OPERATIONS,
    *replays.OPERATIONS,
    *lines.OPERATIONS,
    *teams.OPERATIONS,
    *tokens.OPERATIONS,
    *audit.OPERATIONS,
    *contracts.OPERATIONS,
    *ledger.OPERATIONS,
    *quarantine.OPERATIONS,
)
