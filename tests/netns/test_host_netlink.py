"""The kernel's links and addresses, read, removed and watched through a real routing socket."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from ipaddress import ip_address, ip_interface

import pytest
from alone import PATIENCE_S, Namespace, ip, until

from ipfod.addresses import InterfaceAddress
from ipfod.errors import Failed
from ipfod.host.netlink import Host, Netlink


@pytest.fixture(autouse=True)
def namespace() -> Iterator[None]:
    """eth0 with two addresses, eth1 that is down, lo."""
    with Namespace() as namespace, namespace.inside():
        ip("link", "set", "lo", "up")
        ip("link", "add", "eth0", "type", "veth", "peer", "name", "wire")
        ip("link", "add", "eth1", "type", "veth", "peer", "name", "wire1")
        for link in ("eth0", "wire", "eth1"):
            ip("link", "set", link, "addrgenmode", "none")
        for link in ("eth0", "wire"):
            ip("link", "set", link, "up")
        ip("address", "add", "10.0.0.1/24", "dev", "eth0")
        ip("address", "add", "fe80::1/64", "dev", "eth0", "nodad")
        yield


@pytest.fixture
async def netlink() -> AsyncIterator[Netlink]:
    netlink = Netlink()
    await netlink.open()
    yield netlink
    await netlink.close()


def entry(text: str, interface: str = "eth0") -> InterfaceAddress:
    pair = ip_interface(text)
    return InterfaceAddress(interface, pair.ip, pair.network.prefixlen)


def add(*texts: str, interface: str = "eth0") -> None:
    for text in texts:
        ip("address", "add", text, "dev", interface, *(["nodad"] if ":" in text else []))


def add_all(texts: list[str]) -> None:
    batch = "".join(f"address add {text} dev eth0\n" for text in texts)
    subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True, timeout=PATIENCE_S)


def on(host: Host, interface: str = "eth0") -> set[str]:
    return {f"{found.address}/{found.prefix_length}" for found in host.on(interface)}


async def host_when(netlink: Netlink, condition: Callable[[Host], bool]) -> Host:
    """The kernel tells of a carrier that comes or goes a moment later."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition(host := await netlink.host()):
            await asyncio.sleep(0.01)
    return host


OWN = {"10.0.0.1/24", "fe80::1/64"}

# ---------------------------------------------------------------- reading


async def test_links_and_addresses_are_read(netlink: Netlink) -> None:
    host = await host_when(netlink, lambda host: host.running == {"lo", "eth0", "wire"})
    assert host.interfaces == {"lo", "eth0", "eth1", "wire", "wire1"}
    assert on(host) == OWN
    assert on(host, "lo") == {"127.0.0.1/8", "::1/128"}
    assert on(host, "eth1") == on(host, "absent") == set()


async def test_an_interface_without_carrier_does_not_run(netlink: Netlink) -> None:
    ip("link", "set", "wire", "down")
    host = await host_when(netlink, lambda host: "eth0" not in host.running)
    assert "eth0" in host.interfaces
    assert on(host) == OWN


async def test_vips_are_read_in_both_families_with_their_prefix_lengths(netlink: Netlink) -> None:
    add("10.1.0.1/32", "10.0.0.7/24", "fd00::1:1/128", "2001:db8::1/64")
    assert on(await netlink.host()) == OWN | {"10.1.0.1/32", "10.0.0.7/24", "fd00::1:1/128", "2001:db8::1/64"}


async def test_of_a_point_to_point_address_this_hosts_end_is_read(netlink: Netlink) -> None:
    ip("address", "add", "10.9.0.1", "peer", "10.9.0.2/32", "dev", "eth0")
    assert "10.9.0.1/32" in on(await netlink.host())


async def test_thousands_of_addresses_are_read(netlink: Netlink) -> None:
    many = [f"10.2.{number // 250}.{number % 250 + 1}/32" for number in range(2000)]
    add_all(many)
    assert on(await netlink.host()) == OWN | set(many)


# ---------------------------------------------------------------- the default route


async def test_without_a_default_route_there_is_no_default_interface(netlink: Netlink) -> None:
    ip("route", "add", "10.5.0.0/16", "via", "10.0.0.9")
    assert (await netlink.host()).default_interface is None


@pytest.mark.parametrize(
    "route", [("default", "via", "10.0.0.9"), ("default", "dev", "eth0"), ("0.0.0.0/0", "via", "10.0.0.9")]
)
async def test_the_interface_of_the_default_route_is_read(netlink: Netlink, route: tuple[str, ...]) -> None:
    ip("route", "add", *route)
    assert (await netlink.host()).default_interface == "eth0"


