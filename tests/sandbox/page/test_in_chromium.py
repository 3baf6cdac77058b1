"""The page of the sandbox in a real browser."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.sandbox.running import LINE

if TYPE_CHECKING:
    from tests.sandbox.running import Endpoint, RunningSandbox

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),  # seconds, also on a busy machine
    pytest.mark.needs_tool("chromium"),
    pytest.mark.needs_tool("chromedriver"),
]


async def test_forms_work_in_place_at_any_width(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    from tests.sandbox.page.chromium_user import use  # noqa: PLC0415  selenium, only where there is a browser

    await sandbox.subscribe(endpoint.url, lines=[LINE])
    assert await asyncio.to_thread(use, f"{sandbox.url}/sandbox") == []
