"""A survey of Linq's v3 API: the desired state, and the actual one. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.bootstrap.plan import DesiredState, Step, make_plan
from relay.core.event import Dialect, owner_of
from relay.linq.target_urls import our_target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.linq.api.v3 import LinqSubscription
    from relay.store.keyring.record import KeyRecord


@dataclass(frozen=True, slots=True)
class Survey:
    """The desired state, and the actual one."""

    desired: DesiredState
    existing: Sequence[LinqSubscription]
    """Every subscription at Linq, ours and others'."""
    secrets: Sequence[KeyRecord]
    """The stored ones that can be used."""
    unusable: Sequence[str] = ()
    """The ids of the subscriptions whose stored secret is broken: it is as good as none."""

    def plan(self, now: float) -> list[Step]:
        """Return the steps from the actual state to the desired one; `now` is Unix seconds."""
        return make_plan(self.desired, self.existing, self.secrets, now)

    @property
    def owners(self) -> list[str]:
        """The owners that should have subscriptions: the lines, and the account if it should have one."""
        return [owner_of(Dialect.V3, line) for line in self.desired.owners]

    @property
    def active(self) -> set[str]:
        """The ids of the subscriptions that Linq posts to."""
        return {subscription.id for subscription in self.existing if subscription.is_active}

    @property
    def foreign(self) -> int:
        """The number of subscriptions of others that get events of the same lines."""
        return sum(map(self._is_foreign, self.existing))

    def _is_foreign(self, subscription: LinqSubscription) -> bool:
        shares = not subscription.phone_numbers or not subscription.phone_numbers.isdisjoint(self.desired.lines)
        return shares and our_target(self.desired.public_url, subscription.target_url) is None
