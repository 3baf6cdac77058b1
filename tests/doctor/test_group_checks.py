"""Findings about pull groups: what is not read, what was given up, and what was misspelt."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from relay.core.config.relay_toml import parse_config
from relay.doctor.finding import State
from relay.doctor.group_checks import examine_groups
from relay.store.driver.client import WORKER_TIMEOUT, Redis, open_redis
from relay.store.state.unread import NOT_READ_AFTER_MS
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.core.config.relay_toml import RelayConfig

CONFIG = parse_config('[[topics]]\nname = "support"\nevents = ["*"]\n')
STREAM = KEYS.topic("support")


async def findings(redis: Redis, user: str = "default") -> dict[str, str]:
    return {each.area: each.what for each in await examine_groups(redis, CONFIG, user, time.time())}


async def test_group_that_nothing_reads_is_a_finding(redis: Redis) -> None:
    for group in ("left", "done", "read", "new"):
        await redis.xgroup_create(STREAM, group, id="0", mkstream=True)
    old = f"{round(time.time() * 1000 - 2 * NOT_READ_AFTER_MS)}-0"
    await redis.xadd(STREAM, {"id": "a"}, id=old)
    await redis.xadd(STREAM, {"id": "b"})
    await redis.xgroup_setid(STREAM, "new", old)
    await redis.xgroup_createconsumer(STREAM, "read", "host-1")
    await redis.xreadgroup("done", "host-1", {STREAM: ">"})
    await redis.xack(STREAM, "done", *(entry for entry, _ in await redis.xrange(STREAM)))
    assert await redis.xgroup_delconsumer(STREAM, "done", "host-1") == 0
    found = await findings(redis)
    assert found.keys() == {"pull group support/left"}
    assert "not read: 2 unread, 0 pending, and it has no member" in found["pull group support/left"]


async def test_dead_letters_and_ghost_streams_are_findings(redis: Redis, redis_url: str) -> None:
    await redis.xadd(KEYS.group_dead("support", "crm"), {"id": "a"})
    await redis.hset(KEYS.places("support"), "crm", "0-1")  # type: ignore[misc]
    await redis.xgroup_create(KEYS.topic("suport"), "crm", id="0", mkstream=True)
    await redis.xadd("other:topic:support", {"id": "a"})
    found = await findings(redis)
    assert found["pull group support/crm"] == "1 dead letter"
    assert '(groups: crm); did they mean "support"?' in found["topic suport"]
    assert found.keys() == {"pull group support/crm", "topic suport"}
    rule = ("on", ">x", "~*", "+@all", "-scan")
    await redis.execute_command("ACL", "SETUSER", "viewer", *rule)  # type: ignore[no-untyped-call]
    async with open_redis(f"redis://viewer:x@{redis_url.rpartition('@')[2]}", WORKER_TIMEOUT) as viewer:
        [*_, last] = await examine_groups(viewer, CONFIG, "viewer", time.time())
    await redis.acl_deluser("viewer")
    assert (last.state, "ACL SETUSER viewer +scan" in last.remedy) == (State.NOT_CHECKED, True)


async def test_group_beside_the_reader_of_an_exclusive_topic(redis: Redis) -> None:
    exclusive = parse_config('[[topics]]\nname = "support"\nevents = ["*"]\nexclusive = true\n')
    bot = '[[subscriptions]]\nname = "bot"\ntopic = "support"\nurl = "https://a.b"\nsecret = "env:S"\n'
    pushed = parse_config(f'[[topics]]\nname = "support"\nevents = ["*"]\nexclusive = true\n{bot}')

    async def warned(config: RelayConfig) -> list[tuple[str, str, str]]:
        found = await examine_groups(redis, config, "default", time.time())
        return [(each.area, each.what, each.remedy) for each in found]

    await redis.xgroup_create(STREAM, "crm", id="$", mkstream=True)
    assert await warned(exclusive) == []
    [(area, what, remedy)] = await warned(pushed)
    assert (area, '"bot" reads it too' in what) == ("pull group support/crm", True)
    assert "relay groups delete support/crm" in remedy
    await redis.xgroup_create(STREAM, "agent", id="$")
    [(area, what, _)] = await warned(exclusive)
    assert (area, '"agent" reads it too' in what) == ("pull group support/crm", True)
    assert await warned(CONFIG) == []
