"""A person with a browser: signs in, subscribes, tests, sees an outage and its end, replays, sends again, signs out.

The relay, its worker and a sandbox run as in `relay demo`; the browser is a real Chromium. Each page that is passed is
examined by axe, light and wide as well as dark and narrow.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from relay.demo.stage import LINES, set_stage
from relay.net.http_listener import listening
from relay.net.listen_address import Listen
from relay.sandbox.app import Emission

if TYPE_CHECKING:
    from relay.demo.stage import Stage
    from tests.web.pages.chromium import Chromium

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),  # seconds, also on a busy machine: it took 182 at a load of 10 on two processors
    pytest.mark.needs_tool("chromium", "chromium-browser", "google-chrome"),
    pytest.mark.needs_tool("chromedriver"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of selenium's sockets
]

NAME = "mine"
PAGES = (
    *("/", "/topics", "/topics/support", "/events", "/subscriptions", f"/subscriptions/{NAME}", "/dead", "/groups"),
    *("/replays", "/replays/new", "/lines", "/linq", "/quarantine", "/teams", "/audit", "/subscriptions/new"),
    *("/contracts", f"/subscriptions/{NAME}/change", "/nothing"),
)


class Endpoint:
    """A subscriber that a test can break."""

    def __init__(self) -> None:
        self.status = 204
        self.ids: list[str] = []

    async def take(self, request: web.Request) -> web.Response:
        self.ids.append(request.headers["webhook-id"])
        return web.Response(status=self.status, text="" if self.status == 204 else "out of order")


async def test_a_person_helps_itself() -> None:
    from tests.web.pages.chromium import chromium  # noqa: PLC0415  selenium, only where there is a browser

    endpoint, app, loop = Endpoint(), web.Application(), asyncio.get_running_loop()
    app.router.add_post("/hook", endpoint.take)
    async with set_stage(1, lambda _: None) as stage, listening(app, Listen(host="127.0.0.1", port=0)) as port:

        def travel() -> None:
            with chromium() as browser:
                Person(browser, stage, endpoint, loop).travel(f"http://127.0.0.1:{port}/hook")

        await asyncio.to_thread(travel)


class Person:
    """A person with a browser, in a thread."""

    def __init__(self, browser: Chromium, stage: Stage, endpoint: Endpoint, loop: asyncio.AbstractEventLoop) -> None:
        self.browser = browser
        self.stage = stage
        self.endpoint = endpoint
        self.loop = loop

    def travel(self, url: str) -> None:
        browser = self.browser
        browser.driver.get(self.stage.page)
        self.examine()
        browser.press("Sign in")
        browser.wait(lambda: browser.says("Overview"))
        self.subscribe(url)
        self.see_an_outage()
        self.replay()
        event_id = self.send_again()
        self.examine_all(event_id)
        browser.press("Sign out")
        browser.wait(lambda: browser.says("With a token of your team"))
        browser.go("/subscriptions")
        assert browser.says("With a token of your team")
        self.examine()

    def subscribe(self, url: str) -> None:
        browser = self.browser
        browser.go("/subscriptions")
        browser.press("Create a subscription")
        browser.fill("name", NAME)
        browser.fill("url", "ftp://nowhere")
        browser.driver.execute_script("document.querySelector('.form').noValidate = true")
        browser.press("Create")
        browser.wait(lambda: browser.says("Nothing was saved"))
        self.examine()
        browser.fill("url", url)
        browser.driver.find_element("css selector", "details.more").click() if not browser.says("Waits") else None
        browser.fill("retry", "100ms")
        browser.press("Create")
        browser.wait(lambda: browser.says("whsec_"))
        self.examine()
        browser.press("Send a test")
        browser.wait(lambda: browser.says("is on its way"))
        browser.wait(lambda: self.endpoint.ids)
        browser.wait(lambda: browser.says("delivered") and browser.says("test_"))  # it comes by itself

    def see_an_outage(self) -> None:
        before = len(self.endpoint.ids)
        self.endpoint.status = 400
        self.emit(2)
        self.browser.wait(lambda: len(self.endpoint.ids) >= before + 2)  # each a dead letter at once
        self.endpoint.status = 500
        self.emit(8)
        self.browser.wait(lambda: self.browser.says("Breaker open since"))
        self.examine()
        self.endpoint.status = 204
        self.browser.wait(lambda: not self.browser.says("Breaker open since"))

    def replay(self) -> None:
        browser = self.browser
        browser.go("/dead")
        browser.wait(lambda: browser.says("Replay or drop"))
        before = len(self.endpoint.ids)
        browser.driver.find_element("css selector", "[data-checks]").click()
        browser.press("Replay")
        browser.wait(lambda: browser.says("events.") and browser.says("done"))
        self.examine()
        browser.wait(lambda: len(self.endpoint.ids) > before)

    def send_again(self) -> str:
        browser = self.browser
        event_id = self.endpoint.ids[-1]
        browser.go(f"/events/{event_id}")
        browser.press("Send again")
        self.examine()
        browser.driver.execute_script("document.getElementById('resend-to').value = arguments[0]", NAME)
        before = self.endpoint.ids.count(event_id)
        browser.press_last("Send again")
        browser.wait(lambda: browser.says(f"sent to {NAME} again"))
        browser.wait(lambda: self.endpoint.ids.count(event_id) > before)
        return event_id

    def examine_all(self, event_id: str) -> None:
        for width, is_dark in ((1200, False), (380, True)):
            self.browser.resize(width, is_dark=is_dark)
            for path in (*PAGES, f"/events/{event_id}"):
                self.browser.go(path)
                self.examine(path)
        self.browser.resize(1200)

    def examine(self, path: str = "") -> None:
        """Check that a page fits the window, and that axe and the browser find nothing wrong."""
        assert self.browser.violations() == [], path
        assert self.browser.overflow() <= 0, path
        errors = [each for each in self.browser.errors() if "status of 4" not in each]  # the page says so itself
        assert errors == [], path

    def emit(self, count: int) -> None:
        """Let Linq send messages."""
        for _ in range(count):
            self.loop.call_soon_threadsafe(self.stage.sandbox.emit, Emission(type="message.received", line=LINES[0]))
