"""A person who uses the page of the sandbox in Chromium."""

from __future__ import annotations

from selenium.webdriver.common.by import By

from tests.browser import NARROW, WIDE, chromium, complaints, defects, show_as


def use(url: str) -> list[str]:
    """Send an event and make a fault as a person does; return the defects of the page on the way."""
    with chromium() as driver:
        driver.implicitly_wait(10)  # seconds until an element is there

        def find(selector: str) -> str:
            return driver.find_element(By.CSS_SELECTOR, selector).text

        def click(selector: str) -> None:
            driver.find_element(By.CSS_SELECTOR, selector).click()

        def fill(selector: str, text: str) -> None:
            driver.find_element(By.CSS_SELECTOR, selector).send_keys(text)

        driver.get(url)
        driver.execute_script("window.isTheSame = true")
        fill("#emit-type", "message.received")
        fill("#emit-text", "Hello")
        click("#emit-submit")
        assert "Sent 1 event to 1 subscription." in find("#emit .note-box")
        driver.find_element(By.XPATH, "//*[@id='deliveries']//*[@class='chip good'][text()='delivered']")  # by itself
        click("#emit .note-box summary")
        widths = [driver.find_element(By.CSS_SELECTOR, each).rect["width"] for each in ("#emit", "#emit .note-box")]
        assert widths[0] > widths[1], "a long line scrolls in its box"
        click("#fault-duplicate > summary")
        fill("#fault-duplicate-times", "3")
        click("#fault-duplicate-submit")
        assert "Fault 1 is active." in find("#fault-duplicate .note-box")
        assert "times 3" in find("#active-faults")
        click("#fault-disable > summary")
        click("#fault-disable-submit")
        assert "give either" in find("#fault-disable .note-box.bad")
        assert driver.execute_script("return window.isTheSame"), "the page was loaded again"
        (refused,) = complaints(driver)
        assert "400" in refused
        found = []
        for width, dark in ((NARROW, True), (WIDE, False)):
            show_as(driver, width, dark=dark)
            found += [f"{width} px, {'dark' if dark else 'light'}: {defect}" for defect in defects(driver)]
        return found
