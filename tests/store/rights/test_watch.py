"""Rights and passwords that are taken away while an ingress runs."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from relay.config.settings import Settings
from relay.core.secret import new_key
from relay.ingress_parts import ingress_parts
from relay.process.timings import Timings
from relay.store.driver.client import REQUEST_TIMEOUT
from relay.store.rights.rules import relay_rule
from relay.store.rights.watch import RightsWatch
from relay.store.sharding.shards import open_shards
from relay.web.health import Readiness
from tests.store.rights.test_check import user_with
from tests.support import KEYS, eventually

if TYPE_CHECKING:
    from relay.store.driver.client import Redis


@pytest.mark.parametrize(
    ("taken", "given", "cause"),
    [
        (
            "-xadd",
            "+xadd",
            "may not use XADD; grant what the relay needs: ACL SETUSER relay resetkeys ~relay:*",
        ),
        ("resetkeys", "allkeys", "EVAL on relay:inbox"),
        ("resetpass", ">secret", "the user name or password is wrong"),
    ],
)
async def test_loss_of_rights_is_logged_and_ready_says_it(
    redis: Redis, redis_url: str, taken: str, given: str, cause: str
) -> None:
    url = f"redis://relay:secret@127.0.0.1:{urlsplit(redis_url).port}/0"
    settings = Settings(redis_url=url, relay_secret_key=SecretStr(new_key()))
    rule = str(relay_rule(KEYS)).split()
    with capture_logs() as logs:
        async with (
            user_with(redis, redis_url, *rule),
            ingress_parts(settings, timings=Timings(rights_check=0.01)) as parts,
        ):
            readiness = Readiness(parts)

            async def is_refused() -> bool:
                checks: dict[str, str] = (await readiness.report())[1]["checks"]
                return checks["redis"] == "refused"

            assert not await is_refused()
            await redis.execute_command("ACL", "SETUSER", "relay", taken)  # type: ignore[no-untyped-call]
            if taken == "resetpass":
                await redis.client_kill_filter(user="relay")
            await eventually(lambda: parts.rights.refusal)
            await eventually(is_refused)
            assert readiness.detail()["redis"] != "ok"
            await redis.execute_command("ACL", "SETUSER", "relay", given)  # type: ignore[no-untyped-call]
            await eventually(lambda: parts.rights.refusal is None)
    errors = [line["error"] for line in logs if line["event"] == "redis.refused"]
    assert errors  # more than one if a connection of before is used in between
    assert all(cause in error for error in errors), errors
    assert any(line["event"] == "redis.allowed" for line in logs)
    assert "relay:secret" not in str(logs)


async def test_shard_that_refuses_is_logged_and_leaves_the_process_ready(redis: Redis, redis_url: str) -> None:
    url = f"redis://relay:secret@127.0.0.1:{urlsplit(redis_url).port}/0"
    with capture_logs() as logs:
        async with (
            open_shards(redis_url, REQUEST_TIMEOUT, count=2) as shards,
            user_with(redis, redis_url, *str(relay_rule(KEYS)).split()),
            open_shards(url, REQUEST_TIMEOUT, count=2) as limited,
            RightsWatch(limited.home, 0.01) as rights,
        ):
            await eventually(lambda: logs)
            assert rights.refusal is None
            rule = relay_rule(*(shard.key for shard in shards.all))
            await redis.execute_command("ACL", "SETUSER", "relay", *str(rule).split())  # type: ignore[no-untyped-call]
            await eventually(lambda: logs[-1]["event"] == "redis.allowed")
    assert {(line["event"], line["shard"]) for line in logs} == {("redis.refused", 1), ("redis.allowed", 1)}
    assert "~relay/1:*" in logs[0]["error"]
