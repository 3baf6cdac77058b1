"""A few hundred mutated requests; `python -m tests.web.fuzz` sends any number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.conftest import NOW
from tests.support import KEYS
from tests.web.fuzz.mutations import SIGNED
from tests.web.fuzz.run import fuzz

if TYPE_CHECKING:
    from relay.store.driver.client import Redis
    from tests.web.conftest import Running


async def test_mutated_requests_are_answered_and_none_forged_accepted(ingress: Running, redis: Redis) -> None:
    found = await fuzz(ingress.port, 300, 1, NOW)
    assert found.faults == []
    assert {200, 400, 401} <= found.statuses.keys()
    bodies = {fields[b"body"] for _, fields in await redis.xrange(KEYS.inbox)}
    assert bodies
    assert bodies <= set(SIGNED)
