"""Chromium without a window, for tests of pages: driven by selenium through Debian's `chromium-driver`."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from axe_core_python.selenium import Axe
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPTIONS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars")
NARROW, WIDE = 380, 1600  # px
_RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}


@contextmanager
def chromium() -> Iterator[Chrome]:
    """Run Chromium; a test that uses it is marked `needs_tool("chromium")` and `needs_tool("chromedriver")`."""
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for option in _OPTIONS:
        options.add_argument(option)
    driver = Chrome(options=options, service=ChromeService(shutil.which("chromedriver")))
    driver.implicitly_wait(10)  # seconds until an element is there
    try:
        yield driver
    finally:
        driver.quit()


def show_as(driver: Chrome, width: int, *, dark: bool) -> None:
    """Set the width of the window, and the colours that the user prefers."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def defects(driver: Chrome) -> list[str]:
    """Return what is wrong with the page as it is shown: accessibility by WCAG AA, and a width above the window's."""
    found: dict[str, Any] = Axe().run(driver, options=_RULES)
    violations = [f"{each['id']}: {node['html']}" for each in found["violations"] for node in each["nodes"]]
    width, window = driver.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    return [*violations, *([f"{width} px wide in a window of {window}"] if width > window else [])]


def complaints(driver: Chrome) -> list[str]:
    """Return what the browser reports: errors of scripts, missing files, a policy that is broken."""
    return [entry["message"] for entry in driver.get_log("browser")]  # type: ignore[no-untyped-call]  # selenium
