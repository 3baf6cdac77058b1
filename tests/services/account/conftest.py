"""The surroundings of services: an empty Redis, a clock that stands still, and rules with two teams."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relay.config.settings import Settings
from relay.rules.current import Rules
from relay.services.context import Context
from tests.conftest import NOW
from tests.support import Clock

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

RULES = """
[[topics]]
name = "support"
events = ["message.received"]

[[topics]]
name = "billing"
events = ["*"]

[[subscriptions]]
name = "crm-hook"
topic = "support"
url = "http://127.0.0.1:9/"
secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
team = "crm"

[[teams]]
name = "crm"
topics = ["support"]
contact = "#crm"

[[teams]]
name = "erp"
topics = ["*"]
"""


@pytest.fixture
def now() -> Clock:
    """The clock of the services."""
    return Clock(NOW)


@pytest.fixture
def context(redis: Redis, redis_url: str, now: Clock) -> Context:
    """The surroundings of the services."""
    rules = Path("relay.toml")
    rules.write_text(RULES)
    settings = Settings(redis_url=redis_url, relay_config=rules)
    return Context(settings, redis, Rules(settings, redis), now)
