"""Contracts over the API: of both APIs of Linq, or of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.contracts.facts import FACTS
from relay.process.timings import Timings
from tests.cli.test_contracts import learned
from tests.services.topics.pull.conftest import context  # noqa: F401  a fixture
from tests.services.topics.pull.reading import OPERATOR
from tests.web.api.streaming import running_api

if TYPE_CHECKING:
    from relay.services.context import Context
    from relay.store.driver.client import Redis


async def test_contracts_of_one_api(redis: Redis, context: Context) -> None:  # noqa: F811  the fixture
    await learned(redis, 60, *FACTS)
    await learned(redis, 60, *FACTS, version="v2")
    await learned(redis, 20, "message", "direction", "service", version="v2")
    async with running_api(context, Timings()) as api:
        api.tokens["crm"] = OPERATOR
        for query, apis in (({}, ["v3", "v2"]), ({"api": "v3"}, ["v3"]), ({"api": "v2"}, ["v2"])):
            listed = (await (await api.http.get("contracts", params=query)).json())["items"]
            shown = await (await api.http.get("contracts/message.received", params=query)).json()
            assert [each["api"] for each in listed] == [each["api"] for each in shown] == apis
        assert (await api.http.get("contracts", params={"api": "v1"})).status == 422
        for name, accepted in (("v3", 0), ("v2", 2)):
            answer = await api.http.post("contracts/message.received/accept", params={"api": name}, json={"why": "x"})
            assert await answer.json() == {"accepted": accepted}
