"""`python -m tests.gaps`: an outage of an hour, put back by `relay backfill` under kills, beside live and late events.

    sandbox    one process: Linq with the messages of the outage, and simulated conversations as live traffic
    relay up   one process tree: Redis, ingress, worker
    backfill   `relay backfill --yes`, killed a few times with SIGKILL and started again

Meanwhile Linq recovers a part of the messages itself. At the end every message of the outage must be in the topic
exactly once, and no live message twice. Exit code 1 if not.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import aiohttp
import typer

from relay.cli.help import RelayCommand
from relay.cli.output import print_json
from relay.core.secret import new_key
from relay.process.embedded_redis import running
from relay.process.subprocesses import death_with_parent, python
from relay.sandbox.outage import Outage, messages_of
from relay.store.driver.client import WORKER_TIMEOUT, ask, open_redis
from relay.store.gaps.walk_record import Walk, WalkRecord
from tests.support import KEYS, eventually, reserve_port

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator

    from relay.store.driver.client import Redis

RULES = '[[topics]]\nname = "all"\nevents = ["message.*"]\nsize = "8GiB"\nhard_size = "8GiB"\n'
HOUR_MS = 3_600_000
_START = 60.0  # seconds
_END = 1800.0
_PAGE = 1000
_LATE = 200


def measure(
    *,
    messages: Annotated[int, typer.Option(min=10, metavar="NUMBER", help="Messages of the outage.")] = 180_000,
    lines: Annotated[int, typer.Option(min=1, max=90, metavar="NUMBER", help="Lines.")] = 20,
    chats: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="Chats, over all lines.")] = 2000,
    live: Annotated[float, typer.Option(min=0, metavar="NUMBER", help="Live events a second meanwhile.")] = 10,
    rate: Annotated[float, typer.Option(min=1, metavar="NUMBER", help="Calls to Linq a second.")] = 20,
    kills: Annotated[int, typer.Option(min=0, metavar="NUMBER", help="Kills of the backfill.")] = 2,
) -> None:
    """Lose the messages of an hour, put them back, and look for each; prints what it took as JSON."""
    with tempfile.TemporaryDirectory(prefix="relay-gaps-") as directory:
        found = asyncio.run(_measure(Path(directory), messages, lines, chats, live, rate, kills))
    print_json(found)
    if not found["exactly_once"]:
        raise typer.Exit(1)


async def _measure(
    directory: Path, messages: int, lines: int, chats: int, live: float, rate: float, kills: int
) -> dict[str, Any]:
    numbers = [f"+1646555{number:04d}" for number in range(lines)]
    request = Outage(messages=messages, chats=chats, seconds=3600, seed=7)
    made = list(messages_of(request, numbers))
    port, ingress = reserve_port(), reserve_port()
    (directory / "relay.toml").write_text(RULES)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("RELAY_", "LINQ_", "REDIS_"))},
        "RELAY_LISTEN": f"127.0.0.1:{ingress}",
        "RELAY_ADMIN_LISTEN": f"127.0.0.1:{reserve_port()}",
        "RELAY_PUBLIC_URL": f"http://127.0.0.1:{ingress}",
        "RELAY_SECRET_KEY": new_key(),
        "LINQ_API_V3_API_KEY": "sandbox-key",
        "LINQ_API_V3_BASE_URL": f"http://127.0.0.1:{port}/api/partner",
    }
    sandbox = ["sandbox", "--allow-local", "--listen", f"127.0.0.1:{port}", "--rate", str(live)]
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession(f"http://127.0.0.1:{port}"))
        play = await stack.enter_async_context(
            _process(directory, environment, *sandbox, *(part for line in numbers for part in ("--line", line)))
        )
        del play
        await eventually(lambda: _answers(http), _START)
        await stack.enter_async_context(_process(directory, environment, "up"))
        embedded = await eventually(lambda: running(directory / ".relay"), _START)
        redis = open_redis(embedded.url, WORKER_TIMEOUT)
        stack.push_async_callback(redis.aclose)
        await eventually(lambda: redis.hexists(KEYS.gaps, "began"), _START)
        await eventually(lambda: _registered(http, lines), _START)
        # The relay of the test has just started; the outage is one of the past hour.
        await ask(redis.hset(KEYS.gaps, "began", str(round(time.time() * 1000) - 2 * HOUR_MS)))
        async with http.post("/sandbox/outage", json=request.model_dump()) as response:
            assert response.status == 200, await response.text()
        ended = datetime.now(UTC).isoformat()
        began = time.monotonic()
        late = asyncio.create_task(_recover(http, made))
        walk, killed = await _backfill(directory, environment, redis, ended, rate, kills)
        walked = time.monotonic() - began
        await late
        if live:  # what is on its way
            async with http.post("/sandbox/faults", json={"kind": "lost"}) as response:
                assert response.status == 201
        await eventually(lambda: _is_empty(redis), _START)
        routed = time.monotonic() - began
        return await _verdict(redis, made, walk, {"seconds": walked, "routed_after": routed, "kills": killed})


async def _backfill(
    directory: Path, environment: dict[str, str], redis: Redis, ended: str, rate: float, kills: int
) -> tuple[Walk, int]:
    """Run the backfill to its end, and kill it on the way; return its walk and the number of kills."""
    record, killed = WalkRecord(redis), 0
    command = ["backfill", "--yes", "--rate", str(rate)]
    span = ["--since", "65m", "--until", ended]
    while True:
        async with _process(directory, environment, *command, *(span if not killed else ())) as process:
            target, start = kills - killed, await _chats_done(record)
            while target and process.returncode is None and await _chats_done(record) < start + 100:
                await asyncio.sleep(0.1)
            if not target or process.returncode is not None:
                assert await asyncio.wait_for(process.wait(), _END) == 0
                walk = await record.read()
                assert walk is not None
                return walk, killed
            process.kill()
            await process.wait()
            killed += 1


async def _chats_done(record: WalkRecord) -> int:
    walk = await record.read()
    return walk.chats if walk else 0


async def _recover(http: aiohttp.ClientSession, made: list[Any]) -> None:
    """Let Linq recover some of the messages itself, as events that come late."""
    step = max(1, len(made) // _LATE)
    for event_type, scenario in made[::step]:
        event = {
            "type": event_type,
            "line": scenario.line,
            "chat_id": scenario.chat_id,
            "message_id": scenario.message_id,
            "customer": scenario.customer,
            "text": scenario.text,
            "service": scenario.service,
            "occurred_at": scenario.occurred_at.isoformat(),
            "reconciled_at": scenario.occurred_at.isoformat(),
        }
        async with http.post("/sandbox/emit", json=event) as response:
            assert response.status == 200, await response.text()
        await asyncio.sleep(0.3)


async def _verdict(redis: Redis, made: list[Any], walk: Walk, took: dict[str, Any]) -> dict[str, Any]:
    """Count every message in the topic."""
    seen, by_source = Counter[tuple[str, str]](), Counter[str]()
    after = "-"
    while rows := await ask(redis.xrange(KEYS.topic("all"), after, count=_PAGE)):
        for entry, fields in rows:
            after = f"({entry.decode()}"
            if fields[b"type"] in {b"message.received", b"message.sent"}:
                seen[fields[b"type"].decode(), fields[b"message"].decode()] += 1
                by_source[fields.get(b"source", b"linq").decode()] += 1
    wanted = {(event_type, scenario.message_id) for event_type, scenario in made}
    lost, twice = [each for each in wanted if not seen[each]], [each for each, times in seen.items() if times > 1]
    notes = await ask(redis.hlen(KEYS.backfilled))
    note_bytes: Any = await ask(redis.memory_usage(KEYS.backfilled, samples=0)) or 0
    index = [key async for key in redis.scan_iter(KEYS.messages(0)[:-1] + "*")]
    index_bytes = sum([await ask(redis.memory_usage(key)) or 0 for key in index])
    return {
        "exactly_once": not lost and not twice,
        "messages": len(wanted),
        "lost": len(lost),
        "twice": len(twice),
        "live_messages": len(seen) - len(wanted) + len(lost),
        "by_source": dict(by_source),
        "calls": walk.calls,
        **{name: round(value, 1) for name, value in took.items()},
        "backfill_max_rss_mib": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
        "index_bytes_per_message": round(index_bytes / max(1, len(seen)), 1),
        "note_bytes_per_backfilled": round(note_bytes / max(1, notes), 1),
    }


async def _answers(http: aiohttp.ClientSession) -> bool:
    try:
        async with http.get("/sandbox/state") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


async def _registered(http: aiohttp.ClientSession, lines: int) -> bool:
    async with http.get("/sandbox/state") as response:
        return len((await response.json())["subscriptions"]) >= lines


async def _is_empty(redis: Redis) -> bool:
    return not await ask(redis.xlen(KEYS.inbox))


@asynccontextmanager
async def _process(directory: Path, environment: dict[str, str], *arguments: str) -> AsyncIterator[Process]:
    """Run `relay` while the context lasts."""
    with (directory / f"{arguments[0]}.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *python("relay", *arguments),
            cwd=directory,
            env=environment,
            stdout=log,
            stderr=log,
            preexec_fn=death_with_parent(),
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
        if process.returncode not in {0, -9, -15}:
            sys.stderr.write((directory / f"{arguments[0]}.log").read_text()[-2000:])


if __name__ == "__main__":
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
    app.command(cls=RelayCommand, context_settings={"help_option_names": ["-h", "--help"]})(measure)
    app()
