"""Lanes that exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.store.lanes.lane import Lane

if TYPE_CHECKING:
    from relay.store.driver.client import Redis


@pytest.fixture
async def lanes(redis: Redis) -> dict[str, Lane]:
    """Both lanes, created."""
    lanes = {"bot": Lane(redis, "bot", "messages"), "crm": Lane(redis, "crm", "everything")}
    for lane in lanes.values():
        await lane.ensure()
    return lanes
