"""Problems that a node reports, one by one."""

from __future__ import annotations

from typing import Any

from scenario import status, until

from ipfod.lab.node import Node


async def problem(node: Node, code: str) -> dict[str, Any]:
    """The one problem of a code, {} if there is none."""
    found = [each for each in (await status(node))["problems"] if each["code"] == code]
    assert len(found) <= 1, found
    return found[0] if found else {}


async def raised(node: Node, code: str) -> dict[str, Any]:
    async def there() -> bool:
        return bool(await problem(node, code))

    await until(there, what=f"{node.name} reports {code}")
    return await problem(node, code)


async def cleared(node: Node, code: str) -> None:
    async def gone() -> bool:
        return not await problem(node, code)

    await until(gone, what=f"{node.name} no longer reports {code}")


def times_raised(node: Node, code: str) -> int:
    return node.log().count(f"{code}: ")
