"""`relay acl`: what it prints, and that Redis takes it. The journeys run with these rights."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import NoPermissionError

from relay.consumer import consume
from relay.process.embedded_redis import server_program
from relay.process.subprocesses import death_with_parent
from relay.store.driver.client import WORKER_TIMEOUT, open_redis, retry_until_redis_answers
from relay.store.keys import GroupName
from relay.store.topics.pull.dead_letters import GroupLetters
from tests.cli.running import main_here
from tests.support import KEYS, reserve_port

if TYPE_CHECKING:
    from pathlib import Path

    from relay.store.driver.client import Redis


@pytest.mark.parametrize(
    ("arguments", "begins"),
    [
        ("", "ACL SETUSER acme on >PASSWORD resetkeys ~acme:* ~arq:job:acme:* ~arq:in-progress:acme:* "),
        ("--viewer --user grafana", "ACL SETUSER grafana on >PASSWORD resetkeys %R~acme:* resetchannels -@all +ping "),
        (
            "--topic support --group billing",
            "ACL SETUSER acme-billing on >PASSWORD resetkeys ~acme:topic:support ",
        ),
        ("--viewer --form rule", "resetkeys %R~acme:* resetchannels -@all "),
    ],
)
async def test_redis_takes_the_rule(redis: Redis, arguments: str, begins: str) -> None:
    said = await main_here("acl", *arguments.split(), RELAY_KEY_PREFIX="acme")
    assert said.code == 0
    assert said.out.startswith(begins)
    words = said.out.split()
    user = words[2] if words[0] == "ACL" else "by-rule"
    await redis.execute_command("ACL", "SETUSER", user, *words[3 if words[0] == "ACL" else 0 :])  # type: ignore[no-untyped-call]
    rights = await redis.acl_getuser(user)
    await redis.acl_deluser(user)
    assert "+@" not in rights["commands"]


@pytest.mark.parametrize(
    ("arguments", "begins"),
    [
        ("", "resetkeys ~acme:* ~acme/1:* ~arq:job:acme:* "),
        ("--viewer", "resetkeys %R~acme:* %R~acme/1:* resetchannels "),
        (
            "--topic support --group billing",
            "resetkeys ~acme:topic:support %R~acme:topics ~acme/1:topic:support %R~acme/1:topics %R~acme:shards ",
        ),
    ],
)
async def test_rule_is_for_every_shard(arguments: str, begins: str) -> None:
    said = await main_here("acl", "--form", "rule", *arguments.split(), RELAY_KEY_PREFIX="acme", RELAY_SHARDS="2")
    assert said.out.startswith(begins)


async def test_file_form_is_a_line_of_users_acl(tmp_path: Path) -> None:
    options = ("", "--viewer", "--topic support --group billing")
    lines = [(await main_here("acl", "--form", "file", *rest.split())).out for rest in options]
    (tmp_path / "users.acl").write_text("".join(lines).replace("PASSWORD", "secret"))
    port = reserve_port()
    (tmp_path / "redis.conf").write_text(f'port {port}\nbind 127.0.0.1\naclfile {tmp_path}/users.acl\nsave ""\n')
    process = await asyncio.create_subprocess_exec(
        *(server_program(), tmp_path / "redis.conf"), stdout=asyncio.subprocess.DEVNULL, preexec_fn=death_with_parent()
    )
    try:
        for user in ("relay", "relay-viewer", "relay-billing"):
            async with open_redis(f"redis://{user}:secret@127.0.0.1:{port}/0", WORKER_TIMEOUT) as redis:
                assert await retry_until_redis_answers("starting", redis.ping)
                if user != "relay":
                    with pytest.raises(NoPermissionError):
                        await redis.set("relay:topic:support", "")
    finally:
        process.kill()
        await process.wait()


TEAM_USES = (
    "GET relay:shards",
    "SMEMBERS relay:topics",
    "SISMEMBER relay:topics support",
    "XGROUP CREATE relay:topic:support billing 0 MKSTREAM",
    "XGROUP CREATECONSUMER relay:topic:support billing host-1",
    "XREADGROUP GROUP billing host-1 COUNT 10 STREAMS relay:topic:support >",
    "XPENDING relay:topic:support billing - + 10",
    "XCLAIM relay:topic:support billing relay:returned 0 1-0 IDLE 5 RETRYCOUNT 0 JUSTID",
    "XAUTOCLAIM relay:topic:support billing host-1 1000 0",
    "XRANGE relay:topic:support 1-0 1-0",
    "XINFO STREAM relay:topic:support",
    "XINFO GROUPS relay:topic:support",
    "HGET relay:topic:support:places billing",
    "HSET relay:topic:support:places billing 1-0",
    "XLEN relay:dead:support:billing",
    "WATCH relay:topic:support",
    "MULTI",
    "XADD relay:dead:support:billing MAXLEN ~ 100000 * id a dead_reason rejected",
    "XACK relay:topic:support billing 1-0",
    "EXEC",
    "XGROUP DELCONSUMER relay:topic:support billing host-1",
)
TEAM_REFUSED = (
    "SET relay:shards 1",
    "XADD relay:topic:support * id forged",
    "XADD relay:dead:sales:billing * id a",
    "XADD relay:topic:support:places * id a",
    "HSET relay:topic:sales:places billing 1-0",
    "XREADGROUP GROUP billing host-1 STREAMS relay:topic:sales >",
    "XGROUP DESTROY relay:topic:support billing",
    "XTRIM relay:dead:support:billing MAXLEN 0",
    "DEL relay:topic:support",
    "GET relay:counts",
    "SADD relay:topics x",
    "EVAL return 0",
    "SCAN 0",
)


async def test_team_may_do_what_a_consumer_does_and_no_more(redis: Redis, redis_url: str) -> None:
    said = await main_here("acl", "--topic", "support", "--group", "billing")
    for _ in range(2):  # the rule replaces what was granted before
        await redis.execute_command(*said.out.replace("PASSWORD", "secret").split())  # type: ignore[no-untyped-call]
    assert len((await redis.acl_getuser("relay-billing"))["selectors"]) == 2
    await redis.xadd("relay:topic:support", {"id": "a"}, id="1-0")
    await redis.sadd("relay:topics", "support")  # type: ignore[misc]
    await redis.acl_log_reset()
    team = f"redis://relay-billing:secret@{redis_url.rpartition('@')[2]}"
    async with open_redis(team, WORKER_TIMEOUT) as user:
        connection: Any = await user.connection_pool.get_connection()
        for use in TEAM_USES:
            await connection.send_command(*use.split())
            assert not isinstance(await connection.read_response(), Exception), use
        await user.connection_pool.release(connection)
        assert await redis.acl_log() == []
        for use in TEAM_REFUSED:
            with pytest.raises(NoPermissionError):
                await user.execute_command(*use.split())  # type: ignore[no-untyped-call]
    assert await redis.xlen("relay:dead:support:billing") == 1
    await redis.acl_deluser("relay-billing")


async def test_consumer_works_with_the_rights_of_a_team(redis: Redis, redis_url: str) -> None:
    said = await main_here("acl", "--topic", "support", "--group", "crm")
    await redis.execute_command(*said.out.replace("PASSWORD", "secret").split())  # type: ignore[no-untyped-call]
    stream, name = KEYS.topic("support"), GroupName("support", "crm")
    await redis.sadd(KEYS.topics, "support")  # type: ignore[misc]
    for each in ("a", "b"):
        await redis.xadd(stream, {"id": each, "type": "x", "at": "1", "body": "{}"})
    await redis.acl_log_reset()
    team = f"redis://relay-crm:secret@{redis_url.rpartition('@')[2]}"
    letters = GroupLetters(redis)
    async with consume(team, topic="support", group="crm") as events:
        event = await anext(events)
        assert await events.reject(event, "no customer")
        [letter] = [each async for each in letters.of(name)]
        assert (letter.record.id, letter.reason, letter.error, letter.entry) == (
            "a",
            "rejected",
            "no customer",
            event.entry,
        )
        assert (await anext(events)).id == "b"
        assert await letters.replay(name, [letter.record.entry]) == (1, [])
        again = await anext(events)
        assert (again.id, again.deliveries) == ("a", 1)
    assert await redis.hget(KEYS.places("support"), "crm")  # type: ignore[misc]
    assert await redis.acl_log() == []
    await redis.acl_deluser("relay-crm")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ("--topic support", "give either --viewer, or --topic with --group, or none of them"),
        ("--viewer --topic support --group billing", "give either --viewer, or --topic with --group"),
        ("--topic * --group billing", '"*" is not the name of a topic'),
        ("--topic support --group push:crm", 'the group name "push:crm" is reserved for the relay'),
        ("--user a~b?", None),
    ],
)
async def test_unusable_options_are_refused(arguments: str, error: str | None) -> None:
    said = await main_here("acl", *arguments.split())
    assert said.code == (2 if error else 0)
    assert error is None or error in said.err
