"""`relay ingress`, `relay worker` and `relay up`: what they need, and that they come and go."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
import pytest

from relay.config.settings import Settings
from relay.core.secret import SigningSecret, new_key, new_secret
from relay.ingress_parts import ingress_parts
from relay.store.keyring.encryption import Cipher
from relay.store.keyring.keyring import Keyring
from relay.store.rights.rules import relay_rule
from tests.cli.running import ended, line_with, main_here, relay, relay_process
from tests.sandbox.running import LINES
from tests.support import KEYS, eventually

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

KEY = new_key()
ANY_PORTS = {"RELAY_LISTEN": "127.0.0.1:0", "RELAY_ADMIN_LISTEN": "127.0.0.1:0", "RELAY_LOG_FORMAT": "json"}


@pytest.mark.parametrize(
    ("command", "environment", "missing"),
    [
        ("ingress", {"REDIS_URL": "redis://127.0.0.1:1/0"}, "RELAY_SECRET_KEY"),
        ("up", {}, "RELAY_SECRET_KEY"),
        ("up", {"RELAY_SECRET_KEY": KEY, "LINQ_API_V3_API_KEY": "key"}, "RELAY_PUBLIC_URL"),
    ],
)
@pytest.mark.usefixtures("rules")
async def test_missing_variable_is_exit_code_2(command: str, environment: dict[str, str], missing: str) -> None:
    said = await main_here(command, **environment)
    assert said.code == 2
    assert said.is_one_message_without_traceback()
    assert f"{missing}: not set" in said.err


@pytest.mark.parametrize("command", ["ingress", "worker"])
@pytest.mark.usefixtures("rules")
async def test_service_needs_redis(command: str) -> None:
    said = await relay(command, RELAY_SECRET_KEY=KEY)
    assert said.code == 2
    assert said.is_one_message_without_traceback()
    assert "REDIS_URL: not set" in said.err


@pytest.mark.usefixtures("rules")
async def test_up_names_all_missing_variables() -> None:
    said = await main_here("up", LINQ_API_V3_API_KEY="key")
    assert all(f"{name}: not set" in said.err for name in ("RELAY_SECRET_KEY", "RELAY_PUBLIC_URL"))


async def test_ingress_names_all_missing_variables() -> None:
    said = await main_here("ingress")
    assert all(f"{name}: not set" in said.err for name in ("RELAY_SECRET_KEY", "REDIS_URL"))


@pytest.mark.parametrize("command", ["ingress", "up"])
@pytest.mark.usefixtures("rules")
async def test_wrong_variables_are_exit_code_2(command: str) -> None:
    said = await main_here(command, RELAY_SECRET_KEY="short", RELAY_LISTEN="here", REDIS_URL="http://x")
    assert said.code == 2
    assert said.is_one_message_without_traceback()
    assert all(name in said.err for name in ("RELAY_SECRET_KEY", "RELAY_LISTEN", "REDIS_URL"))


@pytest.mark.parametrize("command", ["worker", "up"])
async def test_invalid_config_is_exit_code_2(command: str, redis_url: str) -> None:
    Path("relay.toml").write_text('[[topics]]\nname = "x"\nevents = ["a..b"]\n')
    said = await relay(command, REDIS_URL=redis_url, RELAY_SECRET_KEY=KEY)
    assert said.code == 2
    assert "Traceback" not in said.err
    assert "relay.toml:3" in said.err


async def test_ingress_starts_is_ready_and_stops(redis: Redis, redis_url: str) -> None:
    await Keyring(redis, Cipher(KEY)).store(LINES[0], 1, "s-1", SigningSecret(new_secret()), 0)

    async def status_of(path: str) -> int:
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}{path}") as answer:
            return answer.status

    async def is_ready() -> bool:
        return await status_of("/ready") == 200

    async with relay_process("ingress", REDIS_URL=redis_url, RELAY_SECRET_KEY=KEY, **ANY_PORTS) as process:
        port = json.loads(await line_with("ingress.listening", process.stderr))["port"]
        assert await status_of("/live") == 200
        await eventually(is_ready)
        process.send_signal(signal.SIGTERM)
        said = await ended(process)
    assert said.code == 0
    assert "ingress.stopped" in said.err
    assert KEY not in said.err


@pytest.mark.parametrize("command", ["admin", "worker"])
@pytest.mark.usefixtures("rules")
async def test_every_role_serves_operators(command: str, redis_url: str) -> None:
    given = {"REDIS_URL": redis_url, **ANY_PORTS}
    async with relay_process(command, **given) as process, aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{json.loads(await line_with('admin.listening', process.stderr))['port']}"

        async def is_ready() -> bool:
            return (await http.get(f"{url}/ready")).status == 200

        await eventually(is_ready)
        report = await (await http.get(f"{url}/ready")).json()
        metrics = await (await http.get(f"{url}/metrics")).text()
        process.send_signal(signal.SIGTERM)
        assert (await ended(process)).code == 0
    assert report["role"] == command
    assert ("config" in report) == (command == "worker")
    assert "process_cpu_seconds_total" in metrics


@pytest.mark.usefixtures("rules")
async def test_a_worker_says_what_it_waits_for() -> None:
    given = {"REDIS_URL": "redis://127.0.0.1:1/0", **ANY_PORTS}
    async with relay_process("worker", **given) as process, aiohttp.ClientSession() as http:
        port = json.loads(await line_with("admin.listening", process.stderr))["port"]
        response = await http.get(f"http://127.0.0.1:{port}/ready")
        checks = (await response.json())["checks"]
    assert response.status == 503
    assert "127.0.0.1:1" in checks["redis"]
    assert checks["process"] == "starting: waiting for Redis"


@pytest.mark.usefixtures("rules")
@pytest.mark.parametrize(("command", "sign"), [("worker", "worker.started"), ("admin", "admin.listening")])
async def test_the_configured_niceness_is_used(redis_url: str, command: str, sign: str) -> None:
    given = {"REDIS_URL": redis_url, "RELAY_LOG_FORMAT": "json", "RELAY_WORKER_NICE": "3", **ANY_PORTS}
    async with relay_process(command, **given) as process:
        await line_with(sign, process.stderr)
        niceness = os.getpriority(os.PRIO_PROCESS, process.pid)
        process.send_signal(signal.SIGTERM)
        assert (await ended(process)).code == 0
    assert niceness == min(os.getpriority(os.PRIO_PROCESS, 0) + 3, 19)


async def test_ingress_reports_a_taken_port(no_redis: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        said = await relay("ingress", REDIS_URL=no_redis, RELAY_SECRET_KEY=KEY, **{**ANY_PORTS, "RELAY_LISTEN": listen})
    assert said.code == 1
    assert "Traceback" not in said.err
    assert f"cannot listen on {listen}: Address already in use" in said.err


async def test_ingress_can_be_stopped_during_its_start(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that is taken, or a SIGTERM, can come while the keyring is being read for the first time."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("RELAY_SECRET_KEY", KEY)
    settings = Settings.load()
    for ticks in range(20):
        async with asyncio.timeout(10) as patience, ingress_parts(settings):
            for _ in range(ticks):
                await asyncio.sleep(0)
        assert not patience.expired(), f"not left after {ticks} turns of the event loop"


@pytest.mark.usefixtures("rules")
async def test_wrong_credentials_of_redis_end_it_with_exit_code_2(redis_url: str) -> None:
    given = {"REDIS_URL": redis_url.replace("redis://:", "redis://:hunter2"), "RELAY_SECRET_KEY": KEY, **ANY_PORTS}
    # Side by side, since each waits for two seconds in case that Redis is still loading its users.
    for said in await asyncio.gather(relay("ingress", **given), relay("worker", **given)):
        assert said.code == 2
        assert "REDIS_URL: the user name or password is wrong" in said.err
        assert "hunter2" not in said.err
        assert "Traceback" not in said.err


@pytest.mark.parametrize("command", ["ingress", "worker"])
@pytest.mark.usefixtures("rules")
async def test_missing_rights_at_redis_end_it_with_exit_code_2(command: str, redis: Redis, redis_url: str) -> None:
    await redis.acl_setuser("poor", enabled=True, passwords=["+secret"], keys=["*"], commands=["+@all", "-info"])
    try:
        poor = f"redis://poor:secret@127.0.0.1:{urlsplit(redis_url).port}/0"
        said = await relay(command, REDIS_URL=poor, RELAY_SECRET_KEY=KEY, **ANY_PORTS)
    finally:
        await redis.acl_deluser("poor")
    assert said.code == 2
    assert "may not use INFO" in said.err
    assert f"ACL SETUSER poor {relay_rule(KEYS)}" in said.err


@pytest.mark.usefixtures("rules")
async def test_a_worker_that_waits_for_redis_can_be_stopped() -> None:
    async with relay_process("worker", REDIS_URL="redis://127.0.0.1:1/0", RELAY_LOG_FORMAT="json") as process:
        await line_with("redis.waiting", process.stderr)
        process.send_signal(signal.SIGTERM)
        assert (await ended(process)).code == 0
