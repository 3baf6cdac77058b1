"""`relay listen` as a process, against an API with streams, and a handler on this machine."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from multidict import CIMultiDictProxy  # noqa: TC002  a dataclass evaluates it
from standardwebhooks import Webhook

from relay.core.line_secret import LineSecret
from relay.core.secret import SigningSecret
from relay.linq.signatures import v2, v3_legacy
from relay.net.http_listener import listening
from relay.net.listen_address import Listen
from relay.process.timings import DEFAULTS
from relay.services.topics.pull.listen_secret import listen_secret
from relay.store.topics.registry import register_topics
from tests.cli.running import ended, invoke, line_with, relay, relay_process
from tests.sandbox.running import closed_port
from tests.services.topics.pull.conftest import context  # noqa: F401  a fixture
from tests.services.topics.pull.reading import CRM, STREAM, feed
from tests.support import TIMEOUT, eventually
from tests.web.api.streaming import running_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from relay.services.context import Context
    from relay.store.driver.client import Redis
    from tests.web.api.streaming import Api

BODY = '{"api_version": "v3", "data": {"text": "caf\u00e9"}}'


@pytest.fixture
async def api(context: Context) -> AsyncIterator[Api]:  # noqa: F811  the fixture
    async with running_api(context, DEFAULTS) as api:
        yield api


@dataclass(slots=True)
class Handler:
    """A handler on this machine."""

    url: str = ""
    status: int = 200
    got: list[tuple[CIMultiDictProxy[str], bytes]] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        """The ids of the events, in the order of their arrival."""
        return [headers["Relay-Event-Id"] for headers, _ in self.got]


@asynccontextmanager
async def handling() -> AsyncIterator[Handler]:
    handler = Handler()

    async def receive(request: web.Request) -> web.Response:
        handler.got.append((request.headers, await request.read()))
        return web.Response(status=handler.status, text="not today" if handler.status != 200 else "")

    app = web.Application()
    app.router.add_post("/hook", receive)
    async with listening(app, Listen(host="127.0.0.1", port=0)) as port:
        handler.url = f"http://127.0.0.1:{port}/hook"
        yield handler


def options(api: Api, *more: str) -> Sequence[str]:
    return ("listen", "--topic", "support", "--api", f"http://127.0.0.1:{api.port}", "--token", "crm", *more)


async def test_events_are_forwarded_as_a_push_would_be(redis: Redis, context: Context, api: Api) -> None:  # noqa: F811
    await feed(redis, "a", "b", body=BODY)
    await redis.xadd(STREAM, {"id": "c", "type": "message.sent", "at": "1", "version": "v2", "body": "{}"})
    secret = await listen_secret(context, CRM)
    async with handling() as handler:
        said = await relay(*options(api, "--since", "1h", "--count", "3", "--forward", handler.url))
    assert (said.code, handler.ids) == (0, ["a", "b", "c"])
    for headers, body in handler.got:
        Webhook(secret.text).verify(body, {name.lower(): value for name, value in headers.items()})
    headers, body = handler.got[0]
    known = [LineSecret(None, 1, secret)]
    v3_legacy.verify(headers, body, known, time.time())
    v2.verify(handler.got[2][0], handler.got[2][1], known)
    assert (body, headers["Relay-Topic"], headers["Relay-Attempt"]) == (BODY.encode(), "support", "1")
    assert (headers["X-Webhook-Event"], headers["Relay-Line"]) == ("message.received", "+16465550123")
    lines = said.out.splitlines()
    assert [line.split()[1:4] for line in lines[:2]] == [["message.received", "+16465550123", "200"]] * 2
    assert "3 events, 3 delivered, 0 failed" in said.err
    assert await redis.xinfo_groups(STREAM) == []


async def test_events_are_forwarded_in_another_version(redis: Redis, context: Context, api: Api) -> None:  # noqa: F811
    sent = {"event_type": "reaction.added", "event_id": "a", "webhook_version": "2026-02-03", "data": {}}
    entry = {"id": "a", "type": "reaction.added", "at": "1", "version": "2026-02-03", "body": json.dumps(sent)}
    await redis.xadd(STREAM, entry)  # type: ignore[arg-type]
    secret = await listen_secret(context, CRM)
    async with handling() as handler:
        wanted = ("--since", "1h", "--count", "1", "--forward", handler.url, "--shape", "2025-01-01")
        await relay(*options(api, *wanted))
    [(headers, body)] = handler.got
    assert (headers["Relay-Shape"], json.loads(body)["webhook_version"]) == ("2025-01-01", "2025-01-01")
    Webhook(secret.text).verify(body, {name.lower(): value for name, value in headers.items()})


async def test_refused_events_go_on_and_are_told_as_json(redis: Redis, api: Api) -> None:
    await feed(redis, "a", "b")
    async with handling() as handler:
        handler.status = 500
        said = await relay(*options(api, "--since", "1h", "--count", "2", "--forward", handler.url, "--json"))
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert [(row["id"], row["outcome"], row["status"], row["detail"]) for row in rows] == [
        ("a", "failed", 500, "not today"),
        ("b", "failed", 500, "not today"),
    ]


async def test_it_goes_on_where_it_was_after_the_relay_restarted(redis: Redis, context: Context) -> None:  # noqa: F811
    await feed(redis, "a", "b")
    async with handling() as handler, running_api(context, DEFAULTS) as api:
        arguments = options(api, "--since", "1h", "--count", "4", "--forward", handler.url)
        async with relay_process(*arguments) as process:
            await eventually(lambda: len(handler.got) == 2)
            api.requests.end()
            await line_with("is lost (the relay is stopping", process.stderr)
            await feed(redis, "c")
            api.requests.end(are_ending=False)
            await line_with("connected again", process.stderr)
            await feed(redis, "d")
            said = await ended(process)
    assert (said.code, handler.ids) == (0, ["a", "b", "c", "d"])


async def test_interrupt_and_duration_end_it_cleanly(redis: Redis, api: Api) -> None:
    await register_topics(redis, ["support"])
    timed = asyncio.create_task(relay(*options(api, "--for", "200ms")))
    async with relay_process(*options(api)) as process:
        await line_with('the events of "support"', process.stderr)
        process.send_signal(signal.SIGINT)
        said = await ended(process)
    assert (said.code, said.err.splitlines()[-1]) == (0, "0 events")
    assert (await timed).code == 0


async def test_mistakes_are_named(api: Api) -> None:
    with closed_port() as port:
        nobody = f"http://127.0.0.1:{port}"
        async with handling() as handler:
            said = await asyncio.gather(
                relay("listen", "--topic", "support", "--api", nobody, "--token", "crm"),
                relay("listen", "--topic", "support", "--api", handler.url, "--token", "crm"),
                relay(*options(api, "--token", "guess")),
                relay(*options(api, "--topic", "suport")),
                relay(*options(api, "--handle", "x" * 201)),
            )
    messages = [each.err for each in said]
    assert [each.code for each in said] == [1] * 5
    assert f"no relay answers at {nobody}/api/v1" in messages[0]
    assert "answers HTTP 404, but is not the API of a relay" in messages[1]
    assert "does not accept the token (--token, RELAY_API_TOKEN)" in messages[2]
    assert 'no topic "suport" (known: support)' in messages[3]
    assert "handle: " in messages[4]


async def test_handler_that_does_not_listen_is_told_with_the_event(redis: Redis, api: Api) -> None:
    await feed(redis, "a")
    with closed_port() as port:
        target = f"http://127.0.0.1:{port}/hook"
        said = await relay(*options(api, "--since", "1h", "--count", "1", "--forward", target))
    assert said.code == 0
    assert "unreachable" in said.out
    assert f"nothing listens at 127.0.0.1:{port}" in said.err


async def test_secret_is_printed_for_the_handler(context: Context, api: Api) -> None:  # noqa: F811
    said = await relay(
        "listen",
        "--topic",
        "support",
        "--print-secret",
        RELAY_API_URL=f"http://127.0.0.1:{api.port}",
        RELAY_API_TOKEN="crm",
    )
    assert SigningSecret(said.out.strip()) == await listen_secret(context, CRM)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "RELAY_API_URL"),
        (("--api", "127.0.0.1:8081", "--token", "x"), "is not the URL of an admin listener"),
        (("--api", "http://x"), "RELAY_API_TOKEN"),
        (("--api", "http://x", "--token", "x", "--forward", "3000"), "is not a URL"),
        (("--api", "http://x", "--token", "x", "--since", "soon"), "is not a time"),
        (("--api", "http://x", "--token", "x", "--for", "soon"), "is not a duration"),
    ],
)
def test_mistakes_on_the_command_line_are_named(arguments: Sequence[str], message: str) -> None:
    said = invoke("listen", "--topic", "support", *arguments)
    assert (said.code, message in " ".join(said.err.split())) == (2, True)


async def test_keys_resend_show_pause_and_quit(redis: Redis, api: Api) -> None:
    await feed(redis, "a", body='{"text": "hello"}')
    async with handling() as handler:
        main, child = os.openpty()
        process = await asyncio.create_subprocess_exec(
            *("relay", *options(api, "--since", "1h", "--forward", handler.url)),
            stdin=child,
            stdout=child,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "COLUMNS": "80"},
        )
        os.close(child)
        try:
            await eventually(lambda: len(handler.got) == 1)
            os.write(main, b"r")
            await eventually(lambda: len(handler.got) == 2)
            os.write(main, b"sp")
            await line_with("paused", process.stderr)
            await feed(redis, "b")
            os.write(main, b"p")
            await eventually(lambda: len(handler.got) == 3)
            os.write(main, b"q")
            async with asyncio.timeout(TIMEOUT):
                await process.communicate()
            shown = os.read(main, 65536).decode()
        finally:
            os.close(main)
            if process.returncode is None:
                process.kill()
    assert process.returncode == 0
    assert handler.ids == ["a", "a", "b"]
    assert [headers.get("Relay-Replay") for headers, _ in handler.got] == [None, "true", None]
    lines = [line for line in shown.splitlines() if "message.received  " in line]
    assert len(lines) == 3
    assert all(len(line) <= 80 for line in lines)
    assert '"text": "hello"' in shown
