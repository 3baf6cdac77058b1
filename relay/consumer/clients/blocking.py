"""Blocking clients of Redis, and the driver that runs a protocol with one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar, Union, cast

from redis import Redis, RedisCluster
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.exceptions import ReadOnlyError, WatchError
from redis.retry import Retry
from redis.sentinel import Sentinel

from ..protocol.steps import Commands, DeleteUnless, Wait
from .asynchronous import RAW, TRIES
from .opening import Opened, is_of_unknown_node, unavailable

if TYPE_CHECKING:
    import threading

    from ..protocol.steps import Command, Step, Steps

Answer = TypeVar("Answer")
Client = Union[Redis, RedisCluster]
"""A client that the caller may bring."""


class Connected(Opened):
    """A client, and what this package needs of it; several threads may use it."""

    _redis, _sentinels, _cluster, _node = Redis, Sentinel, RedisCluster, ClusterNode

    def __init__(self, source: str | Client) -> None:
        """`source` is a URL, or a client of the caller.

        Raises:
            ValueError: the URL has an unknown form.
            TypeError: it is a client of the other kind.
        """
        if not isinstance(source, (str, Redis, RedisCluster)):
            raise TypeError("this is an async client: use consume, or a client of redis")
        super().__init__(source, Retry(NoBackoff(), 0))  # outages are waited out here

    def close(self) -> None:
        """Close the client, unless it is the caller's, and those of other shards."""
        for other in self._others.values():
            other.close()
        if not self._is_ours or self._client is None:
            return
        if not self.is_of_cluster:
            self.client.connection_pool.disconnect()
        for client in (self.client, *(self._sentinel.sentinels if self._sentinel is not None else ())):
            client.close()

    def run(self, steps: Steps[Answer]) -> Answer:
        """Run a protocol to its end."""
        answer: Any = None
        error: BaseException | None = None
        try:
            while True:
                step = steps.send(answer) if error is None else steps.throw(error)
                answer, error = None, None
                try:
                    answer = self._take(step)
                except BaseException as raised:  # noqa: BLE001  the protocol decides
                    error = unavailable(raised)
        except StopIteration as end:
            return cast("Answer", end.value)

    def _take(self, step: Step) -> Any:
        if isinstance(step, Commands):
            return self._send(step.commands, is_atomic=step.atomic)
        if isinstance(step, DeleteUnless):
            return self._delete(step)
        if isinstance(step, Wait):
            return cast("threading.Event", step.signal).wait(step.seconds)
        return time.sleep(step.seconds)

    def _send(self, commands: Any, *, is_atomic: bool) -> list[Any]:
        if isinstance(self.client, RedisCluster):
            return self._send_in_turn(commands)
        with self.client.pipeline(transaction=is_atomic) as pipe:
            for command in commands:
                pipe.execute_command(*command, **RAW)
            try:
                replies: list[Any] = pipe.execute(raise_on_error=False)
            except ReadOnlyError:
                self._leave_replica()
                raise
        if any(isinstance(reply, ReadOnlyError) for reply in replies):
            self._leave_replica()
        return replies

    def _leave_replica(self) -> None:
        """Close connections to a server that has become a replica; the next ones are to the new primary."""
        self.client.connection_pool.disconnect(inuse_connections=self._is_ours)

    def _send_in_turn(self, commands: list[Command]) -> list[Any]:
        """Send commands to the nodes of their keys. A transaction over two of them is none: the first is safe first."""
        replies: list[Any] = []
        for command in commands:
            node = self.client.get_node_from_key(command.key)
            try:
                replies.append(self.client.execute_command(*command.for_cluster, target_nodes=node, **RAW))
            except Exception as error:
                if is_of_unknown_node(error):
                    self.client.nodes_manager.initialize()
                if command[0] == b"XADD":  # the event must not be acknowledged
                    raise
                replies.append(unavailable(error))
        return replies

    def _delete(self, step: DeleteUnless) -> None:
        """Delete a consumer that has nothing; Redis itself would delete what is pending with it."""
        if isinstance(self.client, RedisCluster):
            return  # no WATCH
        with self.client.pipeline(transaction=True) as pipe:
            for _ in range(TRIES):
                pipe.watch(step.stream)
                row = (step.stream, step.group, "-", "+", 1, step.member)
                if pipe.execute_command(b"XPENDING", *row, **RAW):
                    return
                pipe.multi()
                pipe.execute_command(b"XGROUP", b"DELCONSUMER", step.stream, step.group, step.member)
                try:
                    pipe.execute()
                except WatchError:
                    continue
                return
