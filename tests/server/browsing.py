"""A real browser, without a window, and what it says of itself."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from waiting import eventually


class Browser:
    """One page of a browser."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    def find(self, css: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def text(self, css: str) -> str:
        return str(self.run("return document.querySelector(arguments[0]).textContent", css))

    def is_shown(self, css: str) -> bool:
        return self.find(css).is_displayed()

    def wait_for_answer(self, status: str = "200") -> None:
        eventually(lambda: self.text("#status") != "…", "an answer")
        assert self.text("#status").startswith(status), self.text("#failure")

    def press(self, *keys: str) -> None:
        """Keys to what has the focus."""
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def select_all(self) -> None:
        """Ctrl+A in what has the focus."""
        ActionChains(self.driver).key_down(Keys.CONTROL).send_keys("a").key_up(Keys.CONTROL).perform()

    def tab_to(self, css: str, most: int = 400) -> None:
        """Go to an element as one does without a mouse."""
        for _ in range(most):
            if self.run("return document.activeElement.matches(arguments[0])", css):
                return
            self.press(Keys.TAB)
        raise AssertionError(f"no way to {css} with the keyboard")

    def table(self, css: str) -> list[list[str]]:
        """The cells of an answer's rows, without the rows' numbers."""
        script = """return [...document.querySelectorAll(arguments[0] + " tbody tr")].map(
            (row) => [...row.cells].slice(1).map((cell) => cell.textContent))"""
        return list(self.run(script, css))

    def media(self, scheme: str) -> None:
        """As the system's colours are: light or dark."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def complaints(self) -> list[str]:
        """What stands in the console since somebody looked; what a policy refused is there too."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requested(self) -> list[str]:
        """The URLs that were asked for since somebody looked."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [one["params"]["request"]["url"] for one in events if one["method"] == "Network.requestWillBeSent"]


@contextmanager
def browsing(place: Path) -> Iterator[Browser]:
    """A browser whose profile is a directory of its own."""
    place.mkdir(parents=True, exist_ok=True)
    options = Options()
    options.binary_location = str(shutil.which("chromium"))
    for argument in (
        "--headless=new",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--window-size=1280,1000",
        f"--user-data-dir={place}",
        # Root has no sandbox, as in most containers.
        *(["--no-sandbox"] if os.getuid() == 0 else []),
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = Service(str(shutil.which("chromedriver")), log_output=str(place / "chromedriver.log"))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield Browser(driver)
    finally:
        driver.quit()
