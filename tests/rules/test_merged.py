"""The rules of a worker: relay.toml and what is stored in Redis, followed while both change."""

from __future__ import annotations

from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from relay.config.file import ConfigFile
from relay.core.secret import new_key
from relay.rules.merged import MergedRules
from relay.store.driver.client import ask, open_redis
from relay.store.keyring.encryption import Cipher
from relay.store.stored_subscriptions.hash import StoredSubscriptions
from tests.building import OTHER_SECRET, SECRET
from tests.rules.storing import CIPHER, RULES, record_of, store
from tests.support import KEYS, eventually, hash_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, MutableMapping
    from pathlib import Path
    from typing import Any

    from relay.store.driver.client import Redis
    from tests.support import Clock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "relay.toml"
    path.write_text(RULES)
    return path


@asynccontextmanager
async def following(
    path: Path, redis: Redis, cipher: Cipher | None = CIPHER, clock: Clock | None = None
) -> AsyncIterator[MergedRules]:
    rules = MergedRules(ConfigFile(path), redis, cipher, 0.002, *([clock] if clock else []))
    await rules.read()
    async with rules:
        yield rules


def names(rules: MergedRules) -> list[str]:
    loaded = rules.current
    assert loaded.endpoints.keys() == loaded.config.subscription_names
    return [subscription.name for subscription in loaded.config.subscriptions]


def events(logged: list[MutableMapping[str, Any]], name: str) -> list[str]:
    return [line.get("subscription", "") for line in logged if line["event"] == name]


async def test_stored_ones_are_in_force_from_the_start_and_followed(redis: Redis, path: Path) -> None:
    await store(redis, record_of("crm", headers={"X-Key": "abc"}, rate=5.0))
    async with following(path, redis) as rules:
        assert names(rules) == ["bot", "crm"]
        endpoint = rules.current.endpoints["crm"]
        assert endpoint.secrets == (SECRET,)
        assert endpoint.headers == {"X-Key": "abc"}
        assert rules.current.config.subscriptions[1].rate == 5.0
        await store(redis, record_of("erp"))
        await eventually(lambda: names(rules) == ["bot", "crm", "erp"])
        await StoredSubscriptions(redis).forget("crm")
        await eventually(lambda: names(rules) == ["bot", "erp"])
        assert rules.report()["stored"] == {"subscriptions": 1, "unusable": {}, "shadowed": []}


async def test_stored_ones_survive_a_reload_and_the_file_wins(redis: Redis, path: Path) -> None:
    await store(redis, record_of("crm"), record_of("erp"))
    async with following(path, redis) as rules:
        with capture_logs() as logged:
            path.write_text(RULES.replace('"bot"', '"crm"'))
            await eventually(lambda: names(rules) == ["crm", "erp"])
        assert rules.current.config.subscriptions[0].url == "http://127.0.0.1:9/bot"
        assert events(logged, "subscriptions.shadowed") == ["crm"]
        path.write_text(RULES)
        await eventually(lambda: names(rules) == ["bot", "crm", "erp"])


async def test_team_narrows_the_destinations_of_its_own(redis: Redis, path: Path) -> None:
    team = '[[teams]]\nname = "sales"\ntopics = ["messages"]\negress = ["127.0.0.0/8"]\n'
    path.write_text(RULES + team)
    await store(redis, record_of("crm", team="sales"), record_of("plain"))
    async with following(path, redis) as rules:
        egress = {name: endpoint.egress for name, endpoint in rules.current.endpoints.items()}
        elsewhere = ip_address("10.0.0.1")
        assert egress["plain"].refusal("a", elsewhere) is None
        assert 'egress of the team "sales"' in (egress["crm"].refusal("a", elsewhere) or "")
        path.write_text(RULES)
        await eventually(lambda: names(rules) == ["bot", "plain"])


async def test_one_that_is_invalid_today_stops_no_other(redis: Redis, path: Path) -> None:
    await store(
        redis,
        record_of("good"),
        record_of("no-topic", topic="gone"),
        record_of("metadata", url="http://169.254.169.254/"),
        record_of("unknown-key", colour="red"),
        record_of("other-key", cipher=Cipher(new_key())),
        record_of("no-host", url="http://a..b/"),
        record_of("bad-secret", "whsec_not base64"),
    )
    await ask(redis.hset(KEYS.subscriptions, "damaged", "{"))
    with capture_logs() as logged:
        async with following(path, redis) as rules:
            assert names(rules) == ["bot", "good"]
            unusable = rules.report()["stored"]["unusable"]
            path.write_text(RULES.replace('"messages"', '"gone"'))
            await eventually(lambda: names(rules) == ["bot", "no-topic"])
    reasons = {
        "no-topic": 'topic: there is no topic "gone"',
        "metadata": "url: 169.254.169.254 is",
        "unknown-key": 'unknown field "colour"',
        "other-key": "another RELAY_SECRET_KEY",
        "no-host": "the host of the url",
        "bad-secret": "the secret is not whsec_",
        "damaged": "was changed by another client",
    }
    assert unusable.keys() == reasons.keys()
    assert all(reasons[name] in why for name, why in unusable.items())
    assert set(events(logged, "subscriptions.unusable")) == {*reasons, "good"}


async def test_process_without_a_key_says_what_to_set(redis: Redis, path: Path) -> None:
    await store(redis, record_of("crm"), record_of("erp"))
    with capture_logs() as logged:
        async with following(path, redis, None) as rules:
            assert names(rules) == ["bot"]
    [line] = [line for line in logged if line["event"] == "subscriptions.unusable"]
    assert line["subscription"] == "crm, erp"
    assert "RELAY_SECRET_KEY is not set for this process" in line["why"]


async def test_former_secret_drops_out_when_its_overlap_ends(redis: Redis, path: Path, clock: Clock) -> None:
    end = round(clock.now * 1000) + 60_000
    await store(redis, record_of("crm", SECRET.text, OTHER_SECRET.text, ends=(None, end)))
    async with following(path, redis, clock=clock) as rules:
        assert rules.current.endpoints["crm"].secrets == (SECRET, OTHER_SECRET)
        clock.now += 61
        await eventually(lambda: rules.current.endpoints["crm"].secrets == (SECRET,))


async def test_last_records_count_while_redis_fails(redis: Redis, redis_url: str, path: Path) -> None:
    await store(redis, record_of("crm"))
    async with open_redis(redis_url, 1.0) as client, following(path, client) as rules:
        with capture_logs() as logged:
            await redis.delete(KEYS.subscriptions, KEYS.subscriptions_revision)
            await eventually(lambda: events(logged, "subscriptions.lost"))
            await redis.set(KEYS.subscriptions, "overwritten")
            await eventually(lambda: any(line["event"] == "subscriptions.suspended" for line in logged))
        path.write_text(RULES.replace('"bot"', '"other"'))
        await eventually(lambda: names(rules) == ["other", "crm"])


async def test_secrets_cannot_be_read_in_redis(redis: Redis) -> None:
    await store(redis, record_of("crm", headers={"X-Key": "visible?"}))
    row = (await hash_of(redis, KEYS.subscriptions))["crm"]
    assert SECRET.text not in row
    assert "visible?" not in row
    assert "visible?" not in repr(record_of("crm", headers={"X-Key": "visible?"}))