async def test_an_ipv6_default_route_counts_where_there_is_no_other(netlink: Netlink) -> None:
    ip("-6", "route", "add", "default", "via", "fe80::9", "dev", "eth0")
    assert (await netlink.host()).default_interface == "eth0"
    ip("route", "add", "default", "dev", "wire")
    assert (await netlink.host()).default_interface == "wire"


async def test_of_several_default_routes_the_one_with_the_lowest_metric_counts(netlink: Netlink) -> None:
    for metric, link in ((300, "eth0"), (100, "wire"), (200, "eth0")):
        ip("route", "add", "default", "dev", link, "metric", str(metric))
    assert (await netlink.host()).default_interface == "wire"
    ip("route", "add", "default", "dev", "eth0")  # without a metric: 0
    assert (await netlink.host()).default_interface == "eth0"


async def test_a_default_route_of_another_table_or_without_an_interface_does_not_count(
    netlink: Netlink,
) -> None:
    ip("route", "add", "default", "dev", "eth0", "table", "100")
    ip("route", "add", "blackhole", "default")
    assert (await netlink.host()).default_interface is None


async def test_a_default_route_over_several_interfaces_counts_by_its_first(netlink: Netlink) -> None:
    ip("route", "add", "default", "nexthop", "dev", "wire", "nexthop", "dev", "eth0")
    assert (await netlink.host()).default_interface == "wire"


# ---------------------------------------------------------------- removing


async def test_addresses_are_taken_off_in_both_families(netlink: Netlink) -> None:
    vips = ("10.1.0.1/32", "fd00::1:1/128", "10.0.0.7/24", "fd00::7/64")
    add(*vips)
    wanted = tuple(entry(text) for text in vips)
    assert await netlink.remove(wanted) == wanted
    assert on(await netlink.host()) == OWN


async def test_what_is_not_there_is_passed_over_and_the_rest_is_taken_off(netlink: Netlink) -> None:
    add("10.1.0.1/32", "fd00::1:1/128")
    found = await netlink.remove(
        [
            entry("10.1.0.99/32"),
            entry("10.1.0.1/32"),
            entry("fd00::1:99/128"),
            entry("10.1.0.1/32", "absent"),
            entry("10.1.0.1/32", "eth1"),
            entry("fd00::1:1/128"),
        ]
    )
    assert found == (entry("10.1.0.1/32"), entry("fd00::1:1/128"))
    assert on(await netlink.host()) == OWN


async def test_it_may_be_done_twice(netlink: Netlink) -> None:
    add("10.1.0.1/32")
    assert await netlink.remove([entry("10.1.0.1/32")]) == (entry("10.1.0.1/32"),)
    assert await netlink.remove([entry("10.1.0.1/32")]) == ()
    assert await netlink.remove([]) == ()


async def test_the_same_address_with_another_prefix_length_is_another_one(netlink: Netlink) -> None:
    add("10.1.0.1/24", "fd00::1:1/64")
    assert await netlink.remove([entry("10.1.0.1/32")]) == ()
    assert "10.1.0.1/24" in on(await netlink.host())


async def test_an_interface_may_be_gone(netlink: Netlink) -> None:
    add("10.1.0.1/32")
    ip("link", "del", "eth0")
    assert await netlink.remove([entry("10.1.0.1/32")]) == ()
    assert "eth0" not in (await netlink.host()).interfaces


async def test_4000_vips_are_taken_off(netlink: Netlink) -> None:
    many = [f"10.2.{number // 250}.{number % 250 + 1}/32" for number in range(4000)]
    add_all(many)
    assert len(await netlink.remove(entry(text) for text in many)) == 4000
    assert on(await netlink.host()) == OWN


async def test_addresses_are_taken_off_without_a_free_descriptor(netlink: Netlink) -> None:
    add("10.1.0.1/32")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            os.open("/dev/null", os.O_RDONLY)
        removed = await netlink.remove([entry("10.1.0.1/32")])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert removed == (entry("10.1.0.1/32"),)
    assert on(await netlink.host()) == OWN


