"""The surroundings of services: rules with subscriptions of two teams and of none, and who asks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relay.config.settings import Settings
from relay.core.access.principal import Principal
from relay.core.access.scopes import EVERY_SCOPE
from relay.rules.current import Rules
from relay.services.context import Context

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

LINE = "+16465550123"
RULES = "\n".join(
    [
        f'[[topics]]\nname = "support"\nevents = ["message.*"]\nlines = ["{LINE}"]',
        '[[topics]]\nname = "billing"\nevents = ["*"]\nlines = ["+16465550124"]',
        *(
            f'[[teams]]\nname = "{team}"\ntopics = ["{topic}"]'
            for team, topic in (("crm", "support"), ("erp", "billing"))
        ),
        *(
            f'[[subscriptions]]\nname = "{name}"\ntopic = "{topic}"\nurl = "http://x"\nsecret = "env:S"\n{team}'
            for name, topic, team in (
                ("crm-bot", "support", 'team = "crm"'),
                ("erp-bot", "billing", 'team = "erp"'),
                ("own-bot", "support", ""),
            )
        ),
    ]
)

CRM = Principal("crm token", "crm", EVERY_SCOPE, frozenset({"support"}))
OPERATOR = Principal("alice@host", None, EVERY_SCOPE)


@pytest.fixture
def context(redis: Redis, redis_url: str) -> Context:
    """The surroundings of the services."""
    Path("relay.toml").write_text(RULES)
    settings = Settings(redis_url=redis_url, relay_config=Path("relay.toml"))
    return Context(settings, redis, Rules(settings, redis))
