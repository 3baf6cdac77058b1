from __future__ import annotations

from typing import TYPE_CHECKING

from relay.store import keys

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from relay.config.settings import Settings
    from tests.web.conftest import Running

import aiohttp

from relay.net.listen_address import Listen
from relay.parts import ingress_parts
from relay.web.health import Readiness
from relay.web.server import listening_for_webhooks


async def test_live_and_ready_when_all_is_well(ingress: Running) -> None:
    assert (await ingress.http.get("/live")).status == 200
    response = await ingress.http.get("/ready")
    assert response.status == 200
    assert await response.json() == {
        "ready": True,
        "checks": {"redis": "ok", "keyring": "ok", "process": "ok"},
        "lines": 2,
    }


async def test_not_ready_while_stopping(ingress: Running) -> None:
    ingress.readiness.stopping = True
    response = await ingress.http.get("/ready")
    assert (response.status, (await response.json())["checks"]["process"]) == (503, "stopping")
    assert (await ingress.http.get("/live")).status == 200


async def test_not_ready_without_any_secret(redis: Redis, settings: Settings) -> None:
    await redis.delete(keys.KEYRING)
    bare = settings.model_copy(update={"linq_v2_webhook_secret": None, "linq_v2_webhook_secret_old": None})
    async with ingress_parts(bare) as parts:
        await parts.keys.renew()
        async with (
            listening_for_webhooks(parts, Readiness(parts), Listen(host="127.0.0.1", port=0)) as port,
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
        ):
            response = await http.get("/ready")
            assert response.status == 503
            assert "relay bootstrap apply" in (await response.json())["checks"]["keyring"]


async def test_not_ready_without_redis(settings: Settings) -> None:
    nowhere = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    async with ingress_parts(nowhere) as parts:
        is_ready, report = await Readiness(parts).report()
    assert not is_ready
    assert report["checks"]["redis"].startswith("unreachable: ")
