"""Errors of Redis in the words of an operator: for each wrong REDIS_URL, what is wrong and what to do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from redis.crc import key_slot
from redis.exceptions import AuthenticationError, BusyLoadingError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from relay.config.settings import Settings
from relay.core.config.relay_toml import parse_config
from relay.core.errors import SettingsError
from relay.doctor.shard_checks import examine_shards
from relay.store.driver.client import REQUEST_TIMEOUT, open_redis
from relay.store.rights import check
from relay.store.rights.check import check_access
from relay.store.rights.explanation import explain
from relay.store.sharding.shards import open_shards
from tests.clusters import clusters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay.store.driver.client import Redis
    from tests.clusters import Cluster

OWN_USERS = "each server of a cluster has its own users"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with asyncio.Runner() as runner:
        context = clusters(tmp_path_factory.mktemp("cluster") / "servers", replicas=0)
        yield runner.run(context.__aenter__())
        runner.run(context.__aexit__(None, None, None))


@pytest.mark.parametrize(
    ("url", "what", "remedy"),
    [
        ("redis://NODE", "its server is in cluster mode", "begin REDIS_URL with redis+cluster:// "),
        ("redis+cluster://ALONE", "runs without cluster mode", "begin REDIS_URL with redis:// "),
        ("redis+cluster://u:pw@NODE", "the user name or password is wrong or missing at 127.0.0.1:", OWN_USERS),
        ("redis+cluster://:pw@NODE", "Redis has none for its default user", "REDIS_USERNAME and REDIS_PASSWORD"),
        ("redis://u:pw@SERVER", "the user name or password is wrong or missing", "REDIS_USERNAME and REDIS_PASSWORD"),
        ("redis+cluster://127.0.0.1:1", "the cluster cannot be used now: ", "check REDIS_URL (its host, port and TLS)"),
        ("redis://127.0.0.1:1", "connecting to 127.0.0.1:1. ", "check REDIS_URL (its host, port and TLS)"),
        ("rediss+cluster://NODE", "the cluster cannot be used now: ", "check REDIS_URL (its host, port and TLS)"),
    ],
)
async def test_wrong_url_is_explained(cluster: Cluster, redis_url: str, url: str, what: str, remedy: str) -> None:
    alone = redis_url.partition("://")[2]
    given = url.replace("NODE", f"127.0.0.1:{cluster.ports[0]}").replace("ALONE", alone)
    given = given.replace("SERVER", alone.rpartition("@")[2])
    async with open_redis(given, REQUEST_TIMEOUT) as client:
        with pytest.raises(RedisError) as caught:  # the keys of a plain client are in three slots
            await read_in_pipelines(client, client.key.shards, client.key.counts, client.key.inbox)
    said = explain(caught.value)
    assert what in said.what
    assert remedy in said.remedy
    assert "GET" not in said.what
    assert "pw" not in "".join(said)


async def read_in_pipelines(client: Redis, *keys: str) -> None:
    for key in keys:
        async with client.pipeline(transaction=False) as pipe:
            pipe.get(key)
            await pipe.execute()


def test_what_ends_by_itself_is_told_apart() -> None:
    assert "loaded" in explain(BusyLoadingError("Redis is loading the dataset in memory")).remedy
    moving = "the node of the cluster does not serve these keys now: TRYAGAIN Multiple keys request"
    assert explain(RedisConnectionError(moving)).remedy.startswith("try again in some seconds")
    assert explain(RedisError("no idea")) == ("no idea", "")


async def test_shard_whose_server_does_not_know_the_user_is_named(cluster: Cluster) -> None:
    async with open_shards(cluster.url, REQUEST_TIMEOUT, count=4) as shards:
        owners = [await cluster.owner(key_slot(shard.key.name.encode())) for shard in shards.all]
    without = next(owner for owner in owners if owner != owners[0])
    number = owners.index(without)
    for port in cluster.ports:
        user = ("on", "nopass", "~*", "+@all") if port != without else ("off",)
        await cluster.command(port, "ACL", "SETUSER", "one", "reset", *user)
    url = cluster.url.replace("//", "//one:secret@")
    async with open_shards(url, REQUEST_TIMEOUT, count=4) as shards:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(check, "_AUTHENTICATION_PAUSE", 0)
            with pytest.raises(SettingsError) as caught:
                await check_access(shards.home)
        assert f"on shard {number} ({OWN_USERS}): the user name or password is wrong" in str(caught.value)
        with pytest.raises(AuthenticationError) as refused:
            await shards.all[number].ping()
        assert explain(refused.value).what.endswith(f" at 127.0.0.1:{without}")
        found = await examine_shards(shards.home, Settings(redis_url=url), parse_config(""))
    [finding] = [each for each in found if each.area.startswith("Redis ") and "password" in each.what]
    assert OWN_USERS in finding.remedy
