"""Rules with a topic of all events, and subscribers of it that take, fail or refuse every delivery."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from tests.workers.conftest import Received

RULES = """
[linq]
account = false

[[topics]]
name = "messages"
events = ["*"]
"""
STATUS = {"/done": 204, "/failing": 500, "/refusing": 400}
"""Response by path, which is the name of the subscription."""

_SUBSCRIPTION = """
[[subscriptions]]
name = "{name}"
topic = "messages"
url = "{sink}/{name}"
secret = "env:BOT_SECRET"
retry = ["{retry}"]
breaker = false
{more}
"""


def subscription(name: str, sink: str, retry: str, more: str = "") -> str:
    """Return the table of a subscription whose only retry comes after `retry`; `more` are further lines."""
    return _SUBSCRIPTION.format(name=name, sink=sink, retry=retry, more=more)


async def answer(received: Received) -> web.Response:
    """Respond as `STATUS` says."""
    await asyncio.sleep(0)
    return web.Response(status=STATUS[received.path])
