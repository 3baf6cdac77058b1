"""Subscriptions that are not in relay.toml, and tests of all, by command line."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.building import SECRET
from tests.cli.running import main_here
from tests.rules.storing import KEY, RULES
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

CREATE = ("subscriptions", "create", "crm", "--topic", "messages", "--url", "http://localhost:9/crm")


@pytest.fixture(autouse=True)
def _surroundings(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("RELAY_SECRET_KEY", KEY)
    Path("relay.toml").write_text(RULES)


async def test_create_change_rotate_export_and_delete() -> None:
    created = await main_here(*CREATE, "--option", "rate=5", "--option", "retry=5s,1m", "--option", "headers.X-A=b")
    assert created.code == 0
    assert created.out.startswith("whsec_")
    assert "crm is created: version 1, messages to http://localhost:9/crm." in created.err
    changed = await main_here("subscriptions", "change", "crm", "--option", "timeout=3s", "--unset", "rate", "--json")
    assert changed.json["table"] == {"retry": ["5s", "1m"], "headers": {"X-A": "***"}, "timeout": "3s"}
    rotated = await main_here("subscriptions", "rotate", "crm", "--overlap", "1h", "--version", "2")
    assert rotated.out.startswith("whsec_")
    assert rotated.out != created.out
    exported = await main_here("subscriptions", "export")
    [table] = tomllib.loads(exported.out)["subscriptions"]
    assert table["secret"] == ["env:CRM_SECRET", "env:CRM_SECRET_FORMER_1"]
    with_secrets = await main_here("subscriptions", "export", "crm", "--with-secrets")
    assert tomllib.loads(with_secrets.out)["subscriptions"][0]["secret"] == [rotated.out.strip(), created.out.strip()]
    assert (await main_here("subscriptions", "list", "--json")).json[0]["subscription"] == "crm"
    deleted = await main_here("subscriptions", "delete", "crm", "--why", "no longer used")
    assert deleted.code == 0
    assert (await main_here("subscriptions", "export")).out == ""
    assert (await main_here("subscriptions", "drop", "crm")).code == 0


async def test_keys_in_a_file_and_mistakes(tmp_path: Path) -> None:
    (tmp_path / "crm.toml").write_text(f'secret = "{SECRET.text}"\nconcurrency = 3\n')
    created = await main_here(*CREATE, "--from", "crm.toml", "--json")
    assert (created.json["secret"], created.json["table"]) == (None, {"concurrency": 3})
    for arguments, code, words in (
        (CREATE, 1, 'the name "crm" is taken'),
        (("subscriptions", "change", "bot", "--option", "rate=5"), 1, "bot is in relay.toml; change it there"),
        (("subscriptions", "change", "crm", "--option", "rate=0"), 1, "rate:"),
        (("subscriptions", "change", "crm", "--option", "rate"), 2, '"rate" is not KEY=VALUE'),
        (("subscriptions", "change", "crm"), 2, "give what changes"),
        (("subscriptions", "change", "crm", "--version", "7", "--unset", "concurrency"), 1, "its version is 1"),
        (("subscriptions", "rotate", "crm", "--overlap", "long"), 2, '"long" is not a duration'),
        (("subscriptions", "export", "nowhere"), 1, 'no subscription "nowhere"'),
        (("subscriptions", "create", "x", "--topic", "t", "--url", "u", "--from", "none.toml"), 2, "none.toml"),
    ):
        said = await main_here(*arguments)
        assert said.code == code
        assert words in said.err


async def test_without_the_key_the_command_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RELAY_SECRET_KEY")
    said = await main_here(*CREATE)
    assert said.code == 2
    assert "RELAY_SECRET_KEY" in said.err


async def test_send_test(redis: Redis) -> None:
    said = await main_here("send-test", "bot", "--type", "message.read")
    assert said.code == 0
    [(_, fields)] = await redis.xrange(KEYS.lane("bot", "replay"))
    event_id = fields[b"id"].decode()
    assert f"message.read {event_id} goes to bot." in said.out
    assert json.loads(fields[b"body"])["event_id"] == event_id
    await main_here("subscriptions", "pause", "bot")
    assert "it is paused" in (await main_here("send-test", "bot", "--json")).json["waits_for"]
    assert "there is no sample" in (await main_here("send-test", "bot", "--type", "odd")).err
