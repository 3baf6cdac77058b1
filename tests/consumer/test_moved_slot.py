"""A consumer on a Redis Cluster whose slot has just moved: each of its commands finds the new primary by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.consumer.clients import asynchronous, blocking
from relay.consumer.protocol.steps import Commands, command
from tests.clusters import SLOT, clusters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator
    from pathlib import Path
    from typing import Any

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


def sent(*commands: Command) -> Generator[Commands, list[Any], list[Any]]:
    """Send commands, and return the replies."""
    return (yield Commands(commands))


async def move(cluster: Cluster) -> None:
    """Move the slot to another primary."""
    await cluster.place({SLOT: await cluster.other_primary(await cluster.owner())})
