"""Fixtures: a sandbox, and a stage on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.gaps.stage import Stage, stage_of
from tests.sandbox.running import RunningSandbox, running_sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.store.driver.client import Redis


@pytest.fixture
async def sandbox() -> AsyncIterator[RunningSandbox]:
    """Run a sandbox with three lines."""
    async with running_sandbox() as running:
        yield running


@pytest.fixture
async def stage(redis: Redis, sandbox: RunningSandbox, tmp_path: Path) -> AsyncIterator[Stage]:
    """Open a stage with a topic that takes history, and one that takes none."""
    async with stage_of(redis, sandbox, tmp_path) as opened:
        yield opened
