"""The Cockpit page on a booted node, in a browser: live, by keyboard, dark, narrow, and for who may not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest_asyncio
from scenario import group, on_node, status, until

from ipfod.lab import ruleset
from node.booted import BootedNode
from node.booted_lab import BootedLab
from node.browser import Browser
from node.installed import VIPS, run_on_both

PORT = 9090
PASSWORD = "a password of the test"
FRAME = "iframe[name='cockpit1:localhost/ipfod']"
READY = "#page[aria-busy=false]"
LOGIN = ("#login-user-input", "#login-password-input", "#login-button")
ACCESS = "//button[contains(., 'Limited access')]"
SLOW_S = 60.0  # a log-in and the loading of a page, which take three seconds on an idle machine
TABS_MAX = 60
ENTER, ESCAPE, TAB, BACKSPACE = "\ue007", "\ue00c", "\ue004", "\ue003"  # of the WebDriver protocol
OWN = "/ipfod/"  # in the addresses of the page's own files
GROUP = "web_VIP_1"
STATE = "#failovers .state"
NARROW = 360


@dataclass(frozen=True, slots=True)
class Page:
    """The page as somebody sees it in the browser, of the node that holds the virtual IPs at the start."""

    browser: Browser
    owner: BootedNode
    other: BootedNode

    async def log_in(self, user: str) -> None:
        browser = self.browser
        await browser.enter_frame()
        await browser.visit(f"https://{self.owner.own_addresses[0]}:{PORT}/ipfod")
        await until(lambda: browser.sees(LOGIN[0]), what="Cockpit asks who is there", timeout_s=SLOW_S)
        await browser.type_into(LOGIN[0], user)
        await browser.type_into(LOGIN[1], PASSWORD)
        await browser.click(LOGIN[2])
        await self.look()

    async def look(self) -> None:
        """Wait for the page, and look into its frame."""
        ready = partial(self.browser.shows_in, FRAME, READY)
        await until(ready, what="the page has asked ipfod", timeout_s=SLOW_S)

    async def become_administrator(self) -> None:
        """Turn on administrative access, unless Cockpit remembers that it was on."""
        await self.browser.enter_frame()
        if await self.browser.sees(ACCESS):
            await self.browser.click(ACCESS)
            field = "[role=dialog] input[type=password]"
            await until(lambda: self.browser.sees(field), what="Cockpit asks for a password", timeout_s=SLOW_S)
            await self.browser.type_into(field, PASSWORD + ENTER)
            done = "//button[contains(., 'Administrative access')]"
            await until(lambda: self.browser.sees(done), what="administrative access", timeout_s=SLOW_S)
        await self.look()
        await self.hides("#rights")

    async def says(self, text: str, selector: str = "#page") -> None:
        """Wait until a text is shown."""

        async def said() -> bool:
            return text in await self.browser.text(selector)

        await until(said, what=f"{selector} says {text!r}")

    async def shows(self, selector: str) -> None:
        await until(lambda: self.browser.sees(selector), what=f"{selector} is shown")

    async def hides(self, selector: str) -> None:
        async def hidden() -> bool:
            return not await self.browser.sees(selector)

        await until(hidden, what=f"{selector} is not shown")

    async def order(self, name: str, confirm: str, **fields: str) -> None:
        """Give an order by its button and its dialog; fields by their labels' first word."""
        await self.browser.click(f"//button[@aria-label='{name}' or text()='{name}']")
        for label, value in fields.items():
            await self.browser.type_into(f"//label[starts-with(., '{label}')]/following-sibling::input", value)
        await self.browser.click(f"//dialog//button[text()='{confirm}']")

    async def done(self) -> None:
        """Wait until the dialog is gone: the order was carried out."""
        await self.hides("dialog")

    async def choose(self, name: str, policy: str) -> None:
        """Order a preemption policy."""
        await self.browser.click(f"//button[@aria-label='{name}']")
        await self.browser.click(f"dialog input[value='{policy}']")
        await self.browser.click("//dialog//button[text()='Change preemption']")
        await self.done()

    async def tab_to(self, name: str) -> None:
        """Reach a control by the Tab key alone."""
        for _ in range(TABS_MAX):
            if await self.browser.focused() == name:
                return
            await self.browser.press(TAB)
        raise AssertionError(f"{name} is not reached by Tab")

    async def no_complaint(self) -> None:
        """Nothing of the page is on the console; what Cockpit's own parts write there is theirs."""
        assert [each for each in await self.browser.complaints() if OWN in each] == []


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def chromium(nodes: BootedLab) -> AsyncIterator[Browser]:
    """A browser on the lab's client, the same for all tests."""
    async with Browser(nodes.client) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="session")
