"""A context on rules with two teams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from relay.config.settings import Settings
from relay.core.access.principal import Principal
from relay.core.access.scopes import EVERY_SCOPE
from relay.rules.current import Rules
from relay.services.context import Context
from tests.rules.storing import KEY, RULES

if TYPE_CHECKING:
    from pathlib import Path

    from relay.store.driver.client import Redis
    from tests.support import Clock

TEAM_RULES = (
    RULES
    + """
[[topics]]
name = "everything"
events = ["*"]

[[teams]]
name = "sales"
topics = ["messages"]
egress = ["localhost", "*.sales.example"]

[[teams]]
name = "ops"
egress = ["localhost", "127.0.0.1", "*.example"]
topics = ["*"]
"""
)
OPERATOR = Principal("alice@host", None, EVERY_SCOPE)
SALES = Principal("sales-token", "sales", EVERY_SCOPE, frozenset({"messages"}), "10.0.0.1", "t1")
OPS = Principal("ops-token", "ops", EVERY_SCOPE, frozenset({"messages", "everything"}), "10.0.0.2", "t2")


@pytest.fixture
def rules_file(tmp_path: Path) -> Path:
    path = tmp_path / "relay.toml"
    path.write_text(TEAM_RULES)
    return path


@pytest.fixture
def settings(rules_file: Path, redis_url: str) -> Settings:
    return Settings(redis_url=redis_url, relay_config=rules_file, relay_secret_key=SecretStr(KEY))


@pytest.fixture
def context(settings: Settings, redis: Redis, clock: Clock) -> Context:
    return Context(settings, redis, Rules(settings, redis, clock), clock)


def table(name: str = "crm", **keys: Any) -> dict[str, Any]:
    """Return the table of a subscription to `messages`."""
    return {"name": name, "topic": "messages", "url": "http://localhost:9/crm", **keys}
