from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from relay.config.file import load_config
from relay.core.access.scopes import Scope
from relay.core.config.relay_toml import parse_config
from relay.core.errors import Forbidden
from relay.services.deliveries import stored_subscriptions as service
from tests.building import OTHER_SECRET, SECRET
from tests.services.deliveries.stored_subscriptions.conftest import OPERATOR, SALES, TEAM_RULES, table

if TYPE_CHECKING:
    from pathlib import Path

    from relay.services.context import Context

KEYS: dict[str, Any] = {
    "rate": 2.5,
    "concurrency": 3,
    "retry": ["5s", "1m"],
    "retry_4xx": True,
    "ordered": "chat",
    "events": ["message.*"],
    "dead": {"keep": "1d", "size": "1MiB"},
    "headers": {"X-Key": 'a "quoted" \\ value', "X-Other": "b"},
    "auth": {"username": "relay", "password": "pass"},
}


async def test_export_round_trips(context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await service.create(context, SALES, table("crm.new", secret=SECRET.text, **KEYS))
    await service.rotate_secret(context, SALES, "crm.new", 60, secret=OTHER_SECRET.text)
    await service.create(context, OPERATOR, table("plain"))
    text = await service.export(context, OPERATOR)
    assert SECRET.text not in text
    assert "pass" not in text.replace("password", "")
    exported = {known.name: known for known in parse_config(TEAM_RULES + text).subscriptions}
    stored = {known.name: known for known in (await context.config()).subscriptions}
    hidden = {"secret", "headers", "auth"}
    assert exported.keys() == stored.keys() == {"bot", "crm.new", "plain"}
    for name in ("crm.new", "plain"):
        assert exported[name].model_dump(exclude=hidden) == stored[name].model_dump(exclude=hidden)
    for variable, value in {
        "CRM_NEW_SECRET": OTHER_SECRET.text,
        "CRM_NEW_SECRET_FORMER_1": SECRET.text,
        "CRM_NEW_X_KEY": "a",
        "CRM_NEW_X_OTHER": "b",
        "CRM_NEW_USERNAME": "relay",
        "CRM_NEW_PASSWORD": "pass",
        "PLAIN_SECRET": SECRET.text,
    }.items():
        monkeypatch.setitem(os.environ, variable, value)
    path = tmp_path / "moved.toml"
    path.write_text(TEAM_RULES + text)
    assert load_config(path).endpoints["crm.new"].secrets == (OTHER_SECRET, SECRET)


async def test_export_with_secrets_is_for_operators(context: Context, tmp_path: Path) -> None:
    await service.create(context, SALES, table(secret=SECRET.text, **KEYS))
    await service.create(context, OPERATOR, table("plain"))
    path = tmp_path / "moved.toml"
    path.write_text(TEAM_RULES + await service.export(context, OPERATOR, "crm", with_secrets=True))
    endpoint = load_config(path).endpoints["crm"]
    assert endpoint.secrets == (SECRET,)
    assert endpoint.headers["X-Key"] == 'a "quoted" \\ value'
    for principal in (SALES, replace(OPERATOR, scopes=frozenset({Scope.READ}))):
        assert "plain" not in await service.export(context, SALES)
        with pytest.raises(Forbidden):
            await service.export(context, principal, with_secrets=True)