async def page(pair: BootedLab, packages: tuple[Path, Path], chromium: Browser) -> AsyncIterator[Page]:
    """The page of a node with both VIPs, nobody logged in; the users `admin` and `user` have a password."""
    [package] = packages[0].parent.glob("ipfod-cockpit-*.rpm")
    owner, other = await run_on_both(pair)
    await owner.run(["nft", *ruleset.accept_port(PORT)], check=True)
    await owner.install_rpm(package)
    await owner.run(["useradd", "--create-home", "--groups", "sudo", "admin"], check=True)
    await owner.run(["chpasswd"], stdin=f"admin:{PASSWORD}\nuser:{PASSWORD}\n", check=True)
    hosts = owner.read("/etc/hosts") if owner.inside("/etc/hosts").exists() else ""
    owner.write("/etc/hosts", f"{hosts}127.0.1.1 {owner.name}\n")  # sudo looks its own host up
    await owner.systemctl("start", "cockpit.socket", check=True)
    yield Page(chromium, owner, other)
    await chromium.leave()
    await owner.systemctl("stop", "cockpit.socket", "cockpit.service")
    await owner.run(["loginctl", "terminate-user", "admin", "user"])
    await owner.run(["pkill", "-KILL", "-u", "admin,user"])
    await owner.run(["userdel", "--force", "--remove", "admin"], check=True)
    await owner.run(["passwd", "--lock", "user"], check=True)
    owner.write("/etc/hosts", hosts)
    await owner.run(["rpm", "-e", "ipfod-cockpit"], check=True)
    await owner.systemctl("reset-failed")


async def test_a_failover_is_seen_live_and_a_group_is_stepped_down_by_keyboard(
    pair: BootedLab, page: Page, tmp_path: Path
) -> None:
    browser = page.browser
    await page.log_in("admin")
    await page.become_administrator()
    await page.says("master", STATE)
    await page.says("held here", "#failovers")
    await page.says("There are none.", "#problems")
    await page.tab_to(f"Step down {GROUP}")
    await browser.press(ENTER)
    await page.says(f"Another node takes {' and '.join(VIPS)}.", "dialog")
    assert await browser.focused() == "Hold, in seconds"
    await browser.screenshot(tmp_path / "step-down.png")
    await browser.press(ESCAPE)
    await page.done()
    assert await browser.focused() == f"Step down {GROUP}"
    await browser.press(ENTER)
    await browser.press(*[BACKSPACE] * 3, "600", ENTER)
    await page.says(f"{GROUP}: another node has taken", "#outcomes")
    await page.done()
    await on_node(pair, page.other, VIPS)
    await page.says("backup", STATE)
    await page.says("step-down by uid 0", "#history tbody tr:first-child")
    await pair.switch.set_port(page.other, "down")
    try:
        await page.says("master", STATE)
        await page.says("held here", "#failovers")
        await page.says(f"{GROUP} is master.", "#news")
        await page.says("backup → master", "#history tbody tr:first-child")
    finally:
        await pair.switch.set_port(page.other, "up")
    await browser.screenshot(tmp_path / "failover.png")
    await page.no_complaint()


async def test_problems_maintenance_preemption_and_take_over(
    pair: BootedLab, page: Page, tmp_path: Path
) -> None:
    owner = page.owner
    await page.log_in("admin")
    await page.become_administrator()
    owner.write("/etc/ipfod/mistake.toml", "virtual_ips = 7\n")
    await owner.ipfoctl("reload")
    await page.says("configuration-invalid", "#problems")
    await page.says("mistake.toml", "#problems")
    await page.browser.screenshot(tmp_path / "problem.png")
    await owner.run(["rm", "/etc/ipfod/mistake.toml"], check=True)
    assert (await owner.ipfoctl("reload")).returncode == 0
    await page.says("There are none.", "#problems")

    await page.choose("Preemption of all groups of web", "nopreempt")
    await page.says("nopreempt, by order", "#failovers")
    assert (await group(owner, GROUP))["preemption"] == "nopreempt"
    await page.order("Enter maintenance…", "Enter maintenance", Reason="new memory")
    await page.done()
    await page.says("new memory", "#maintenance")
    await on_node(pair, page.other, VIPS)
    assert (await status(owner))["maintenance_reason"] == "new memory"
    await page.browser.screenshot(tmp_path / "maintenance.png")
    await page.order("Leave maintenance…", "Leave maintenance")
    await page.done()
    await page.hides("#maintenance")
    await page.says("backup", STATE)
    await page.order(f"Take over {GROUP}", "Take over")
    await page.done()
    await on_node(pair, owner, VIPS)
    await page.says("master", STATE)
    await page.choose("Preemption of all groups of web", "reset")
    await page.says("preempt, by configuration", "#failovers")
    assert (await group(owner, GROUP))["preemption_origin"] == "configuration"
    await page.no_complaint()


