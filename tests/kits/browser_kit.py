"""A real browser for tests: Debian's chromium, without a window."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from needs import missing
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait


class Browser:
    """Opens pages at a size, in light or dark."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, page: Path, width: int = 1200, height: int = 900, scheme: str = "light") -> None:
        """Open a file."""
        self.visit(page.as_uri(), width, height, scheme)

    def visit(self, url: str, width: int = 1200, height: int = 900, scheme: str = "light") -> None:
        """Open an address."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.resize(width, height)
        self.driver.get(url)
        # `get` may return while a large page still comes in.
        WebDriverWait(self.driver, 30).until(lambda _: self.run("return document.readyState") == "complete")

    def resize(self, width: int, height: int = 900) -> None:
        """Change the window's size; below 500 pixels it is a phone's."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def run(self, script: str) -> Any:
        """Run a script in the page; return what it returns."""
        return self.driver.execute_script(script)


@contextmanager
def browser() -> Iterator[Browser]:
    """Run chromium for the duration of the block; without it, skip, unless this is CI, which installs it."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        missing("needs chromium and chromedriver: apt-get install chromium chromium-driver")
    options = Options()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    started = webdriver.Chrome(options=options, service=Service(driver))
    started.set_page_load_timeout(30)
    started.set_script_timeout(30)
    try:
        yield Browser(started)
    finally:
        started.quit()
