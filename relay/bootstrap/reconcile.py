"""Reconciling: looks at Linq and at the keyring, makes the plan, and carries it out.

A secret is sealed and stored before anything else happens with its subscription. Should we die between the two, the
next run finds a subscription of ours without a secret and replaces it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog

from relay.bootstrap.plan import Action, Step, Wanted, make_plan
from relay.core.errors import LinqApiError, Problem, RelayError, SettingsError, StoreError
from relay.core.patterns import matches
from relay.settings import LOOPBACK, Settings
from relay.store import names
from relay.store.connect import RedisTrouble

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relay.core.config import RelayConfig
    from relay.linq.api import LinqApi
    from relay.store.keyring import KeyRecord, Keyring

_AT_ONCE = 8  # calls to Linq under way at the same time
_STORE_TRIES = 50
_STORE_PAUSE = 0.2

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Done:
    """One step and how it went."""

    step: Step
    error: str | None = None


class Reconciler:
    """Keeps Linq's subscriptions as they should be."""

    def __init__(
        self, api: LinqApi, keyring: Keyring, config: RelayConfig, public_url: str, clock: Callable[[], float]
    ) -> None:
        """`clock` gives Unix seconds."""
        self._api = api
        self._keyring = keyring
        self._config = config
        self._public_url = public_url
        self._clock = clock

    async def plan(self) -> tuple[Wanted, list[Step]]:
        """What is wanted, and the steps to it; changes nothing.

        Raises:
            LinqApiError: Linq did not answer as it should.
            StoreError: stored secrets cannot be opened with this RELAY_SECRET_KEY.
        """
        lines, offered, existing = await asyncio.gather(
            self._api.lines(), self._api.event_types(), self._api.subscriptions()
        )
        wanted = Wanted(self._public_url, lines, events_asked_for(self._config, offered))
        return wanted, make_plan(wanted, existing, await self._secrets())

    async def _secrets(self) -> list[KeyRecord]:
        """The stored secrets, each of which can be opened.

        Replacing those that cannot would take the right ones away from an ingress that has the right key.
        """
        records = await self._keyring.records()
        closed = sorted({record.line or "account" for record in records if not self._can_open(record)})
        if closed:
            raise StoreError(
                f"the stored secrets of {', '.join(closed)} were sealed with another RELAY_SECRET_KEY: use that one; "
                f"if it is lost, delete {names.KEYRING} from Redis and apply again to replace them"
            )
        return records

    def _can_open(self, record: KeyRecord) -> bool:
        try:
            self._keyring.open(record)
        except StoreError:
            return False
        return True

    async def apply(self, wanted: Wanted, steps: Sequence[Step], on_done: Callable[[Done], None]) -> list[Done]:
        """Carries out `steps`, going on past one that fails; `on_done` hears of each as it is over."""
        at_once = asyncio.Semaphore(_AT_ONCE)

        async def carry_out(step: Step) -> Done:
            async with at_once:
                done = await self._carry_out(wanted, step)
            on_done(done)
            return done

        results: list[Done] = []
        created: dict[str | None, bool] = {}
        for action in Action:
            # A line whose new subscription could not be made keeps its old one.
            batch = [
                s for s in steps if s.action is action and (action is not Action.DELETE or created.get(s.line, True))
            ]
            done = await asyncio.gather(*map(carry_out, batch))
            created |= {one.step.line: one.error is None for one in done if action is Action.CREATE}
            results += done
        return results

    async def _carry_out(self, wanted: Wanted, step: Step) -> Done:
        error = None
        try:
            match step.action:
                case Action.CREATE:
                    await self._create(wanted, step)
                case Action.UPDATE:
                    await self._api.update(str(step.subscription_id), sorted(wanted.events), str(step.line))
                case Action.DELETE:
                    await self._api.delete(str(step.subscription_id))
                    await self._keyring.forget(str(step.subscription_id))
                case Action.FORGET:
                    await self._keyring.forget(str(step.subscription_id))
                case Action.KEEP:
                    return Done(step)
        except (RelayError, *RedisTrouble) as trouble:
            error = str(trouble)
        write = log.error if error else log.info
        write(
            "subscription.reconciled",
            action=step.action,
            line=step.line,
            generation=step.generation,
            subscription=step.subscription_id,
            reason=step.reason,
            error=error,
        )
        return Done(step, error)

    async def _create(self, wanted: Wanted, step: Step) -> None:
        line = str(step.line)
        subscription, secret = await self._api.create(step.target_url, sorted(wanted.events), line)
        for _ in range(
            _STORE_TRIES
        ):  # Linq will not show the secret again: a short trouble with Redis must not cost it
            try:
                await self._keyring.store(line, step.generation, subscription.id, secret, self._clock())
            except RedisTrouble:
                await asyncio.sleep(_STORE_PAUSE)
            else:
                return
        raise StoreError(f"Redis did not take the secret of {line}; the next apply replaces this subscription")


def events_asked_for(config: RelayConfig, offered: Sequence[str]) -> frozenset[str]:
    """The event types that a topic asks for, of those that Linq offers.

    Raises:
        LinqApiError: there are none.
    """
    patterns = {pattern for topic in config.topics for pattern in topic.events}
    events = frozenset(event for event in offered if any(matches(pattern, event) for pattern in patterns))
    if not events:
        raise LinqApiError(
            "no topic of relay.toml asks for an event type that Linq offers; there is nothing to subscribe to"
        )
    return events


def public_url_of(settings: Settings) -> str:
    """RELAY_PUBLIC_URL, fit for the Linq that is to post there.

    Raises:
        SettingsError: it is http on this machine, but Linq is not (a sandbox on loopback takes it).
    """
    public = str(settings.relay_public_url)
    if urlsplit(public).scheme == "http" and urlsplit(settings.linq_api_v3_base_url).hostname not in LOOPBACK:
        problem = Problem("RELAY_PUBLIC_URL", f'"{public}" must be https: Linq posts nowhere else')
        raise SettingsError("The environment is not complete:", (problem,))
    return public
