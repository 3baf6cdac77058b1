"""The course of one deliver job: it ends on all shards together, and each subscription has one flow control there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from relay.store.sharding.shards import by_server
from workers.delivery.sharing.flow_control import SharedFlowControl
from workers.delivery.sharing.one_server import Shared
from workers.delivery.sharing.order_gate import OrderGate
from workers.delivery.sharing.ready import SharedPauses
from workers.delivery.sharing.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from relay.core.config.relay_toml import Subscription
    from relay.process.timings import Timings
    from relay.store.driver.client import Redis
    from relay.store.driver.lease import Lease
    from workers.delivery.session import Session

    class Lanes(Protocol):
        """The lane workers of the partition on one shard."""

        @property
        def are_busy(self) -> bool:
            """True if a lane has work."""

        def resync(self) -> None:
            """Make every lane search for orphans."""

        @property
        def have_posts(self) -> bool:
            """True if a lane has a POST in flight."""


class Course:
    """The course of a drain of one partition."""

    def __init__(self, home: Redis, lease: Lease, timings: Timings) -> None:
        """`lease` is that of the first shard, `home`: the right to the partition on all of them."""
        self.home = home
        self.lease = lease
        self.lanes: list[Lanes] = []
        """The lane workers of each shard that is drained."""
        self.is_over = False
        self.shared: Sequence[Shared] = (Shared(),)
        """The parts that each shard shares with others, by number."""
        self.gate = OrderGate(home)
        self.pauses = SharedPauses(home)
        self._is_on_one_server = len(by_server(home.shards)) == 1
        self._timings = timings
        self._loop = asyncio.get_running_loop()
        self._began = self._busy_at = self._loop.time()
        self._flow_controls: dict[str, SharedFlowControl] = {}

    def look(self) -> None:
        """End it once all lanes were idle for long, at a quiet moment once it has run for long, or later at any."""
        now, timings = self._loop.time(), self._timings
        if any(lanes.are_busy for lanes in self.lanes):
            self._busy_at = now
        ran = now - self._began
        is_late = ran > timings.run and not any(lanes.have_posts for lanes in self.lanes)
        self.is_over |= now - self._busy_at > timings.idle or is_late or ran > timings.max_run

    def resync(self) -> None:
        """Make the lanes of every shard search for orphans: Redis was away when one of them read for all."""
        for lanes in self.lanes:
            lanes.resync()

    def flow_control(self, session: Session, subscription: Subscription) -> SharedFlowControl:
        """Return the flow control of a subscription, the same for each of its lanes."""
        known = self._flow_controls.get(subscription.name)
        if known is None:
            known = self._flow_controls[subscription.name] = SharedFlowControl(
                session, subscription, Turns(are_kept=self._is_on_one_server)
            )
        elif known.turns.are_over or known.subscription != subscription:  # the former's are still in flight
            known = self._flow_controls[subscription.name] = SharedFlowControl(session, subscription, known.turns)
        return known
