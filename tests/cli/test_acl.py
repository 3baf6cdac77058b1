"""`relay acl`: what it prints, and that Redis takes it. The journeys run with these rights."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import NoPermissionError

from relay.process.embedded_redis import server_program
from relay.process.subprocesses import death_with_parent
from relay.store.driver.client import WORKER_TIMEOUT, open_redis, retry_until_redis_answers
from tests.cli.running import main_here
from tests.support import reserve_port

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
            "ACL SETUSER acme-billing on >PASSWORD resetkeys ~acme:topic:support ~acme:topic:support:places ",
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