async def test_who_may_not_is_told_so_and_nothing_moves(pair: BootedLab, page: Page, tmp_path: Path) -> None:
    await page.log_in("user")
    await page.shows("#rights")
    await page.says("master", STATE)  # reading is for everybody
    await page.order("Enter maintenance…", "Enter maintenance")
    await page.says("you may not do this.", "dialog [role=alert]")
    await page.browser.screenshot(tmp_path / "refused.png")
    await page.browser.press(ESCAPE)
    await page.done()
    assert not (await status(page.owner))["maintenance"]
    await on_node(pair, page.owner, VIPS)
    await page.no_complaint()


async def test_ipfod_goes_and_comes_and_the_page_is_fit_for_every_eye_and_screen(
    page: Page, tmp_path: Path
) -> None:
    browser = page.browser
    await page.log_in("admin")
    await browser.click("//button[text()='Enter maintenance…']")
    await page.owner.systemctl("stop", "ipfod", check=True)
    await page.shows("#absent")
    assert not await browser.sees("#present")
    await browser.click("//dialog//button[text()='Enter maintenance']")
    await page.says("ipfod did not answer.", "dialog [role=alert]")
    await browser.press(ESCAPE)
    await page.done()

    async def on_the_title() -> bool:  # the button is gone
        return (await browser.focused()).startswith("IP failover on")

    await until(on_the_title, what="the focus is on the title")
    await browser.screenshot(tmp_path / "absent.png")
    await page.owner.systemctl("start", "ipfod", check=True)
    await page.hides("#absent")
    await page.says("master", STATE)

    await browser.click("//button[@aria-label='Preemption of all groups of web']")
    assert await browser.nameless("dialog, dialog :is(button, input, fieldset)") == []  # the rest is inert
    await browser.press(ESCAPE)
    assert await browser.nameless("button, input, table, section") == []
    await browser.type_into("#filter", "192.168.3.11 master")
    await page.says("1 of 1 groups", "#filter-count")
    await browser.type_into("#filter", "192.168.3.11 backup")
    await page.says("No group matches the filter.", "#filter-count")
    assert not await browser.sees("#failovers tbody tr")
    await browser.type_into("#filter", "")
    colour = "return getComputedStyle(document.body).backgroundColor"
    light = await browser.script(colour)
    try:
        await browser.prefer("dark")
        await until(lambda: other_than(browser, colour, light), what="the page is dark")
        await browser.screenshot(tmp_path / "dark.png")
        await fits_a_narrow_screen(browser, tmp_path)
    finally:
        await browser.resize(1280, 900)
        await browser.prefer("light")
    await browser.press(ESCAPE)
    await page.owner.run(["rm", "/etc/ipfod/web.toml"], check=True)
    assert (await page.owner.ipfoctl("reload")).returncode == 0
    await page.shows("#holders-none")
    await page.no_complaint()


async def fits_a_narrow_screen(browser: Browser, tmp_path: Path) -> None:
    await browser.resize(NARROW, 1200)
    await until(lambda: is_narrow(browser), what="the page is narrow")
    overflow = "const page = document.documentElement; return page.scrollWidth - page.clientWidth"
    assert await browser.script(overflow) == 0
    await browser.screenshot(tmp_path / "narrow.png")
    await browser.click("//button[@aria-label='Preemption of all groups of web']")
    overflow = "const box = document.querySelector('dialog'); return box.scrollWidth - box.clientWidth"
    assert await browser.script(overflow) == 0
    await browser.screenshot(tmp_path / "narrow-dialog.png")


async def other_than(browser: Browser, script: str, before: str) -> bool:
    return bool(await browser.script(script) != before)


async def is_narrow(browser: Browser) -> bool:
    return bool(await browser.script("return innerWidth") == NARROW)
