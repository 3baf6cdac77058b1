"""The settings of a worker process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.config.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def settings(redis_url: str, rules_file: Path) -> Settings:
    return Settings(redis_url=redis_url, relay_config=rules_file)
