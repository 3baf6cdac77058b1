"""A reconciler of the v2 subscription, between the sandbox and a real Redis."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from relay.bootstrap.looks import Looks
from relay.bootstrap.reconciling.v2 import V2DesiredState, V2Reconciler
from relay.core.secret import SigningSecret
from relay.store.keyring.encryption import Cipher
from relay.store.keyring.v2_secret_marker import V2SecretMarker
from tests.bootstrap.bench import PUBLIC, SEALING_KEY

if TYPE_CHECKING:
    from relay.bootstrap.reconciling.v3 import AppliedStep
    from relay.linq.api.v2 import LinqV2Api
    from relay.sandbox.state import V2Subscription
    from relay.store.driver.client import Redis
    from tests.sandbox.running import RunningSandbox

EVENTS = frozenset({"message.received", "chat.created"})
SECRET = "our-own-secret"
V2_RULES = '[linq.v2]\n[[topics]]\nname = "t"\nevents = ["message.received", "chat.created"]\n'


def reconciler_of(
    api: LinqV2Api, redis: Redis, secret: str = SECRET, events: frozenset[str] = EVENTS, key: str = SEALING_KEY
) -> V2Reconciler:
    desired = V2DesiredState(PUBLIC, events, SigningSecret(secret))
    return V2Reconciler(api, V2SecretMarker(redis, Cipher(key)), Looks(redis, "v2", time.time), desired)


async def apply(reconciler: V2Reconciler) -> list[tuple[str, str | None, bool]]:
    """Return action, subscription and success of every step, and check that each was reported."""
    reported: list[AppliedStep] = []
    assert await reconciler.apply(reported.append) == reported
    return [(result.step.action.value, result.step.subscription_id, result.error is None) for result in reported]


def at_linq(sandbox: RunningSandbox) -> list[V2Subscription]:
    return list(sandbox.sandbox.state.v2_subscriptions.values())
