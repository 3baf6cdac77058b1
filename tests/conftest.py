"""What every test can ask for: a Redis of this run's own, emptied for each test, and a clock that stands still.

The Redis is the embedded one on a free port, in a directory of this run; a machine's own server is never touched.
Nothing sleeps where it can wait for a condition: `eventually` asks again until it holds.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import TYPE_CHECKING

import pytest
import structlog
from redis.asyncio import Redis

from relay.config.settings import Settings
from relay.process.embedded_redis import Embedded, embedded_redis
from tests.support import Clock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

NOW = 1_789_377_302.0
"""The moment that the clock of tests stands at: 2026-09-14T09:15:02Z, that of the samples."""


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of this machine reaches a test, and `.env` and `.relay` are looked for in an empty directory."""
    for name in [name for name in os.environ if name in {field.upper() for field in Settings.model_fields}]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def logs_that_can_be_captured(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commands that run in this process set up logs as usual, but nothing of it stays for later tests."""
    configure, root = structlog.configure, logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    monkeypatch.setattr(structlog, "configure", lambda **how: configure(**how | {"cache_logger_on_first_use": False}))
    yield
    structlog.reset_defaults()
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> None:
    """Also where a shell started the tests in its background, with Ctrl-C ignored by them and all that they start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """The Redis of this test run."""
    with asyncio.Runner() as runner:
        context = embedded_redis(tmp_path_factory.mktemp("redis"))
        embedded = runner.run(context.__aenter__())
        yield embedded
        runner.run(context.__aexit__(None, None, None))


@pytest.fixture
async def redis(redis_server: Embedded) -> AsyncIterator[Redis]:
    """A client of an empty Redis."""
    client = Redis.from_url(redis_server.url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
def redis_url(redis_server: Embedded, redis: Redis) -> str:
    """Where the empty Redis is."""
    del redis  # it only has to have been emptied
    return redis_server.url


@pytest.fixture
def clock() -> Clock:
    """A clock that moves when it is told to."""
    return Clock(NOW)
