"""Flow control of the lanes that a subscription has on several shards: a change of its limits wakes all of them."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from workers.delivery.flow_control import FlowControl

if TYPE_CHECKING:
    from relay.core.config.relay_toml import Subscription
    from relay.core.delivery.circuit_breaker import OpenBreaker
    from relay.core.delivery.outcome import Attempt
    from relay.store.lanes.delivery import Ref
    from workers.delivery.session import Session
    from workers.delivery.sharing.turns import Turns


class SharedFlowControl(FlowControl):
    """The flow control of one subscription on all shards."""

    def __init__(self, session: Session, subscription: Subscription, turns: Turns) -> None:
        super().__init__(session, subscription)
        self.subscription = subscription
        self.turns = turns
        self._has_begun = False

    def begin(self, stored: OpenBreaker | None, *, is_paused: bool, as_of: float = -inf) -> None:
        """Continue with what is stored, unless the lane of another shard has: what was read for it may be older now."""
        if not self._has_begun:
            self._has_begun = True
            super().begin(stored, is_paused=is_paused, as_of=as_of)

    def pause(self, *, is_paused: bool, as_of: float) -> bool:
        """Set the operator's pause flag; of the lanes, the first one that does it gets True."""
        has_changed = super().pause(is_paused=is_paused, as_of=as_of)
        if has_changed:
            self.turns.wake_all()
        return has_changed

    async def _record(self, ref: Ref, attempt: Attempt) -> None:
        await super()._record(ref, attempt)
        self.turns.wake_all()
