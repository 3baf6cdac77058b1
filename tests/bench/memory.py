"""Memory and disk of Redis for each event, by the size of its body: `python -m tests.bench.memory [EVENTS]`.

The service takes events from the sandbox, first without a worker, and then delivers them to three subscriptions: one
that takes everything, one that fails (its deliveries wait for a retry) and one that refuses (dead letters).
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relay.sandbox.app import Emission
from tests.journeys.conftest import LINES, open_service
from tests.journeys.subscribers import RULES, STATUS, answer, subscription
from tests.support import eventually

if TYPE_CHECKING:
    from tests.journeys.conftest import Service

EVENTS = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
SIZES = (1_000, 3_000, 10_000)
CHATS = 200


async def main() -> None:
    """Measure each size and print a table with a row for each part."""
    columns = [await measured(size) for size in SIZES]
    rows = [["bytes per event", *(f"body of {size:,} bytes" for size in SIZES)], ["---", *("---:" for _ in SIZES)]]
    rows += [[part, *(f"{column[part]:,.0f}" for column in columns)] for part in columns[0]]
    sys.stdout.writelines(f"| {' | '.join(row)} |\n" for row in rows)


async def measured(size: int) -> dict[str, float]:
    """Return the bytes of each part for an event whose body has `size` bytes."""
    with tempfile.TemporaryDirectory() as directory:
        async with open_service(Path(directory)) as service, service.redis.client() as redis:
            await redis.config_set("auto-aof-rewrite-percentage", 0)
            service.rules.write_text(RULES + "".join(subscription(path[1:], service.sink.url, "1h") for path in STATUS))
            service.sink.answer = answer
            await service.bootstrap()
            await service.start("ingress")
            await eventually(service.is_ready)
            text = await _text(service, redis, size)
            return {**await _accept(service, redis, text), **await _route_and_push(service, redis)}


async def _text(service: Service, redis: Any, size: int) -> str:
    """Return the text of a message whose webhook has a body of `size` bytes."""
    service.sandbox.emit(Emission(type="message.received", line=LINES[0], text=""))
    await service.sandbox.deliveries.settled()
    [(_, fields)] = await redis.xrange(redis.key.inbox)
    await redis.xtrim(redis.key.inbox, maxlen=0)
    return "m" * (size - len(fields[b"body"]))


async def _accept(service: Service, redis: Any, text: str) -> dict[str, float]:
    before, disk, network = await _memory(redis), await _aof(redis), await _network(redis)
    for number in range(EVENTS):
        chat = f"chat-{number % CHATS}"
        service.sandbox.emit(Emission(type="message.received", line=LINES[0], text=text, chat_id=chat))
        if number % 200 == 199:
            await service.sandbox.deliveries.settled()
    await eventually(lambda: _has(redis, redis.key.inbox, EVENTS))
    inbox = await _usage(redis, redis.key.inbox)
    return {
        "inbox": inbox,
        "id, for RELAY_DEDUPE_WINDOW": (await _memory(redis) - before) / EVENTS - inbox,
        "written to the append-only file: accepted": (await _aof(redis) - disk) / EVENTS,
        "to and from Redis: accepted": (await _network(redis) - network) / EVENTS,
    }


async def _route_and_push(service: Service, redis: Any) -> dict[str, float]:
    disk, network = await _aof(redis), await _network(redis)
    await service.start(module="workers")
    await eventually(lambda: _has(redis, redis.key.topic("messages"), EVENTS), timeout=60)
    for path in STATUS:
        await eventually(lambda path=path: _has(redis, redis.key.lane(path[1:], "attempts"), EVENTS), timeout=120)  # type: ignore[misc]
    await eventually(lambda: _has(redis, redis.key.lane("refusing", "dead"), EVENTS))
    lane = redis.key.lane
    retrying = await _usage(redis, lane("failing", "retries")) + await _usage(redis, lane("failing", "tries"))
    chats = await _usage(redis, redis.key.chats) + await _usage(redis, redis.key.chats_proved)
    return {
        "topic": await _usage(redis, redis.key.topic("messages")),
        "attempt, delivered": await _usage(redis, redis.key.lane("done", "attempts")),
        "attempt, failed": await _usage(redis, redis.key.lane("failing", "attempts"))
        + await _usage(redis, redis.key.lane("failing", "answers")),
        "delivery that waits for a retry": retrying,
        "dead letter": await _usage(redis, redis.key.lane("refusing", "dead")),
        "chat with a known line, each": chats * EVENTS / await redis.hlen(redis.key.chats),
        "written to the append-only file: 1 topic, 3 pushes": (await _aof(redis) - disk) / EVENTS,
        "to and from Redis: 1 topic, 3 pushes": (await _network(redis) - network) / EVENTS,
    }


async def _usage(redis: Any, key: str) -> float:
    return float(await redis.memory_usage(key, samples=0) or 0) / EVENTS


async def _memory(redis: Any) -> int:
    return int((await redis.info("memory"))["used_memory"])


async def _aof(redis: Any) -> int:
    return int((await redis.info("persistence"))["aof_current_size"])


async def _network(redis: Any) -> int:
    stats = await redis.info("stats")
    return int(stats["total_net_input_bytes"] + stats["total_net_output_bytes"])


async def _has(redis: Any, stream: str, entries: int) -> bool:
    return bool(await redis.xlen(stream) >= entries)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
