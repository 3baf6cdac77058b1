"""Subscriptions under our URL that another relay may have made. Pure.

A second relay with the same RELAY_PUBLIC_URL and Linq key, but another Redis (a copied `.env`), would replace every
subscription of the first, whose secrets it does not have. So a subscription is ours if its secret is stored here, or if
its URL has our owner tag: a run that was killed may have made it without storing the secret. One without any tag was
made by an older release. It is ours if this Redis holds the secret of another subscription under our URL; else this may
be the second relay. A relay whose Redis has lost its data looks like a second relay, and has to say that it is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.core.errors import AnotherRelay
from relay.core.event import Dialect, owner_of
from relay.linq.target_urls import V3_PATH, our_target

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from relay.bootstrap.plan import DesiredState
    from relay.linq.api.v3 import LinqSubscription
    from relay.linq.target_urls import Target

_NAMED = 5  # owners that an error names


@dataclass(frozen=True, slots=True)
class Rival:
    """A subscription under our URL that may be another relay's."""

    subscription_id: str
    owner: str
    """A line (E.164) or `account`."""
    tag: str | None
    """Its owner tag."""
    is_active: bool

    @property
    def what(self) -> str:
        """Its description, with the remedy."""
        whose = f"owner tag {self.tag}" if self.tag else "no owner tag, and no secret of it is stored here"
        return (
            f"another relay's ({whose}): find the relay with this RELAY_PUBLIC_URL and another Redis, or run "
            "relay bootstrap apply --take-over"
        )


def rivals_of(desired: DesiredState, existing: Sequence[LinqSubscription], held: Collection[str]) -> list[Rival]:
    """Return the subscriptions under our public URL that are not provably ours.

    `held` are the ids of the subscriptions whose secrets are stored here.
    """
    ours: list[tuple[LinqSubscription, Target]] = []
    for subscription in existing:
        target = our_target(desired.public_url, subscription.target_url)
        if target is not None and (target.line is not None or not target.named):
            ours.append((subscription, target))
    is_first = any(subscription.id in held for subscription, _ in ours)
    return [
        Rival(
            subscription.id,
            owner_of(Dialect.V3, target.line, desired.account),
            target.owner,
            subscription.is_active,
        )
        for subscription, target in ours
        if subscription.id not in held and (not is_first if target.owner is None else target.owner != desired.tag)
    ]


def refusal(public_url: str, rivals: Sequence[Rival]) -> AnotherRelay:
    """Return the error of a run that would change subscriptions of another relay."""
    owners = sorted({rival.owner for rival in rivals})
    named = ", ".join(owners[:_NAMED]) + (", ..." if len(owners) > _NAMED else "")
    tags = ", ".join(sorted({f"owner tag {rival.tag}" if rival.tag else "no owner tag" for rival in rivals}))
    made = "1 subscription" if len(rivals) == 1 else f"{len(rivals)} subscriptions"
    return AnotherRelay(
        f"{made} under {public_url.rstrip('/')}{V3_PATH} may be another relay's ({tags}; of {named}): no secret of "
        "them is stored in this Redis, so there is a second relay with this RELAY_PUBLIC_URL and another Redis (a "
        "copied .env?), or this Redis has lost its data. Nothing is changed at Linq. If the other relay is to stay, "
        "give this one another RELAY_PUBLIC_URL or the same Redis; if there is none, run: "
        "relay bootstrap apply --take-over"
    )
