"""What the Cockpit page makes of answers and signals in an order that only chance brings about on a node.

The page is served as it is. In the place of Cockpit's own base1/cockpit.js is one that answers when the test
says so.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio
from scenario import until

from ipfod.lab.machine import Machine
from node.browser import Browser
from node.package import ROOT

PORT = 8000
PAGE = f"http://127.0.0.1:{PORT}/ipfod/index.html"
COCKPIT = """
const listeners = {};
window.asked = [];
window.owner = name => listeners.owner(null, name);
window.cockpit = {
    permission: () => ({ allowed: true, addEventListener: (_, tell) => setTimeout(tell) }),
    dbus: () => ({
        addEventListener: (kind, tell) => { listeners[kind] = tell; },
        subscribe: (_, tell) => { window.signal = tell; },
        call: (path, face, member) =>
            new Promise((answer, refuse) => window.asked.push({ member, answer, refuse })),
        close: () => {},
    }),
};
"""
MANAGER = "org.ipfod.Ipfod1.Manager"
PROBLEM = {"code": "check-failing", "object": "web", "text": "port 80 refused", "hint": "mend it", "since": 1}


def values(**given: Any) -> dict[str, Any]:
    """Properties as Cockpit hands them over."""
    return {name: {"v": value} for name, value in given.items()}


NODE = values(Version="0.1.0", NodeName="node1", Maintenance=False, MaintenanceUntil=0, Problems=[])


@pytest_asyncio.fixture(loop_scope="session")
async def page(tmp_path: Path) -> AsyncIterator[Browser]:
    """The page in a browser, connected to a node on which ipfod has just come."""
    shutil.copytree(ROOT / "cockpit", tmp_path / "ipfod")
    (tmp_path / "base1").mkdir()
    (tmp_path / "base1/cockpit.js").write_text(COCKPIT)
    async with Machine("desk") as desk:
        await desk.run(["ip", "link", "set", "lo", "up"], check=True)
        server = ["-m", "http.server", str(PORT), "--bind", "127.0.0.1", "--directory", str(tmp_path)]
        await desk.spawn([sys.executable, *server], name="web server")

        async def serves() -> bool:
            return bool((await desk.run(["ss", "-Hltn", f"sport = :{PORT}"], check=True)).stdout)

        await until(serves, what="the page is served")
        async with Browser(desk) as browser:
            await browser.visit(PAGE)
            await until(lambda: browser.script("return Boolean(window.signal)"), what="the page listens")
            await browser.script("owner(':1.1')")
            yield browser


async def answer(page: Browser, member: str, body: list[Any]) -> None:
    """Answer the last question for a member, once it was asked."""
    last = f"asked.findLast(each => each.member === '{member}')"
    await until(lambda: page.script(f"return Boolean({last})"), what=f"{member} is asked for")
    await page.script(f"{last}.answer(JSON.parse(arguments[0]))", json.dumps(body))


async def says(page: Browser, text: str, selector: str) -> None:
    async def said() -> bool:
        return text in await page.text(selector)

    await until(said, what=f"{selector} says {text!r}")


async def test_a_problem_that_comes_between_the_two_answers_is_shown(page: Browser) -> None:
    await answer(page, "GetAll", [NODE])
    changed = [MANAGER, values(Problems=[values(**PROBLEM)]), []]
    call = "signal('/org/ipfod/Ipfod1', 'org.freedesktop.DBus.Properties', 'PropertiesChanged', arguments[0])"
    await page.script(call, changed)
    await answer(page, "GetManagedObjects", [{}])
    await says(page, "node1", "#title")
    await says(page, "web: check-failing", "#problems")


async def test_a_question_that_is_refused_is_asked_again(page: Browser) -> None:
    await until(lambda: page.script("return asked.length === 2"), what="the page has asked")
    await page.script("asked.splice(0).forEach(each => each.refuse({ message: 'too many calls' }))")
    await says(page, "ipfod is not there", "#absent")
    await answer(page, "GetAll", [NODE])
    await answer(page, "GetManagedObjects", [{}])
    await says(page, "node1", "#title")
