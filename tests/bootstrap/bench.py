"""A reconciler between a Linq over HTTP (the sandbox, through the official SDK) and a real Redis."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from relay.bootstrap.deletions import Approval
from relay.bootstrap.factory import Account
from relay.bootstrap.looks import Looks
from relay.bootstrap.reconciling.v3 import AppliedStep, Reconciler
from relay.core.config.relay_toml import parse_config
from relay.core.secret import new_key
from relay.linq.api.v3 import LinqApi
from relay.linq.target_urls import target_url
from relay.store.keyring.encryption import Cipher
from relay.store.keyring.keyring import Keyring
from tests.sandbox.running import RunningSandbox, linq_error

if TYPE_CHECKING:
    from aiohttp import web

    from relay.bootstrap.plan import Step
    from relay.store.driver.client import Redis
    from tests.support import Clock

PUBLIC = "https://relay.example.com"
SUBSCRIPTIONS = "/v3/webhook-subscriptions"
LINES_ONLY = "[linq]\naccount = false\n"
"""`[linq]` without the subscription of the account."""
TOPICS = """
[[topics]]
name = "support"
events = ["message.received", "reaction.*"]

[[topics]]
name = "delivery"
events = ["message.failed", "message.received"]
lines = ["+16465550123"]
"""
RULES = LINES_ONLY + TOPICS
ASKED_FOR = {"message.received", "message.failed", "reaction.added", "reaction.removed"}
SEALING_KEY = new_key()


@dataclass
class Bench:
    """A reconciler between a sandbox and a Redis."""

    sandbox: RunningSandbox
    redis: Redis
    keyring: Keyring
    account: Account
    reported: list[AppliedStep] = field(default_factory=list)

    @property
    def reconciler(self) -> Reconciler:
        return self.account.reconciler

    async def plan(self) -> list[Step]:
        return await self.reconciler.plan()

    async def apply(self, approval: Approval = Approval.COMMAND, *, take_over: bool = False) -> list[AppliedStep]:
        self.reported.clear()
        return await self.reconciler.apply(self.reported.append, approval=approval, take_over=take_over)

    async def url(self, line: str | None, generation: int) -> str:
        """Return the target URL that our subscription has at Linq."""
        return target_url(PUBLIC, line, generation, await self.keyring.owner_tag())

    async def secrets(self) -> dict[str, str]:
        """Return the stored secrets, decrypted, by Linq's subscription id."""
        return {
            record.subscription_id: self.keyring.open(record).secret.text for record in await self.keyring.records()
        }

    def at_linq(self) -> dict[str, str]:
        """Return the target URLs of the subscriptions at Linq, by id."""
        return {
            subscription.id: subscription.target_url
            for subscription in self.sandbox.sandbox.state.subscriptions.values()
        }

    def secrets_at_linq(self) -> dict[str, str]:
        return {
            subscription.id: subscription.secret.text
            for subscription in self.sandbox.sandbox.state.subscriptions.values()
        }


def bench_of(
    sandbox: RunningSandbox, redis: Redis, clock: Clock, rules: str = RULES, public_url: str = PUBLIC
) -> Bench:
    keyring, api = Keyring(redis, Cipher(SEALING_KEY)), LinqApi(sandbox.client)
    reconciler = Reconciler(api, keyring, Looks(redis, "v3", clock), parse_config(rules), public_url, clock)
    return Bench(sandbox, redis, keyring, Account(None, api, keyring, reconciler, clock))


def actions(applied: list[AppliedStep]) -> list[tuple[str, str | None, int, bool]]:
    """Return action, line, generation and success of every applied step."""
    return sorted(
        (result.step.action.value, result.step.line, result.step.generation, result.error is None) for result in applied
    )


def refuse(method: str, *lines: str) -> Any:
    """Return an interceptor that fails requests of `method` for these lines (all lines by default)."""

    async def intercept(request: web.Request) -> web.StreamResponse | None:
        if request.method != method:
            return None
        about = (await request.json()).get("phone_numbers", []) if lines else []
        return linq_error(500, 3006, "Internal error") if not lines or set(about) & set(lines) else None

    return intercept
