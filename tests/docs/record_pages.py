"""Records pictures of the page from the demo's real data, light and dark.

    .venv/bin/python -m tests.docs.record_pages       writes deploy/docs/images/page-{overview,subscription}-*.png

It runs the demo's parts for two minutes, so that the charts have something to show, and takes a team's failing
subscription into relay.toml. It needs Chromium and chromedriver.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from relay.demo.stage import LINES, set_stage
from relay.process.logs import configure_logging
from relay.sandbox.events.conversations import conversations
from tests.docs.record_demo import IMAGES
from tests.web.pages.chromium import chromium

if TYPE_CHECKING:
    from relay.demo.stage import Stage

_SECONDS = 150
_RATE = 12.0  # events a second
_SIZE = (1280, 860)
_PAGES = {"overview": "/", "subscription": "/subscriptions/helpdesk"}
_FAILING = """
[[subscriptions]]
name = "analytics"
topic = "everything"
url = "http://127.0.0.1:9/events"
secret = "env:HELPDESK_SECRET"
"""


async def record() -> None:
    """Run the demo's parts, and take the pictures."""
    configure_logging("error", "console")
    async with set_stage(1, print) as stage:
        rules = stage.log.parent / "relay.toml"
        rules.write_text(rules.read_text(encoding="utf-8") + _FAILING, encoding="utf-8")
        playing = asyncio.create_task(_play(stage))
        await asyncio.sleep(_SECONDS)
        await asyncio.to_thread(_take, stage.page)
        playing.cancel()


async def _play(stage: Stage) -> None:
    for step in conversations(LINES, 1):
        stage.sandbox.play(step)
        await asyncio.sleep(1 / _RATE)


def _take(link: str) -> None:
    IMAGES.mkdir(exist_ok=True)
    with chromium(*_SIZE) as browser:
        browser.driver.get(link)
        browser.press("Sign in")
        browser.wait(lambda: browser.says("Overview"))
        for is_dark in (False, True):
            browser.resize(*_SIZE, is_dark=is_dark)
            for name, path in _PAGES.items():
                browser.go(path)
                browser.wait(lambda: browser.says("Delivered"))
                time.sleep(2.5)  # until it is live
                browser.shoot(IMAGES / f"page-{name}-{'dark' if is_dark else 'light'}.png")


if __name__ == "__main__":
    asyncio.run(record())
