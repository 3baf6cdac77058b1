"""Linq's v2 API, for which there is no SDK: webhook subscriptions and phone numbers (https://docs.linqapp.com/v2/api).

Connection errors, timeouts, 429 and 5xx are tried again twice, after the time that Retry-After names or a short one of
our own; what still fails becomes a `LinqApiError` that says what Linq said. Linq takes a URL as often as it is given
one and delivers every event once for each, so a creation that may have reached Linq is not simply made again: first we
look whether it is there.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp

from relay.core.errors import LinqApiError
from relay.linq.api.v2_models import OneSubscription, PhoneNumbers, Subscriptions, read, refusal, seconds_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from relay.core.secret import SigningSecret
    from relay.linq.api.v2_models import V2PhoneNumber, V2Subscription

TOKEN_HEADER = "X-LINQ-INTEGRATION-TOKEN"  # noqa: S105  a header's name

VERSION = 2
"""What `version` has to be in a subscription of this API."""

PAUSES = (0.5, 2.0)
"""Seconds before the second and the third attempt, less up to a quarter by chance."""

_TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=5)
_MAX_WAIT = 60.0  # seconds; a Linq that asks for more has failed, as in its own SDKs
_SUBSCRIPTIONS = "/webhook_subscriptions"

Answer = TypeVar("Answer")


class _TryAgain(Exception):
    """An attempt that failed where the next may not."""

    def __init__(self, error: LinqApiError, *, may_be_done: bool, wait: float = 0.0) -> None:
        """`may_be_done`: Linq may have done it all the same; `wait` is the seconds that Linq asks for."""
        self.error = error
        self.may_be_done = may_be_done
        self.wait = wait


class LinqV2Api:
    """The calls that bootstrap needs."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str, pauses: Iterable[float] = PAUSES) -> None:
        """`session` sends the token with every request; `pauses` are seconds."""
        self._session = session
        self._base_url = base_url.rstrip("/")
        self._pauses = tuple(pauses)

    async def subscriptions(self) -> list[V2Subscription]:
        """Every v2 webhook subscription of the account, ours and others'.

        Raises:
            LinqApiError: the call failed.
        """
        return await self._persistently(self._list)

    async def create(self, webhook_url: str, events: Iterable[str], secret: SigningSecret) -> V2Subscription:
        """A new, active subscription; of several attempts one counts.

        Raises:
            LinqApiError: it failed, or there is no telling whether it did.
        """
        may_be_there = False
        what = "creating the v2 subscription"
        content = _content(webhook_url, events, secret)

        async def attempt() -> V2Subscription:
            nonlocal may_be_there
            if may_be_there:
                there = [one for one in await self._list() if one.webhook_url == webhook_url]
                if there:  # ours or somebody's: with what we want, it is what we want
                    return await self._put(max(one.id for one in there), content)
            try:
                answer = await self._send("POST", _SUBSCRIPTIONS, what, content)
            except _TryAgain as trouble:
                may_be_there |= trouble.may_be_done
                raise
            return read(OneSubscription, answer, what).webhook_subscription

        return await self._persistently(attempt)

    async def update(
        self, subscription_id: int, webhook_url: str, events: Iterable[str], secret: SigningSecret
    ) -> V2Subscription:
        """Gives a subscription this URL, these events and this secret, and makes it active.

        Raises:
            LinqApiError: the call failed.
        """
        content = _content(webhook_url, events, secret)
        return await self._persistently(lambda: self._put(subscription_id, content))

    async def delete(self, subscription_id: int) -> None:
        """Deletes a subscription; one that is gone already is fine.

        Raises:
            LinqApiError: the call failed.
        """
        what = f"deleting v2 subscription {subscription_id}"
        path = f"{_SUBSCRIPTIONS}/{subscription_id}"
        await self._persistently(lambda: self._send("DELETE", path, what, gone_is_fine=True))

    async def phone_numbers(self) -> list[V2PhoneNumber]:
        """The lines of the account.

        Raises:
            LinqApiError: the call failed.
        """
        what = "listing v2 phone numbers"
        answer = await self._persistently(lambda: self._send("GET", "/phone_numbers", what))
        return list(read(PhoneNumbers, answer, what).phone_numbers)

    async def _list(self) -> list[V2Subscription]:
        what = "listing v2 subscriptions"
        return list(read(Subscriptions, await self._send("GET", _SUBSCRIPTIONS, what), what).webhook_subscriptions)

    async def _put(self, subscription_id: int, content: dict[str, Any]) -> V2Subscription:
        what = f"updating v2 subscription {subscription_id}"
        answer = await self._send("PUT", f"{_SUBSCRIPTIONS}/{subscription_id}", what, content)
        return read(OneSubscription, answer, what).webhook_subscription

    async def _persistently(self, attempt: Callable[[], Awaitable[Answer]]) -> Answer:
        """What `attempt` gives, made again while that can help."""
        for pause in self._pauses:
            try:
                return await attempt()
            except _TryAgain as trouble:
                if trouble.wait > _MAX_WAIT:
                    raise trouble.error from None
                jittered = pause * (1 - random.random() / 4)  # noqa: S311  no secret
                await asyncio.sleep(max(trouble.wait, jittered))
        try:
            return await attempt()
        except _TryAgain as trouble:
            raise trouble.error from None

    async def _send(
        self, method: str, path: str, what: str, content: dict[str, Any] | None = None, *, gone_is_fine: bool = False
    ) -> bytes:
        """The body of a 2xx; `what` says in errors what this was about."""
        try:
            async with self._session.request(
                method, self._base_url + path, json=content, timeout=_TIMEOUT, allow_redirects=False
            ) as answer:
                body = await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            unreachable = LinqApiError(f"{what}: Linq cannot be reached: {str(error) or 'no answer in time'}")
            may_be_done = not isinstance(error, aiohttp.ClientConnectorError)
            raise _TryAgain(unreachable, may_be_done=may_be_done) from error
        if 200 <= answer.status < 300 or (gone_is_fine and answer.status == 404):
            return body
        refused = refusal(what, answer.status, body, self._hidden(content))
        if answer.status == 429 or answer.status >= 500:
            wait = seconds_of(answer.headers.get("Retry-After", ""), datetime.now(UTC))
            raise _TryAgain(refused, may_be_done=answer.status != 429, wait=wait)
        raise refused

    def _hidden(self, content: dict[str, Any] | None) -> list[str]:
        """What no error may repeat: the token, and the secret that was sent."""
        secret = [content["webhook_subscription"]["secret"]] if content else []
        return [self._session.headers.get(TOKEN_HEADER, ""), *secret]


@asynccontextmanager
async def open_linq_v2(token: str, base_url: str) -> AsyncIterator[LinqV2Api]:
    """A client of the Linq whose v2 API is at `base_url`."""
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
