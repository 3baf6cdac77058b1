from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from relay.config.settings import Settings
from relay.core.secret import new_key
from relay.doctor.finding import State
from relay.doctor.keyring_checks import examine_keyring
from relay.parts import open_keyring
from relay.store.driver.client import ask
from tests.building import LINE, OTHER_LINE, SECRET
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

OLD, NEW = new_key(), new_key()


def settings_with(key: str | None, old: str | None = None) -> Settings:
    return Settings(
        relay_secret_key=SecretStr(key) if key else None, relay_secret_key_old=SecretStr(old) if old else None
    )


@pytest.mark.parametrize(
    ("settings", "state", "what"),
    [
        (settings_with(OLD), State.OK, "RELAY_SECRET_KEY decrypts all 1 secrets"),
        (settings_with(NEW, OLD), State.WARNING, "1 secrets still need RELAY_SECRET_KEY_OLD"),
        (
            settings_with(NEW),
            State.PROBLEM,
            f"RELAY_SECRET_KEY does not decrypt 1 of 1 secrets in {KEYS.keyring} ({LINE})",
        ),
    ],
)
async def test_key_that_does_not_fit_is_found(redis: Redis, settings: Settings, state: State, what: str) -> None:
    await open_keyring(settings_with(OLD), redis).store(LINE, 1, "id", SECRET, 0)
    [finding] = await examine_keyring(settings, redis)
    assert (finding.state, finding.what) == (state, what)


async def test_broken_record_is_found_by_its_line(redis: Redis) -> None:
    await ask(redis.hset(KEYS.keyring, "id", f'{{"line": "{OTHER_LINE}"}}'))
    [finding] = await examine_keyring(settings_with(OLD), redis)
    assert (finding.state, finding.remedy) == (State.PROBLEM, "relay bootstrap apply")
    assert OTHER_LINE in finding.what


async def test_machine_without_the_key_is_not_examined(redis: Redis) -> None:
    [finding] = await examine_keyring(settings_with(None), redis)
    assert (finding.state, finding.what) == (State.NOT_CHECKED, "secrets not checked: RELAY_SECRET_KEY not set")
