"""Subscriptions made by the API, with a worker that runs: no restart, no reload."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import standardwebhooks
from pydantic import SecretStr

from relay.config.settings import Settings
from relay.core.access.principal import Principal
from relay.core.access.scopes import EVERY_SCOPE
from relay.process.timings import Timings
from relay.services.context import open_context
from relay.services.deliveries import stored_subscriptions as service
from relay.store.ledger.ledger import Ledger
from tests.building import webhook_of
from tests.rules.storing import KEY
from tests.support import eventually
from tests.workers.conftest import accept
from tests.workers.runtime.test_runner import worker

if TYPE_CHECKING:
    from pathlib import Path

    from relay.store.driver.client import Redis
    from tests.workers.conftest import Sink

OPERATOR = Principal("alice@host", None, EVERY_SCOPE)
TIMINGS = Timings(router_block=0.05, ready_poll=0.02, config_poll=0.02)


@pytest.fixture
def settings(rules_file: Path, redis_url: str) -> Settings:
    return Settings(redis_url=redis_url, relay_config=rules_file, relay_secret_key=SecretStr(KEY))


async def test_worker_delivers_to_a_new_one_without_a_restart(
    redis: Redis, settings: Settings, sink: Sink, rules_file: Path
) -> None:
    async with open_context(settings) as context:
        async with worker(settings, TIMINGS) as parts:
            table = {"name": "new", "topic": "messages", "url": f"{sink.url}/new", "retry": ["50ms"]}
            created = await service.create(context, OPERATOR, table)
            await eventually(lambda: "new" in parts.rules.current.config.subscription_names)
            await accept(redis, webhook_of(event_id="first"))
            await eventually(lambda: sink.ids("/new") == ["first"])
            verify(created.secret, sink, "/new")

            rotated = await service.rotate_secret(context, OPERATOR, "new", overlap=3600)
            await eventually(lambda: len(parts.rules.current.endpoints["new"].secrets) == 2)
            sent = await service.send_test(context, OPERATOR, "new")
            await eventually(lambda: sent.event_id in sink.ids("/new"))
            verify(created.secret, sink, "/new")
            verify(rotated.secret, sink, "/new")
            post = sink.received[-1]
            assert post.headers["relay-test"] == "true"
            assert "relay-replay" not in post.headers

            rules_file.write_text(rules_file.read_text().replace('"crm"', '"erp"'))
            await eventually(lambda: "erp" in parts.rules.current.config.subscription_names)
            await accept(redis, webhook_of(event_id="second"))
            await eventually(lambda: "second" in sink.ids("/new"))
        async with worker(settings, TIMINGS) as parts:
            await parts.rules.read()
            await accept(redis, webhook_of(event_id="third"))
            await eventually(lambda: "third" in sink.ids("/new"))
            await service.delete(context, OPERATOR, "new", "no longer used")
            await eventually(lambda: "new" not in parts.rules.current.config.subscription_names)
    lanes = {lane.subscription: lane for lane in await Ledger(redis).lanes()}
    assert lanes["new"].balances


def verify(secret: str | None, sink: Sink, path: str) -> None:
    """Verify the newest request with a secret, as a handler with the library of Standard Webhooks does."""
    assert secret is not None
    post = next(post for post in reversed(sink.received) if post.path == path)
    standardwebhooks.Webhook(secret).verify(post.body, post.headers)
