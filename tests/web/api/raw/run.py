"""Sends drafts over keep-alive connections, and judges what is answered."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from relay.web.api.operation import EVENT_STREAM
from relay.web.api.problems import MEDIA_TYPE, ProblemDetails
from relay.web.pages.shell.security import form_token
from tests.web.api.raw import nasty
from tests.web.api.raw.drafts import API, Draft, Drafts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.web.api.world import World

CONNECTIONS = 12
TEAM_KINDS = (*("team",) * 7, "team that reads", "team that reads", "revoked", "none")
EVERY_KIND = (*("team", "operator") * 4, "team that reads", "operator who reads", "revoked", "none")
_TIMEOUT = 20.0
_STREAM_TIMEOUT = 0.5
_MAX_FAULTS = 40
_FORMS_OF_PAGE = {"text/html", "text/event-stream", "text/css", "text/javascript", "image/svg+xml"}


class Response(NamedTuple):
    """What was read of a response."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_closed: bool

    @property
    def media_type(self) -> str:
        """The media type without parameters."""
        return self.headers.get("content-type", "").partition(";")[0]


@dataclass(slots=True)
class Found:
    """The result of a run."""

    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    """The number of good answers, by operation."""
    faults: list[str] = field(default_factory=list)

    def blame(self, made: Draft, why: str, response: Response | None = None) -> None:
        """Note a fault."""
        if len(self.faults) < _MAX_FAULTS:
            shown = "" if response is None else f"\n    -> {response.status} {response.headers} {response.body[:600]!r}"
            name = made.operation.id if made.operation else ""
            self.faults.append(f"{why} [{made.token}] {name}: {made.text()[:700]!r}{shown}")


async def fuzz(
    port: int, world: World, kinds: Iterable[str], count: int, seed: int, hidden: Iterable[str], found: Found
) -> None:
    """Send `count` requests with tokens of `kinds`; `hidden` are texts that no token of the team may be shown."""
    drafts = Drafts(random.Random(seed), world, tuple(kinds))
    for kind in sorted({*kinds} - {"revoked", "none"}):
        drafts.sessions[kind] = await _sign_in(port, world.tokens[kind])
    left = iter(range(count))
    secrets = [text.encode() for text in hidden]

    async def send() -> None:
        connection = _Connection(port)
        try:
            for _ in left:
                made = drafts.draft()
                found.requests += 1
                try:
                    async with asyncio.timeout(_TIMEOUT):
                        response = await connection.ask(made)
                except TimeoutError:
                    found.blame(made, "no answer")
                    connection.close()
                    continue
                _judge(made, response, secrets, found)
        finally:
            connection.close()

    async with asyncio.TaskGroup() as senders:
        for _ in range(CONNECTIONS):
            senders.create_task(send())


async def _sign_in(port: int, token: str) -> str:
    """Return the cookie of a session."""
    connection = _Connection(port)
    try:
        shown = await connection.ask(Draft("GET", "/sign-in", ""))
        assert shown is not None
        cookie = _cookie(shown)
        body = f"token={token}&form_token={form_token(cookie)}".encode()
        form = "application/x-www-form-urlencoded"
        headers = [("Cookie", f"relay_session={cookie}"), ("Content-Type", form), ("Origin", "http://relay.test")]
        signed_in = await connection.ask(Draft("POST", "/sign-in", "", headers=headers, body=body))
        assert signed_in is not None
        assert signed_in.status == HTTPStatus.SEE_OTHER, signed_in
        return _cookie(signed_in)
    finally:
        connection.close()


def _cookie(response: Response) -> str:
    return response.headers["set-cookie"].partition("relay_session=")[2].partition(";")[0]


class _Connection:
    """A connection that is kept as long as the server keeps it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, made: Draft) -> Response | None:
        """Return the response; None if the server closed the connection without one."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**20)
        assert self._reader is not None
        response = None
        with suppress(OSError, asyncio.IncompleteReadError):
            self._writer.write(made.text())
            if not made.is_framed:
                self._writer.write_eof()
            response = await _read(self._reader, has_body=made.method != "HEAD")
        if response is None or response.is_closed or not made.is_framed:
            self.close()
        return response

    def close(self) -> None:
        """Close it."""
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None


