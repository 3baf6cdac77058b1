"""The page in a real Chromium (`tests.browser`), used by what a person sees."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.common.by import By

from tests import browser
from tests.support import TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from selenium.webdriver.remote.webelement import WebElement


class Chromium:
    """A window of Chromium."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def resize(self, width: int, height: int = 900, *, is_dark: bool = False) -> None:
        """Give the page a size and a colour scheme."""
        browser.show_as(self.driver, width, height, dark=is_dark)

    def go(self, path: str) -> None:
        """Load a page of the site that is shown."""
        origin = self.driver.execute_script("return location.origin")
        self.driver.get(origin + path)

    def fill(self, name: str, text: str) -> None:
        """Type into the visible field of that name."""
        [shown] = [each for each in self.driver.find_elements(By.NAME, name) if each.is_displayed()]
        shown.clear()
        shown.send_keys(text)

    def press(self, text: str) -> None:
        """Press the visible button or link with that text."""
        self.wait(lambda: self._shown(text)).click()

    def press_last(self, text: str) -> None:
        """Press the last one: of a dialog over the page, its own."""
        path = f"//button[normalize-space()='{text}']"
        [*_, last] = [each for each in self.driver.find_elements(By.XPATH, path) if each.is_displayed()]
        last.click()

    def says(self, text: str) -> bool:
        """Return True if the page shows the text."""
        return text in self.driver.find_element(By.TAG_NAME, "body").text

    def wait(self, condition: Callable[[], Any]) -> Any:
        """Wait until something holds; the page may change meanwhile."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                if found := condition():
                    return found
            except (StaleElementReferenceException, WebDriverException):
                pass
            if time.monotonic() > deadline:
                raise AssertionError(self.driver.find_element(By.TAG_NAME, "body").text)
            time.sleep(0.05)

    def violations(self) -> list[str]:
        """Return what axe finds wrong for people who cannot see, or not well."""
        return browser.violations(self.driver)

    def errors(self) -> list[str]:
        """Return the errors of the console since the last call, such as what the policy refused."""
        return browser.complaints(self.driver)

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        return int(self.driver.execute_script("return document.documentElement.scrollWidth - innerWidth"))

    def shoot(self, path: Path) -> None:
        """Save what the window shows."""
        self.driver.save_screenshot(str(path))

    def _shown(self, text: str) -> WebElement | None:
        path = f"//button[normalize-space()='{text}'] | //a[normalize-space()='{text}']"
        return next((each for each in self.driver.find_elements(By.XPATH, path) if each.is_displayed()), None)


@contextmanager
def chromium(width: int = 1200, height: int = 900, *, is_dark: bool = False) -> Iterator[Chromium]:
    """Open a window."""
    with browser.chromium() as driver:
        window = Chromium(driver)
        window.resize(width, height, is_dark=is_dark)
        yield window
