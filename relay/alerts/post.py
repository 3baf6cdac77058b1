"""The POST of an alert: signed as push deliveries are, and under the same egress rules."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from relay import __version__
from relay.core.errors import RelayError
from relay.linq.signatures import standard
from relay.net.resolver import Refused, allowed, resolve
from relay.net.target import Target
from relay.net.tls import context_for
from relay.store.driver.client import describe

if TYPE_CHECKING:
    from relay.core.config.egress import Egress
    from relay.core.config.endpoint import Endpoint

TIMEOUT = 10.0
"""Seconds for a POST."""

_MAX_SHOWN = 200  # characters of a response


class PostError(RelayError):
    """The URL of `[alerts]` did not take a webhook."""

    code = "alert_not_sent"


class _CheckedResolver(AbstractResolver):
    """aiohttp's way to the addresses of a host, limited to those that `[egress]` allows."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_UNSPEC) -> list[ResolveResult]:
        del family
        found = allowed(self._egress, host, await resolve(host, port, TIMEOUT / 2))
        return [
            ResolveResult(hostname=host, host=address[0], port=port, family=kind, proto=protocol, flags=0)
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Close nothing: each lookup has a resolver of its own."""


async def post(url: str, endpoint: Endpoint, webhook_id: str, body: bytes, now: float) -> None:
    """POST a webhook to `url`; `now` is Unix seconds.

    Raises:
        PostError: it was not taken; the message has the reason.
    """
    headers = {"Content-Type": "application/json", "User-Agent": f"linq-relay/{__version__}", **endpoint.headers}
    if endpoint.secrets:
        newest, *former = endpoint.secrets
        headers |= standard.sign(newest, webhook_id, round(now), body, *former)
    else:
        headers[standard.ID] = webhook_id
    try:
        _check(url, endpoint.egress)
        tls = context_for(endpoint) if Target.from_url(url).is_https else True
        connector = aiohttp.TCPConnector(resolver=_CheckedResolver(endpoint.egress), ssl=tls)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            if response.status // 100 != 2:
                text = (await response.content.read(_MAX_SHOWN)).decode(errors="replace")
                raise PostError(f"{_origin(url)} responds {response.status}: {' '.join(text.split())}")
    except TimeoutError:
        raise PostError(f"{_origin(url)} does not respond within {TIMEOUT:.0f} s") from None
    except (aiohttp.ClientError, asyncio.IncompleteReadError, OSError, Refused, ValueError) as error:
        raise PostError(f"{_origin(url)} cannot be reached: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Return the cause of a failure, without the address that aiohttp repeats."""
    if isinstance(error, aiohttp.ClientConnectorError) and error.os_error.errno:
        return os.strerror(error.os_error.errno)
    return describe(error)


def _check(url: str, egress: Egress) -> None:
    """Check an address that is written in `url`, which aiohttp does not resolve.

    Raises:
        Refused: it must not be connected to.
    """
    if refusal := egress.url_refusal(url):
        raise Refused(refusal)


def _origin(url: str) -> str:
    """Return scheme and host of `url` for messages: the rest of it is often a secret (Slack's is)."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
