"""The client of a relay's API: requests, and the events of a topic as a stream that resumes where it was after a break.

A refusal (a wrong token, an unknown topic) is an error. What can pass by itself (a relay that restarts, a lost network)
is told once, and tried again, if the relay has been reached before.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import aiohttp

from relay.cli.remote.access import ApiError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

_SILENCE = 45.0  # seconds; the relay sends something every fifteen
_CONNECT = 10.0  # seconds
_FIRST_PAUSE, _MAX_PAUSE = 0.5, 10.0  # seconds
_PASSING = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, 504}


class Lost(Exception):
    """The stream has ended; it is tried again."""


@dataclass(frozen=True, slots=True)
class Api:
    """The API of a relay, for the bearer of a token."""

    http: aiohttp.ClientSession
    base: str
    token: str

    async def get(self, path: str, query: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the answer to a GET; parameters that are None are left out.

        Raises:
            ApiError: the API refuses, does not answer, or is none.
        """
        return await self._ask("GET", path, query=query)

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to a POST; fields that are None are left out.

        Raises:
            ApiError: the API refuses, does not answer, or is none.
        """
        return await self._ask("POST", path, body=body)

    async def _ask(
        self, method: str, path: str, *, query: Mapping[str, Any] | None = None, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        pause = _FIRST_PAUSE
        while True:
            try:
                async with self._open(path, _given(query or {}), {}, method, body and _given(body)) as response:
                    if response.status == HTTPStatus.TOO_MANY_REQUESTS and pause < _MAX_PAUSE:
                        await asyncio.sleep(pause)  # the rate of the token; it was not done
                        pause *= 2
                        continue
                    await self._check(response)
                    found: dict[str, Any] = await response.json()
                    return found
            except (aiohttp.ClientError, TimeoutError, ValueError, Lost) as error:
                raise ApiError(self._unreachable(error)) from None

    async def events(
        self, topic: str, query: Mapping[str, str], tell: Callable[[str], None]
    ) -> AsyncIterator[dict[str, Any]]:
        """Return the events of a topic, without end; `tell` is called with breaks and their ends.

        Raises:
            ApiError: the API refuses.
        """
        last: str | None = None
        pause = 0.0
        while True:
            try:
                async for event_id, name, data in self._stream(topic, query, last):
                    if pause:
                        tell("connected again")
                        pause = 0.0
                    last = event_id or last
                    if name == "event":
                        yield data
                    elif name == "gap":
                        tell("events after the last one are no longer in the topic; continuing with the oldest kept")
            except (aiohttp.ClientError, TimeoutError, Lost) as error:
                if last is None and not isinstance(error, Lost):
                    raise ApiError(self._unreachable(error)) from None
                if not pause:
                    tell(f"the connection to the relay is lost ({_said(error)}); trying again")
                pause = min(max(2 * pause, _FIRST_PAUSE), _MAX_PAUSE)
                await asyncio.sleep(pause)

    async def _stream(
        self, topic: str, query: Mapping[str, str], last: str | None
    ) -> AsyncIterator[tuple[str | None, str, dict[str, Any]]]:
        """Return the messages of one stream: the id, the name and the data of each."""
        resumes = {} if last is None else {"Last-Event-ID": last}
        async with self._open(f"/topics/{topic}/events/stream", query, resumes) as response:
            await self._check(response)
            async for lines in _blocks(response):
                fields = dict(line.partition(b": ")[::2] for line in lines if not line.startswith(b":"))
                if not fields:
                    continue
                event_id = fields[b"id"].decode() if b"id" in fields else None
                data = json.loads(fields[b"data"]) if b"data" in fields else {}
                name = fields.get(b"event", b"").decode()
                if name == "end":
                    raise Lost(data["reason"])
                yield event_id, name, data
        raise Lost("the relay closed it")

    def _open(
        self,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        method: str = "GET",
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT, sock_read=_SILENCE)
        bearer = {"Authorization": f"Bearer {self.token}"}
        return self.http.request(
            method, f"{self.base}{path}", params=query, json=body, headers={**bearer, **headers}, timeout=timeout
        )

    async def _check(self, response: aiohttp.ClientResponse) -> None:
        """Check that the API does what it was asked for."""
        if response.ok:
            return
        if response.status in _PASSING:
            raise Lost(f"HTTP {response.status}")
        if response.content_type != "application/problem+json":
            raise ApiError(
                f"{self.base} answers HTTP {response.status}, but is not the API of a relay; --api is the address of "
                f"its admin listener, such as http://127.0.0.1:8081"
            )
        problem = json.loads(await response.read())
        if response.status == HTTPStatus.UNAUTHORIZED:
            raise ApiError(f"the relay does not accept the token (--token, RELAY_API_TOKEN): {problem['detail']}")
        raise ApiError(problem["detail"], response.status, problem.get("cursor"))

    def _unreachable(self, error: BaseException) -> str:
        return (
            f"no relay answers at {self.base} ({_said(error)}); --api (RELAY_API_URL) is the address of its admin "
            f"listener, such as http://127.0.0.1:8081"
        )


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


async def _blocks(response: aiohttp.ClientResponse) -> AsyncIterator[list[bytes]]:
    """Return the lines of each message."""
    rest = b""
    async for chunk in response.content.iter_any():
        *blocks, rest = (rest + chunk).split(b"\n\n")
        for block in blocks:
            yield block.split(b"\n")


def _said(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.strerror or "connection refused"
    return str(error) or type(error).__name__
