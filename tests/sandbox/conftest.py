"""A sandbox that takes local targets and hurries, and an endpoint to send to."""

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
    """A subscriber that answers 200."""
    async with running_endpoint() as running:
        yield running


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port that refuses connections."""
    with closed_port() as port:
        yield port
