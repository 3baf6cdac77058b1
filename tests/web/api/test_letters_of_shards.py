"""Dead letters of a push subscription of a relay with four shards, by their ids in the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.process.timings import Timings
from relay.store.lanes.lane import Lane
from tests.services.topics.pull.conftest import context, shards, whole  # noqa: F401  fixtures
from tests.web.api.streaming import running_api

if TYPE_CHECKING:
    from relay.services.context import Context
    from relay.store.sharding.shards import Shards


async def test_letter_of_any_shard_is_shown_by_the_id_of_the_list(
    whole: Context,  # noqa: F811  a fixture
    shards: Shards,  # noqa: F811  a fixture
) -> None:
    for number, shard in enumerate(shards.all):
        await Lane(shard, "bot", "support").ensure()
        letter: Any = {"id": f"e{number}", "type": "x", "dead_at": 1000, "dead_topic": "support"}
        await shard.xadd(shard.key.lane("bot", "dead"), letter, id="1000-1")
    async with running_api(whole, Timings()) as api:
        api.http.headers["Authorization"] = "Bearer ops"
        found = (await (await api.http.get("dead-letters")).json())["items"]
        assert [letter["id"] for letter in found] == ["1000-1", "1000-1.1", "1000-1.2", "1000-1.3"]
        for letter in found:
            answer = await api.http.get(f"subscriptions/bot/dead-letters/{letter['id']}")
            assert (answer.status, (await answer.json())["event"]) == (200, letter["event"])
