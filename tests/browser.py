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
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def show_as(driver: Chrome, width: int, height: int = 900, *, dark: bool) -> None:
    """Set the size of the window, and the colours that the user prefers."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def violations(driver: Chrome) -> list[str]:
    """Return what axe finds wrong with the page by WCAG AA."""
    found: dict[str, Any] = Axe().run(driver, options=_RULES)
    return [f"{each['id']}: {node['html'][:200]}" for each in found["violations"] for node in each["nodes"]]


def defects(driver: Chrome) -> list[str]:
    """Return what is wrong with the page as it is shown: accessibility by WCAG AA, and a width above the window's."""
    width, window = driver.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    return [*violations(driver), *([f"{width} px wide in a window of {window}"] if width > window else [])]


def complaints(driver: Chrome) -> list[str]:
    """Return the warnings and errors that the browser reports: of scripts, missing files, a policy that is broken."""
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] in {"WARNING", "SEVERE"}]  # type: ignore[no-untyped-call]  # selenium