async def test_removing_happens_on_the_worker_with_other_work_between(netlink: Netlink) -> None:
    add("10.1.0.1/32", "10.1.0.2/32")
    names: list[str] = []

    def work() -> int:
        names.append(threading.current_thread().name)
        netlink.remove_now((entry("10.1.0.1/32"),))
        return len(netlink.remove_now((entry("10.1.0.2/32"),)))

    assert await netlink.in_worker(work) == 1
    assert names[0].startswith("netlink")
    assert on(await netlink.host()) == OWN


async def test_a_refused_request_is_an_error_in_words(netlink: Netlink) -> None:
    def refused() -> None:
        raise PermissionError(1, "Operation not permitted")

    with pytest.raises(Failed, match=r"routing socket: the kernel refused a request: .*not permitted"):
        await netlink.in_worker(refused)


# ---------------------------------------------------------------- being woken


class Watch:
    """A `Netlink` that counts how often it was told of a change."""

    def __init__(self) -> None:
        self.netlink = Netlink()
        self.told = 0

    def changed(self) -> None:
        self.told += 1

    async def wakes(self, *change: str) -> None:
        before = self.told
        ip(*change)
        await until(lambda: self.told > before, f"a wake-up after ip {' '.join(change)}")
        await asyncio.sleep(0.02)


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    watch = Watch()
    await watch.netlink.open(watch.changed)
    yield watch
    await watch.netlink.close()


async def test_every_change_of_addresses_and_links_wakes(watch: Watch) -> None:
    await watch.wakes("address", "add", "10.1.0.1/32", "dev", "eth0")
    await watch.wakes("address", "del", "10.1.0.1/32", "dev", "eth0")
    await watch.wakes("address", "add", "fd00::1:1/128", "dev", "eth0", "nodad")
    await watch.wakes("address", "del", "fd00::1:1/128", "dev", "eth0")
    await watch.wakes("link", "set", "wire", "down")
    await watch.wakes("link", "set", "wire", "up")
    await watch.wakes("link", "add", "eth2", "type", "veth", "peer", "name", "wire2")
    await watch.wakes("link", "del", "eth2")


async def test_its_own_removals_wake_too(watch: Watch) -> None:
    add("10.1.0.1/32")
    await until(lambda: watch.told > 0, "the address that was added")
    before = watch.told
    await watch.netlink.remove([entry("10.1.0.1/32")])
    await until(lambda: watch.told > before, "the address that was removed")


async def test_nothing_wakes_where_nothing_changes(watch: Watch) -> None:
    await asyncio.sleep(0.05)
    before = watch.told
    await watch.netlink.host()
    await watch.netlink.remove([entry("10.1.0.99/32")])
    await asyncio.sleep(0.1)
    assert watch.told == before


async def test_more_changes_than_the_socket_can_hold_are_just_another_wake_up(watch: Watch) -> None:
    many = [f"10.2.{number // 250}.{number % 250 + 1}/32" for number in range(3000)]
    # The loop stands still meanwhile: the socket overflows (ENOBUFS).
    add_all(many)
    await until(lambda: watch.told > 0, "a wake-up")
    assert len(on(await watch.netlink.host())) == 3002
    await watch.wakes("address", "add", "10.1.0.1/32", "dev", "eth0")


async def test_the_truth_is_read_while_everything_changes(watch: Watch) -> None:
    """A dump that a change has cut short is made again."""
    many = [f"10.2.{number // 250}.{number % 250 + 1}/32" for number in range(2000)]
    batch = "".join(f"address {verb} {text} dev eth0\n" for verb in ("add", "del") for text in many)
    process = await asyncio.create_subprocess_exec("ip", "-batch", "-", stdin=asyncio.subprocess.PIPE)
    changing = asyncio.create_task(process.communicate(batch.encode()))
    seen = [on(await watch.netlink.host())]
    while not changing.done():
        seen.append(on(await watch.netlink.host()))
    await changing
    assert process.returncode == 0
    assert all(found >= OWN for found in seen), "what did not change was missing"
    assert on(await watch.netlink.host()) == OWN


async def test_closing_leaves_nothing_open() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    threads = threading.active_count()
    for _ in range(3):
        watch = Watch()
        await watch.netlink.open(watch.changed)
        await watch.netlink.close()
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert threading.active_count() == threads


async def test_what_is_removed_is_what_was_asked_for_and_nothing_else(netlink: Netlink) -> None:
    add("10.1.0.1/32", interface="wire")
    add("10.1.0.1/32")
    await netlink.remove([InterfaceAddress("eth0", ip_address("10.1.0.1"), 32)])
    host = await netlink.host()
    assert on(host, "wire") == {"10.1.0.1/32"}
    assert on(host) == OWN
