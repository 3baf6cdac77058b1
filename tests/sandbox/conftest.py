"""Fixtures: a fast sandbox that accepts local targets, and an endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sandbox.running import Endpoint, RunningSandbox, closed_port, running_endpoint, running_sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
async def sandbox() -> AsyncIterator[RunningSandbox]:
    """A sandbox with three lines."""
    async with running_sandbox() as running:
        yield running


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    """A subscriber that responds 200."""
    async with running_endpoint() as running:
        yield running


@pytest.fixture
def refusing_port() -> Iterator[int]:
    """A port that refuses connections."""
    with closed_port() as port:
        yield port
