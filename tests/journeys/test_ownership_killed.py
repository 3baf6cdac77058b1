"""`relay bootstrap adopt` and `prune` are killed at a call: the same command, again, completes them without loss."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from relay.bootstrap.factory import open_reconciler
from relay.bootstrap.plan import Action
from relay.config.file import read_config
from relay.config.settings import Settings
from relay.core.secret import new_key
from relay.ingress_parts import ingress_parts
from relay.process.timings import Timings
from relay.sandbox.app import Emission
from relay.store.driver.client import ask
from relay.web.health import Readiness
from relay.web.server import listening_for_webhooks
from tests.cli.running import main_here
from tests.journeys.test_bootstrap_killed import RULES, run_and_kill
from tests.sandbox.running import ANY_PORT, API_KEY, LINE, LINES, RunningSandbox, running_endpoint, running_sandbox
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from relay.store.driver.client import Redis

pytestmark = [pytest.mark.slow, pytest.mark.background, pytest.mark.timeout(180)]  # seconds, also on a busy machine

SALES_LINE = "+16465550126"


@asynccontextmanager
async def relay_at_sandbox(
    redis_url: str,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    rules: str = RULES,
    accounts: Mapping[str, Sequence[str]] | None = None,
) -> AsyncIterator[RunningSandbox]:
    """Run a sandbox and an ingress, with the environment in which commands find both."""
    (directory / "relay.toml").write_text(rules)
    async with running_sandbox(accounts=accounts) as sandbox:
        for name, value in {
            "REDIS_URL": redis_url,
            "RELAY_SECRET_KEY": new_key(),
            "RELAY_CONFIG": str(directory / "relay.toml"),
            "LINQ_API_V3_API_KEY": API_KEY,
            "LINQ_API_V3_BASE_URL": sandbox.base_url,
            "LINQ_SALES_KEY": "sales-key",
        }.items():
            monkeypatch.setenv(name, value)
        async with (
            ingress_parts(Settings.load()) as parts,
            listening_for_webhooks(parts, Readiness(parts), ANY_PORT, timings=Timings(drain_idle=0.02)) as port,
        ):
            monkeypatch.setenv("RELAY_PUBLIC_URL", f"http://127.0.0.1:{port}")
            yield sandbox


@pytest.mark.parametrize("when", ["before the call", "before the response"])
async def test_killed_adoption_is_completed_by_the_next(
    redis: Redis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    async with running_endpoint() as former, relay_at_sandbox(redis_url, tmp_path, monkeypatch) as sandbox:
        made = await sandbox.subscribe(former.url, lines=[LINE])
        secret = tmp_path / "secret"
        secret.write_text(made.signing_secret)
        await run_and_kill(sandbox, "PUT", 1, when, "adopt", made.id, "--secret-file", secret)
        await redis.delete(redis.key.keyring_lock)  # it would expire seconds after its owner
        again = await main_here("bootstrap", "adopt", made.id, "--secret-file", secret)
        is_ours = when == "before the response" and "is ours already" in again.err
        assert is_ours or again.code == 0, again.err
        settings = Settings.load()
        async with open_reconciler(settings, redis, read_config(settings.relay_config)) as reconciler:
            steps = [step for step in await reconciler.plan() if step.line == LINE]
        assert [(step.action, step.subscription_id) for step in steps] == [(Action.KEEP, made.id)]
        sandbox.sandbox.emit(Emission(type="message.received", line=LINE))
        assert {delivery.state for delivery in await sandbox.settled()} == {"delivered"}
        assert (former.received, len(await accepted(redis))) == ([], 1)


@pytest.mark.parametrize("when", ["before the call", "before the response"])
async def test_killed_prune_is_completed_by_the_next(
    redis: Redis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    async with relay_at_sandbox(redis_url, tmp_path, monkeypatch) as sandbox:
        here = str(Settings.load().relay_public_url)
        monkeypatch.setenv("RELAY_PUBLIC_URL", "http://127.0.0.1:9")
        assert (await main_here("bootstrap", "apply")).code == 0
        monkeypatch.setenv("RELAY_PUBLIC_URL", here)
        assert (await main_here("bootstrap", "apply")).code == 0
        await run_and_kill(sandbox, "DELETE", 2, when, "prune", "--yes")
        await redis.delete(redis.key.keyring_lock)
        assert (await main_here("bootstrap", "prune", "--yes")).code == 0
        there = sandbox.sandbox.state.subscriptions.values()
        assert [each.target_url for each in there if not each.target_url.startswith(here)] == []
        assert {line for each in there for line in each.phone_numbers} == {*LINES}


async def test_two_accounts_reach_one_inbox_apart(
    redis: Redis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = f'{RULES}\n[[linq.accounts]]\nname = "sales"\nkey = "env:LINQ_SALES_KEY"\n'
    accounts = {"sales-key": [SALES_LINE]}
    async with relay_at_sandbox(redis_url, tmp_path, monkeypatch, rules, accounts) as sandbox:
        applied = await main_here("bootstrap", "apply")
        assert applied.code == 0, applied.err
        for line in (LINE, SALES_LINE):
            sandbox.sandbox.emit(Emission(type="message.received", line=line))
        assert {delivery.state for delivery in await sandbox.settled()} == {"delivered"}
        found = sorted((fields[b"dialect"], fields[b"line"].decode()) for fields in await accepted(redis))
        assert found == [(b"v3", LINE), (b"v3/sales", SALES_LINE)]
        await eventually(lambda: is_seen(redis, f"sales/{SALES_LINE}"))
        status = await main_here("bootstrap", "status", "--json")
        assert [row["owner"] for row in status.json["subscriptions"] if row["last_event_ms"]] == [
            LINE,
            f"sales/{SALES_LINE}",
        ]


async def accepted(redis: Redis) -> list[dict[bytes, bytes]]:
    """Return the events in the inboxes of all shards."""
    return [fields for shard in redis.shards for _, fields in await shard.xrange(shard.key.inbox)]


async def is_seen(redis: Redis, line: str) -> bool:
    """Return True if a shard has noted an event of the line."""
    return any([await ask(shard.hexists(shard.key.last_seen, line)) for shard in redis.shards])
