from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import SecretStr

from relay.config.file import load_config
from relay.config.settings import Settings
from relay.core.secret import new_key
from relay.doctor.keyring_checks import examine_keyring
from relay.doctor.stored_checks import with_stored
from relay.rules.cipher import cipher_of
from relay.store.stored_subscriptions.hash import StoredSubscriptions
from tests.rules.storing import KEY, RULES, record_of, store

if TYPE_CHECKING:
    from pathlib import Path

    from relay.store.driver.client import Redis


async def test_subscription_not_in_force_is_found(redis: Redis, tmp_path: Path) -> None:
    path = tmp_path / "relay.toml"
    path.write_text(RULES)
    await store(redis, record_of("crm"), record_of("bot"), record_of("lost", topic="gone"))
    stored = await with_stored(Settings(relay_secret_key=SecretStr(KEY)), redis, load_config(path))
    assert set(stored.loaded.endpoints) == {"bot", "crm"}
    assert [finding.area for finding in stored.findings] == ["subscription lost", "subscription bot"]
    without_key = await with_stored(Settings(), redis, load_config(path))
    assert "RELAY_SECRET_KEY is not set" in str(without_key.findings)


async def test_secrets_follow_a_new_key(redis: Redis) -> None:
    await store(redis, record_of("crm"), record_of("erp"))
    settings = Settings(relay_secret_key=SecretStr(new_key()), relay_secret_key_old=SecretStr(KEY))
    cipher = cipher_of(settings)
    assert cipher is not None
    [finding] = await examine_keyring(settings, redis)
    assert "2 subscriptions made by the API still need RELAY_SECRET_KEY_OLD" in finding.what
    assert await StoredSubscriptions(redis).encrypt_again(cipher) == 2
    assert await StoredSubscriptions(redis).encrypt_again(cipher) == 0
    only_new = Settings(relay_secret_key=settings.relay_secret_key)
    assert [finding.state for finding in await examine_keyring(only_new, redis)] == ["ok"]
