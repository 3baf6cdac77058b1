"""Async clients of Redis, and the driver that runs a protocol with one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar, Union, cast

import redis as blocking_redis
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.client import NEVER_DECODE
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, WatchError

from ..protocol.steps import Commands, DeleteUnless, Wait
from .opening import Opened, is_of_unknown_node, unavailable

if TYPE_CHECKING:
    from ..protocol.steps import Command, Step, Steps

Answer = TypeVar("Answer")
Client = Union[Redis, RedisCluster]
"""A client that the caller may bring."""

RAW: dict[str, Any] = {NEVER_DECODE: []}
"""The option by which a client leaves replies as they are, even one that decodes text."""
TRIES = 3
"""Tries to delete a consumer of a stream that is busy."""
UVLOOP_CLOSED = "the handler is closed"
"""uvloop's text, in a RuntimeError, where a connection is lost while it is being opened."""


class Connected(Opened):
    """A client, and what this package needs of it."""

    _redis, _sentinels, _cluster, _node = Redis, Sentinel, RedisCluster, ClusterNode

    def __init__(self, source: str | Client) -> None:
        """`source` is a URL, or a client of the caller.

        Raises:
            ValueError: the URL has an unknown form.
            TypeError: it is a client of the other kind.
        """
        if isinstance(source, (blocking_redis.Redis, blocking_redis.RedisCluster)):
            raise TypeError("this is a blocking client: use consume_sync, or a client of redis.asyncio")
        super().__init__(source, Retry(NoBackoff(), 0))  # outages are waited out here

    async def aclose(self) -> None:
        """Close the client, unless it is the caller's, and those of other shards."""
        for other in self._others.values():
            await other.aclose()
        if not self._is_ours or self._client is None:
            return
        if not self.is_of_cluster:
            await self.client.connection_pool.disconnect()
        clients = [self.client, *(self._sentinel.sentinels if self._sentinel is not None else ())]
        for client in clients:
            await (client.aclose if hasattr(client, "aclose") else client.close)()

    async def run(self, steps: Steps[Answer]) -> Answer:
        """Run a protocol to its end."""
        answer: Any = None
        error: BaseException | None = None
        try:
            while True:
                step = steps.send(answer) if error is None else steps.throw(error)
                answer, error = None, None
                try:
                    answer = await self._take(step)
                except asyncio.TimeoutError as timeout:  # not TimeoutError before Python 3.11
                    error = TimeoutError(str(timeout) or "Redis did not answer in time")
                except BaseException as raised:  # noqa: BLE001  the protocol decides
                    error = _translated(raised)
        except StopIteration as end:
            return cast("Answer", end.value)

    async def _take(self, step: Step) -> Any:
        if isinstance(step, Commands):
            return await self._send(step.commands, is_atomic=step.atomic)
        if isinstance(step, DeleteUnless):
            return await self._delete(step)
        if isinstance(step, Wait):
            return await self._wait(step)
        return await asyncio.sleep(step.seconds)

    async def _wait(self, step: Wait) -> None:
        signal = cast("asyncio.Event", step.signal)
        timer = asyncio.get_running_loop().call_later(step.seconds, signal.set)
        try:
            await signal.wait()
        finally:
            timer.cancel()

    async def _send(self, commands: Any, *, is_atomic: bool) -> list[Any]:
        if isinstance(self.client, RedisCluster):
            return await self._send_in_turn(commands)
        async with self.client.pipeline(transaction=is_atomic) as pipe:
            for command in commands:
                pipe.execute_command(*command, **RAW)
            try:
                replies: list[Any] = await pipe.execute(raise_on_error=False)
            except ReadOnlyError:
                await self._leave_replica()
                raise
        if any(isinstance(reply, ReadOnlyError) for reply in replies):
            await self._leave_replica()
        return replies

    async def _leave_replica(self) -> None:
        """Close connections to a server that has become a replica; the next ones are to the new primary."""
        await self.client.connection_pool.disconnect(inuse_connections=self._is_ours)

    async def _send_in_turn(self, commands: list[Command]) -> list[Any]:
        """Send commands to the nodes of their keys. A transaction over two of them is none: the first is safe first."""
        await self.client.initialize()
        replies: list[Any] = []
        for command in commands:
            node = self.client.get_node_from_key(command.key)
            try:
                replies.append(await self.client.execute_command(*command.for_cluster, target_nodes=node, **RAW))
            except Exception as error:
                if is_of_unknown_node(error):
                    await self.client.aclose()  # it looks at the nodes again when it is next used
                if command[0] == b"XADD":  # the event must not be acknowledged
                    raise
                replies.append(_translated(error))
        return replies

    async def _delete(self, step: DeleteUnless) -> None:
        """Delete a consumer that has nothing; Redis itself would delete what is pending with it."""
        if isinstance(self.client, RedisCluster):
            return  # no WATCH
        async with self.client.pipeline(transaction=True) as pipe:
            for _ in range(TRIES):
                await pipe.watch(step.stream)
                row = (step.stream, step.group, "-", "+", 1, step.member)
                if await pipe.execute_command(b"XPENDING", *row, **RAW):
                    return
                pipe.multi()
                pipe.execute_command(b"XGROUP", b"DELCONSUMER", step.stream, step.group, step.member)
                try:
                    await pipe.execute()
                except WatchError:
                    continue
                return


def _translated(error: BaseException) -> BaseException:
    if isinstance(error, RuntimeError) and UVLOOP_CLOSED in str(error):
        return RedisConnectionError("the connection was closed")
    return unavailable(error)
