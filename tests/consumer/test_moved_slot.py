"""A consumer on a Redis Cluster whose slot has just moved: each of its commands finds the new primary by itself."""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from relay.consumer.clients import asynchronous, blocking
from relay.consumer.protocol.steps import Commands, command
from tests.clusters import SLOT, clusters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator
    from pathlib import Path

    from relay.consumer.protocol.steps import Command
    from tests.clusters import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

STREAM = "{relay}:topic:support"
LOOKS = (
    command(b"XINFO", b"STREAM", STREAM),
    command(b"XINFO", b"GROUPS", STREAM),
    command(b"XGROUP", b"CREATECONSUMER", STREAM, "billing", "a"),
    command(b"XPENDING", STREAM, "billing"),
    command(b"XREADGROUP", b"GROUP", "billing", "a", b"STREAMS", STREAM, ">"),
)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with clusters(tmp_path / "servers", primaries=3, replicas=0) as cluster:
        await cluster.command(await cluster.owner(), "XGROUP", "CREATE", STREAM, "billing", "0", "MKSTREAM")
        yield cluster


async def test_commands_follow_their_slot(cluster: Cluster) -> None:
    for look in LOOKS:
        connected = asynchronous.Connected(cluster.url)
        try:
            await connected.run(sent(*LOOKS))
            await move(cluster)
            [reply] = await connected.run(sent(look))
            assert not isinstance(reply, Exception), (look, reply)
        finally:
            await connected.aclose()


async def test_commands_of_a_blocking_client_follow_their_slot(cluster: Cluster) -> None:
    for look in LOOKS:
        connected = blocking.Connected(cluster.url)
        try:
            connected.run(sent(*LOOKS))
            await move(cluster)
            [reply] = connected.run(sent(look))
            assert not isinstance(reply, Exception), (look, reply)
        finally:
            connected.close()


async def test_slot_that_moves_to_a_node_that_has_joined_later_is_followed(cluster: Cluster) -> None:
    source = await cluster.owner()
    target = await cluster.other_primary(source)
    connected, waiting = asynchronous.Connected(cluster.url), blocking.Connected(cluster.url)
    try:
        await connected.run(sent(*LOOKS))
        waiting.run(sent(*LOOKS))
        await cluster.begin_to_move(source, target, SLOT)
        await cluster.move_keys(source, target, SLOT, 10)
        for client in connected.client, waiting.client:
            for name in [name for name in client.nodes_manager.nodes_cache if name.endswith(f":{target}")]:
                del client.nodes_manager.nodes_cache[name]
        for run in connected.run, waiting.run:
            error, *replies = [answer[0] for answer in [await _run(run, look) for look in LOOKS[:1] * 3]]
            assert isinstance(error, RedisConnectionError)
            assert not any(isinstance(reply, Exception) for reply in replies), replies
    finally:
        await cluster.finish_move(source, target, SLOT, 10, 5000)
        await connected.aclose()
        waiting.close()


async def _run(run: Any, look: Command) -> list[Any]:
    answer = run(sent(look))
    return await answer if isawaitable(answer) else answer  # type: ignore[no-any-return]


def sent(*commands: Command) -> Generator[Commands, list[Any], list[Any]]:
    """Send commands, and return the replies."""
    return (yield Commands(commands))


async def move(cluster: Cluster) -> None:
    """Move the slot to another primary."""
    await cluster.place({SLOT: await cluster.other_primary(await cluster.owner())})
