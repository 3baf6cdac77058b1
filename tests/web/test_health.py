from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import aiohttp
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from relay.core.secret import new_key
from relay.ingress_parts import ingress_parts
from relay.net.listen_address import Listen
from relay.parts import open_keyring
from relay.store.driver.client import ask
from relay.web.health import Readiness
from relay.web.server import listening_for_webhooks
from tests.building import LINE, SECRET, body_of, signed
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.config.settings import Settings
    from relay.store.driver.client import Redis
    from tests.web.conftest import Running


async def test_live_and_ready_when_all_is_well(ingress: Running) -> None:
    assert (await ingress.http.get("/live")).status == 200
    response = await ingress.http.get("/ready")
    assert response.status == 200
    assert await response.json() == {"ready": True, "checks": {"redis": "ok", "keyring": "ok", "process": "ok"}}
    assert await ingress.readiness.checks() == {"redis": "ok", "keyring": "ok", "process": "ok"}
    assert ingress.readiness.facts() == {"lines": 2, "unusable": []}


async def test_not_ready_while_stopping(ingress: Running) -> None:
    ingress.readiness.lifecycle.stop()
    response = await ingress.http.get("/ready")
    assert (response.status, (await response.json())["checks"]["process"]) == (503, "stopping")
    assert (await ingress.http.get("/live")).status == 200


async def test_draining_ingress_accepts_and_ends_its_connections(redis: Redis, settings: Settings) -> None:
    async with ingress_parts(settings) as parts:
        readiness = Readiness(parts)
        body = body_of()
        async with (
            listening_for_webhooks(parts, readiness, Listen(host="127.0.0.1", port=0)) as port,
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
        ):
            await open_keyring(settings, redis).store(LINE, 1, "id", SECRET, 0)
            await parts.keys.renew()
            connections = []
            for change in (readiness.lifecycle.run, partial(readiness.lifecycle.drain, "why"), readiness.lifecycle.run):
                change()
                path = f"/webhooks/linq?line={LINE[1:]}"
                async with http.post(path, data=body, headers=signed(body, parts.clock())) as response:
                    connections.append((response.status, response.headers.get("Connection")))
    assert connections == [(200, None), (200, "close"), (200, None)]


@pytest.mark.parametrize(
    ("fill", "has_v2", "word", "advice"),
    [
        ("nothing", False, "empty", "run: relay bootstrap apply"),
        ("another key", False, "wrong_key", "RELAY_SECRET_KEY does not decrypt the keyring"),
        ("another key", True, "wrong_key", "RELAY_SECRET_KEY does not decrypt the keyring"),
        ("broken records", False, "unusable", "run: relay bootstrap apply"),
        ("nothing", True, "ok", None),
    ],
)
async def test_ready_names_the_cause_in_one_word(
    redis: Redis, settings: Settings, fill: str, has_v2: object, word: str, advice: str | None
) -> None:
    if fill == "another key":
        other = settings.model_copy(update={"relay_secret_key": SecretStr(new_key())})
        await open_keyring(other, redis).store(LINE, 1, "id", SECRET, 0)
    elif fill == "broken records":
        await ask(redis.hset(KEYS.keyring, "id", "broken"))
    if not has_v2:
        settings = settings.model_copy(update={"linq_v2_webhook_secret": None, "linq_v2_webhook_secret_old": None})
    async with ingress_parts(settings) as parts:
        await parts.keys.renew()
        readiness = Readiness(parts)
        async with (
            listening_for_webhooks(parts, readiness, Listen(host="127.0.0.1", port=0)) as port,
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
        ):
            with capture_logs() as logs:
                for _ in range(2):
                    response = await http.get("/ready")
            report = await response.json()
    checks = {"redis": "ok", "keyring": word, "process": "ok"}
    assert (response.status, report) == (503 if advice else 200, {"ready": not advice, "checks": checks})
    if advice:
        [line] = logs
        assert (line["event"], line["check"], advice in line["detail"]) == ("ready.failing", "keyring", True)
        assert advice in readiness.detail()["keyring"]


async def test_ready_does_not_show_the_address_of_redis(settings: Settings) -> None:
    nowhere = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    async with ingress_parts(nowhere) as parts:
        readiness = Readiness(parts)
        is_ready, report = await readiness.report()
        assert not is_ready
        assert report["checks"] == {"redis": "unreachable", "keyring": "not_read", "process": "ok"}
        assert "127.0.0.1:1" in readiness.detail()["redis"]


async def test_frequent_checks_ask_redis_rarely(ingress: Running, redis: Redis) -> None:
    await redis.config_resetstat()
    for _ in range(30):
        assert (await ingress.http.get("/ready")).status == 200
    assert (await redis.info("commandstats"))["cmdstat_ping"]["calls"] <= 3
