"""A survey of Linq's v3 API: the desired state, and the actual one. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.bootstrap.ownership.rivals import Rival, rivals_of
from relay.bootstrap.plan import DesiredState, Step, make_plan
from relay.bootstrap.status import Malformed
from relay.core.event import Dialect, owner_of
from relay.linq.target_urls import fault_of_url, our_target

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

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
    def malformed(self) -> list[Malformed]:
        """Faults to be corrected by hand: subscriptions at which no event can be accepted, and numbers."""
        return [
            *malformed_subscriptions(
                self.desired.public_url, ((each.id, each.target_url, each.is_active) for each in self.existing)
            ),
            *(
                Malformed(number, "Linq lists this number, but not in E.164; ask Linq to correct it")
                for number in self.desired.unreadable
            ),
        ]

    @property
    def rivals(self) -> list[Rival]:
        """The subscriptions under our URL that may be another relay's."""
        held = {*(record.subscription_id for record in self.secrets), *self.unusable}
        return rivals_of(self.desired.public_url, self.desired.tag, self.existing, held)

    @property
    def foreign(self) -> int:
        """The number of subscriptions of others that get events of the same lines."""
        return sum(map(self._is_foreign, self.existing))

    def _is_foreign(self, subscription: LinqSubscription) -> bool:
        shares = not subscription.phone_numbers or not subscription.phone_numbers.isdisjoint(self.desired.lines)
        url = subscription.target_url
        is_ours = our_target(self.desired.public_url, url) is not None or fault_of_url(self.desired.public_url, url)
        return shares and not is_ours


def malformed_subscriptions(public_url: str, existing: Iterable[tuple[str, str, bool]]) -> Iterator[Malformed]:
    """Yield the subscriptions under our paths at which no event can be accepted, of those with id, URL and activity."""
    for subscription_id, url, is_active in existing:
        if fault := fault_of_url(public_url, url):
            what = f"{fault} ({url}); delete it at Linq, or correct its URL"
            yield Malformed("unknown", what, subscription_id, is_active)
