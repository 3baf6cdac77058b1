"""Linq's v2 API, for which there is no SDK: webhook subscriptions and phone numbers (https://docs.linqapp.com/v2/api).

Connection errors, timeouts, 429 and 5xx are retried twice, after the time in Retry-After or a short pause; a call that
still fails raises a `LinqApiError` with Linq's message. Creation is not idempotent: Linq accepts the same URL several
times and delivers every event once for each. So a creation that may have reached Linq is not simply repeated: the
retry first checks whether the subscription exists.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp

from relay.core.errors import LinqApiError
from relay.linq.api.v2_models import OneSubscription, PhoneNumbers, Subscriptions, read, read_list, refusal, seconds_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from relay.core.secret import SigningSecret
    from relay.linq.api.v2_models import V2PhoneNumber, V2Subscription

TOKEN_HEADER = "X-LINQ-INTEGRATION-TOKEN"  # noqa: S105  a header's name

VERSION = 2
"""The `version` of a subscription of this API."""

PAUSES = (0.5, 2.0)
"""Seconds before the second and the third attempt, less a random share of up to a quarter (jitter)."""

_TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=5)
_MAX_WAIT = 60.0  # seconds; a longer Retry-After fails the call, as in Linq's SDKs
_SUBSCRIPTIONS = "/webhook_subscriptions"

Answer = TypeVar("Answer")


class _RetryableError(Exception):
    """Failure of an attempt that can be retried."""

    def __init__(self, error: LinqApiError, *, may_be_done: bool, wait: float = 0.0) -> None:
        """Keep `error`; `may_be_done` is True if the request may have succeeded, `wait` is Linq's Retry-After."""
        self.error = error
        self.may_be_done = may_be_done
        self.wait = wait


class LinqV2Api:
    """Calls that bootstrap needs."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str, pauses: Iterable[float] = PAUSES) -> None:
        """Use `session`, which sends the token with every request; `pauses` are seconds."""
        self._session = session
        self._base_url = base_url.rstrip("/")
        self._pauses = tuple(pauses)

    async def subscriptions(self) -> list[V2Subscription]:
        """List every v2 webhook subscription of the account, ours and others'.

        Raises:
            LinqApiError: the call failed.
        """
        return await self._retried(self._list)

    async def create(self, webhook_url: str, events: Iterable[str], secret: SigningSecret) -> V2Subscription:
        """Create an active subscription, exactly one in spite of retries.

        Raises:
            LinqApiError: the call failed, or its result is unknown.
        """
        may_be_there = False
        what = "creating the v2 subscription"
        content = _content(webhook_url, events, secret)

        async def attempt() -> V2Subscription:
            nonlocal may_be_there
            if may_be_there:
                listed = await self._list()
                existing = [subscription.id for subscription in listed if subscription.webhook_url == webhook_url]
                if existing:  # from this attempt or not: an update makes it the one that was to be created
                    return await self._put(max(existing), content)
            try:
                body = await self._send("POST", _SUBSCRIPTIONS, what, content)
            except _RetryableError as failure:
                may_be_there |= failure.may_be_done
                raise
            return read(OneSubscription, body, what).webhook_subscription

        return await self._retried(attempt)

    async def update(
        self, subscription_id: int, webhook_url: str, events: Iterable[str], secret: SigningSecret
    ) -> V2Subscription:
        """Set the URL, the events and the secret of a subscription, and activate it.

        Raises:
            LinqApiError: the call failed.
        """
        content = _content(webhook_url, events, secret)
        return await self._retried(lambda: self._put(subscription_id, content))

    async def delete(self, subscription_id: int) -> None:
        """Delete a subscription; succeeds if it does not exist.

        Raises:
            LinqApiError: the call failed.
        """
        what = f"deleting v2 subscription {subscription_id}"
        path = f"{_SUBSCRIPTIONS}/{subscription_id}"
        await self._retried(lambda: self._send("DELETE", path, what, gone_is_fine=True))

    async def phone_numbers(self) -> list[V2PhoneNumber]:
        """List the lines of the account.

        Raises:
            LinqApiError: the call failed.
        """
        what = "listing v2 phone numbers"
        body = await self._retried(lambda: self._send("GET", "/phone_numbers", what))
        return list(read_list(PhoneNumbers, body, what).phone_numbers)

    async def _list(self) -> list[V2Subscription]:
        what = "listing v2 subscriptions"
        body = await self._send("GET", _SUBSCRIPTIONS, what)
        return list(read_list(Subscriptions, body, what).webhook_subscriptions)

    async def _put(self, subscription_id: int, content: dict[str, Any]) -> V2Subscription:
        what = f"updating v2 subscription {subscription_id}"
        body = await self._send("PUT", f"{_SUBSCRIPTIONS}/{subscription_id}", what, content)
        return read(OneSubscription, body, what).webhook_subscription

    async def _retried(self, attempt: Callable[[], Awaitable[Answer]]) -> Answer:
        """Make `attempt`, and retry it while its failure can be retried."""
        for pause in self._pauses:
            try:
                return await attempt()
            except _RetryableError as failure:
                if failure.wait > _MAX_WAIT:
                    raise failure.error from None
                jittered = pause * (1 - random.random() / 4)  # noqa: S311  no secret
                await asyncio.sleep(max(failure.wait, jittered))
        try:
            return await attempt()
        except _RetryableError as failure:
            raise failure.error from None

    async def _send(
        self, method: str, path: str, what: str, content: dict[str, Any] | None = None, *, gone_is_fine: bool = False
    ) -> bytes:
        """Send a request and return the body of a 2xx; `what` names the call in errors."""
        try:
            async with self._session.request(
                method, self._base_url + path, json=content, timeout=_TIMEOUT, allow_redirects=False
            ) as response:
                body = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            unreachable = LinqApiError(f"{what}: Linq cannot be reached: {str(error) or 'timeout'}")
            may_be_done = not isinstance(error, aiohttp.ClientConnectorError)
            raise _RetryableError(unreachable, may_be_done=may_be_done) from error
        if 200 <= response.status < 300 or (gone_is_fine and response.status == 404):
            return body
        refused = refusal(what, response.status, body, self._hidden(content))
        if response.status == 429 or response.status >= 500:
            wait = seconds_of(response.headers.get("Retry-After", ""), datetime.now(UTC))
            raise _RetryableError(refused, may_be_done=response.status != 429, wait=wait)
        raise refused

    def _hidden(self, content: dict[str, Any] | None) -> list[str]:
        """Return the texts that must not appear in an error: the token, and the secret that was sent."""
        secret = [content["webhook_subscription"]["secret"]] if content else []
        return [self._session.headers.get(TOKEN_HEADER, ""), *secret]


@asynccontextmanager
async def open_linq_v2(token: str, base_url: str) -> AsyncIterator[LinqV2Api]:
    """Open a client of Linq's v2 API at `base_url`."""
    async with aiohttp.ClientSession(headers={TOKEN_HEADER: token}) as session:
        yield LinqV2Api(session, base_url)


def _content(webhook_url: str, events: Iterable[str], secret: SigningSecret) -> dict[str, Any]:
    return {
        "webhook_subscription": {
            "webhook_url": webhook_url,
            "version": VERSION,
            "events": sorted(events),
            "secret": secret.text,
            "active": True,
        }
    }