async def _read(reader: asyncio.StreamReader, *, has_body: bool) -> Response:
    status = 100
    while status == 100:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head[:-4].split("\r\n")
        status = int(first.split(" ", 2)[1])
    headers = {name.lower(): text for name, _, text in (line.partition(": ") for line in lines)}
    is_closed = headers.get("connection", "").lower() == "close"
    if headers.get("content-type", "").startswith(EVENT_STREAM):
        content = b""
        with suppress(TimeoutError):  # a quiet one says nothing for fifteen seconds
            async with asyncio.timeout(_STREAM_TIMEOUT):
                content = await reader.read(4000)
        return Response(status, headers, content, is_closed=True)
    if not has_body or status in {204, 304}:
        return Response(status, headers, b"", is_closed)
    if headers.get("transfer-encoding") == "chunked":
        parts = []
        while size := int(await reader.readline(), 16):
            parts.append((await reader.readexactly(size + 2))[:-2])
        await reader.readline()
        return Response(status, headers, b"".join(parts), is_closed)
    return Response(status, headers, await reader.readexactly(int(headers.get("content-length", "0"))), is_closed)


def _judge(made: Draft, response: Response | None, hidden: Iterable[bytes], found: Found) -> None:
    if response is None:
        if made.is_framed:
            found.blame(made, "closed without an answer")
        return
    status = response.status
    found.statuses[status] += 1
    if status >= 500 and not (made.is_page and status == HTTPStatus.BAD_GATEWAY):
        found.blame(made, "the relay made a mistake", response)
        return
    _judge_content(made, response, hidden, found)
    if not made.is_framed:
        return
    if status not in made.statuses:
        found.blame(made, f"{status} is not documented", response)
    if made.path.startswith(f"{API}/") and not made.path.startswith(f"{API}/docs"):
        _judge_api(made, response, found)
    elif made.is_page:
        _judge_page(made, response, found)


def _judge_content(made: Draft, response: Response, hidden: Iterable[bytes], found: Found) -> None:
    if made.token.startswith("team") and response.body:
        sent = made.text()
        if shown := [text for text in hidden if text in response.body and text.lstrip(b"+") not in sent]:
            found.blame(made, f"shows {shown}", response)
    if "x-injected" in response.headers:
        found.blame(made, "a header was injected", response)


def _judge_api(made: Draft, response: Response, found: Found) -> None:
    status, operation = response.status, made.operation
    if status >= 400 and made.method != "HEAD":
        try:
            problem = ProblemDetails.model_validate_json(response.body)
        except ValidationError as error:
            found.blame(made, f"no problem details: {error}", response)
            return
        if response.media_type != MEDIA_TYPE or problem.status != status or not problem.detail:
            found.blame(made, "wrong problem details", response)
    elif operation is not None:
        found.operations[operation.id] += 1
        if response.media_type != (operation.media_type if status != HTTPStatus.NO_CONTENT else ""):
            found.blame(made, "wrong type", response)
        if response.body and response.media_type == "application/json":
            json.loads(response.body)
    if response.headers.get("cache-control") != "no-store" and operation is not None:
        found.blame(made, "may be cached", response)


def _judge_page(made: Draft, response: Response, found: Found) -> None:
    if made.is_forged and made.method == "POST" and response.status < 400:
        found.blame(made, "a forged form was taken", response)
    if response.body and response.media_type not in _FORMS_OF_PAGE:
        found.blame(made, "wrong type", response)
    if b"<xss-mark" in response.body and response.media_type == "text/html":
        found.blame(made, f"shows {nasty.MARKUP} as it is", response)
    if "content-security-policy" not in response.headers:
        found.blame(made, "no Content-Security-Policy", response)
    if response.headers.get("location", "/").startswith(("//", "http")):
        found.blame(made, "leads elsewhere", response)
