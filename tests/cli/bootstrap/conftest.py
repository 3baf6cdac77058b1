"""A sandbox in the place of Linq, and the environment in which commands find it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.core.secret import new_key
from tests.sandbox.running import API_KEY, RunningSandbox, running_sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

KEY = new_key()
PUBLIC = "https://relay.example.com"


@pytest.fixture(autouse=True)
def rules_of_lines(rules: Path) -> Path:
    """The rules, without a subscription for the account."""
    rules.write_text(f"[linq]\naccount = false\n{rules.read_text()}")
    return rules


@pytest.fixture
async def sandbox(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RunningSandbox]:
    """A sandbox, and the environment in which commands find it."""
    async with running_sandbox(allow_local=False) as running:
        for name, value in {
            "REDIS_URL": redis_url,
            "RELAY_PUBLIC_URL": PUBLIC,
            "RELAY_SECRET_KEY": KEY,
            "LINQ_API_V3_API_KEY": API_KEY,
            "LINQ_API_V3_BASE_URL": running.base_url,
        }.items():
            monkeypatch.setenv(name, value)
        yield running
