"""A headless Chromium on a machine of the lab, driven by Selenium."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from pyroute2 import netns
from scenario import until

from ipfod.lab.machine import Machine

PROGRAMS = ("chromium", "chromedriver")
PORT = 9515
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # it is root's, in namespaces of its own
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--ignore-certificate-errors",  # Cockpit's certificate is the node's own
    "--window-size=1280,900",
)
# At one moment, in the page: between two questions of Selenium an element may be replaced.
FIND = """
const found = [], asked = arguments[0];
if (asked.startsWith("//")) {
    const nodes = document.evaluate(asked, document, null, XPathResult.ORDERED_NODE_SNAPSHOT_TYPE, null);
    for (let index = 0; index < nodes.snapshotLength; index++)
        found.push(nodes.snapshotItem(index));
} else
    found.push(...document.querySelectorAll(asked));
"""
CONTROL, BACKSPACE = "\ue009", "\ue003"  # of the WebDriver protocol
START_S = 60.0  # it takes two seconds on an idle machine
LOAD_S = 60
STALE_TRIES = 5


def _at_last(act: Callable[[], Any]) -> Any:
    """Do something with an element; again if the page has replaced it between finding and doing."""
    from selenium.common.exceptions import StaleElementReferenceException

    for _ in range(STALE_TRIES):
        try:
            return act()
        except StaleElementReferenceException:
            continue
    return act()


class Browser:
    """`async with Browser(machine) as browser`: all that is started for it ends with it, or with the machine.

    Selenium waits for its answers, so it has a thread of its own, in the machine's network namespace.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._thread = ThreadPoolExecutor(1, "browser", self._enter)
        self._driver: Any = None

    def _enter(self) -> None:
        namespace = os.open(f"/proc/{self._machine.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            netns.setns(namespace)
        finally:
            os.close(namespace)

    async def __aenter__(self) -> Self:
        home = {"HOME": "/run", "TMPDIR": "/run"}
        self._program = await self._machine.spawn(["chromedriver", f"--port={PORT}"], env=home)
        await until(self._listens, what="chromedriver listens", timeout_s=START_S)
        await self.do(self._connect)
        return self

    async def _listens(self) -> bool:
        done = await self._machine.run(["ss", "-Hltn", f"sport = :{PORT}"], check=True)
        return bool(done.stdout.strip())

    def _connect(self) -> None:
        # Imported here: where there is no browser there is no Selenium.
        from selenium import webdriver
        from selenium.webdriver.chromium.remote_connection import ChromiumRemoteConnection

        options: Any = webdriver.ChromeOptions()
        for argument in ARGUMENTS:
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        server = ChromiumRemoteConnection(f"http://127.0.0.1:{PORT}", "goog", "chrome", ignore_proxy=True)
        self._driver = webdriver.Remote(command_executor=server, options=options)
        self._driver.set_page_load_timeout(LOAD_S)
        self._driver.set_script_timeout(LOAD_S)

    async def __aexit__(self, *_: object) -> None:
        try:
            if self._driver is not None:
                await self.do(self._driver.quit)
        finally:
            await self._program.close()
            self._thread.shutdown()

    async def do(self, act: Callable[..., Any], *args: Any) -> Any:
        """Have Selenium do something."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, act, *args)

    # ---------------------------------------------------------------- what a user does

    async def visit(self, url: str) -> None:
        """Open a page as somebody whom no site knows."""
        await self.do(self._driver.delete_all_cookies)
        await self.do(self._driver.get, url)

    async def leave(self) -> None:
        """Leave the page before its server goes; what the console had of it is forgotten."""
        await self.enter_frame()
        await self.do(self._driver.get, "about:blank")
        await self.complaints()

    async def shows_in(self, frame: str, selector: str) -> bool:
        """Whether a frame is there and shows such an element; from then on we look into that frame."""
        from selenium.common.exceptions import WebDriverException

        try:
            await self.enter_frame(frame)
            return await self.sees(selector)
        except WebDriverException:  # it is not there yet, or it is loaded anew
            return False

    async def enter_frame(self, selector: str = "") -> None:
        """Look at what is in a frame from then on; "": at the whole page."""
        await self.do(self._driver.switch_to.default_content)
        if selector:
            await self.do(lambda: self._driver.switch_to.frame(self._one(selector)))

    async def click(self, selector: str) -> None:
        """Click on the element that a CSS selector, or an XPath after "//", finds."""
        await self.do(lambda: _at_last(lambda: self._one(selector).click()))

    async def type_into(self, selector: str, text: str) -> None:
        """Replace the text of a field."""

        def enter() -> None:
            field = self._one(selector)
            field.send_keys(CONTROL, "a")  # Selenium's clear() is no input: the page would not hear of it
            field.send_keys(text or BACKSPACE)

        await self.do(lambda: _at_last(enter))

    async def press(self, *keys: str) -> None:
        """Press keys, as a keyboard does: whatever has the focus gets them."""
        from selenium.webdriver.common.action_chains import ActionChains

        chain: Any = ActionChains
        await self.do(lambda: chain(self._driver).send_keys(*keys).perform())

    async def resize(self, width: int, height: int) -> None:
        """Give the page another size, in pixels."""
        await self._devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    async def prefer(self, scheme: str) -> None:
        """Prefer "light" or "dark", as a setting of the browser."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        await self._devtools("Emulation.setEmulatedMedia", features=[feature])

    async def _devtools(self, command: str, **parameters: Any) -> None:
        await self.do(self._driver.execute, "executeCdpCommand", {"cmd": command, "params": parameters})

    # ---------------------------------------------------------------- what a user sees

    def _one(self, selector: str) -> Any:
        kind = "xpath" if selector.startswith("//") else "css selector"
        return self._driver.find_element(kind, selector)

    async def sees(self, selector: str) -> bool:
        """Whether there is such an element, and it is shown."""
        return bool(await self.script(f"{FIND} return found.some(each => each.checkVisibility());", selector))

    async def text(self, selector: str) -> str:
        """The text of the first such element, as it is shown; "" if there is none."""
        return str(await self.script(f"{FIND} return found.length ? found[0].innerText : '';", selector))

    async def script(self, text: str, *args: Any) -> Any:
        """What a script in the page returns; it has its arguments in `arguments`."""
        return await self.do(self._driver.execute_script, text, *args)

    async def focused(self) -> str:
        """The accessible name of what has the focus."""
        return str(await self.do(_at_last, lambda: self._driver.switch_to.active_element.accessible_name))

    async def nameless(self, selector: str) -> list[str]:
        """The markup of those elements, of all that are shown, which have no accessible name."""

        def find() -> list[str]:
            shown = [
                each for each in self._driver.find_elements("css selector", selector) if each.is_displayed()
            ]
            assert shown
            return [each.get_attribute("outerHTML") for each in shown if not each.accessible_name.strip()]

        found: list[str] = await self.do(find)
        return found

    async def complaints(self) -> list[str]:
        """The errors and warnings in the browser's console since the last time."""
        found = await self.do(self._driver.get_log, "browser")
        return [each["message"] for each in found if each["level"] in ("SEVERE", "WARNING")]

    async def screenshot(self, path: Path) -> None:
        """Keep what is shown as a PNG file."""
        await self.do(self._driver.save_screenshot, str(path))
