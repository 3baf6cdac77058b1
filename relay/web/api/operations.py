"""Every operation of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.web.api.resources.account import audit, me
from relay.web.api.resources.deliveries import attempts, dead_letters, subscriptions
from relay.web.api.resources.operators import ledger, quarantine
from relay.web.api.resources.topics import topics

if TYPE_CHECKING:
    from relay.web.api.operation import Operation

OPERATIONS: tuple[Operation, ...] = (
    *me.OPERATIONS,
    *topics.OPERATIONS,
    *subscriptions.OPERATIONS,
    *attempts.OPERATIONS,
    *dead_letters.OPERATIONS,
    *audit.OPERATIONS,
    *ledger.OPERATIONS,
    *quarantine.OPERATIONS,
)
