"""The service on a real bus, asked by busctl and gdbus."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from xml.etree import ElementTree

import pytest
from bus_harness import (
    GROUP_1,
    MISSING_CHAIN,
    NAME,
    NOBODY,
    OBJECTS,
    REPOSITORY,
    ROOT,
    VIP_10,
    Daemon,
    World,
    busctl,
    failover,
    gdbus,
    node_with,
    private_bus,
    run,
    serving,
)

import ipfod
from ipfod.bus.service import Service
from ipfod.errors import Failed, InvalidConfiguration
from ipfod.node.events import (
    InstanceReported,
    KeepalivedChanged,
    ProblemsSeen,
)
from ipfod.node.model import KeepalivedState, State
from ipfod.node.node import Node
from ipfod.plan.model import GroupKey

world = serving

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owning the name on a system bus needs root")


def members(interface: ElementTree.Element) -> set[tuple[str, ...]]:
    """Kind, name and everything else that a client relies on, of each member."""
    found = set()
    for member in interface.iter():
        if member.tag in ("method", "signal"):
            way = "in" if member.tag == "method" else "out"
            arguments = [
                "{name}:{type}:{direction}".format(**{"direction": way, **argument.attrib})
                for argument in member.iter("arg")
            ]
            found.add((member.tag, member.attrib["name"], *arguments))
        elif member.tag == "property":
            notes = [f"{note.attrib['name']}={note.attrib['value']}" for note in member.iter("annotation")]
            found.add(
                (member.tag, member.attrib["name"], member.attrib["type"], member.attrib["access"], *notes)
            )
    return found


async def introspected(path: str) -> ElementTree.Element:
    text = await busctl("--json=short", "call", NAME, path, "org.freedesktop.DBus.Introspectable", "Introspect")
    return ElementTree.fromstring(json.loads(text)["data"][0])


async def test_the_interface_files_say_what_the_service_has(world: World) -> None:
    for short, path in OBJECTS.items():
        [written] = ElementTree.parse(REPOSITORY / "dbus" / f"{NAME}.{short}.xml").iter("interface")
        node = await introspected(path)
        own = [each for each in node.iter("interface") if each.attrib["name"].startswith(NAME)]
        assert [each.attrib["name"] for each in own] == [f"{NAME}.{short}"] == [written.attrib["name"]]
        assert members(own[0]) == members(written)
        assert members(written)


async def test_busctl_sees_the_whole_tree(world: World) -> None:
    tree = (await busctl("tree", "--list", NAME)).split()
    for path in (*OBJECTS.values(), f"{ROOT}/failover", f"{ROOT}/failover/web/group/_33", f"{ROOT}/vip"):
        assert path in tree
    assert len([path for path in tree if path.startswith(f"{ROOT}/vip/")]) == 3


async def test_busctl_and_gdbus_introspect_every_kind_of_object(world: World) -> None:
    for short, path in OBJECTS.items():
        assert f"{NAME}.{short}" in await busctl("introspect", NAME, path, user=NOBODY)
        assert f"interface {NAME}.{short}" in await gdbus("introspect", "--dest", NAME, "--object-path", path)
    assert "vip" in await gdbus("introspect", "--dest", NAME, "--object-path", ROOT, "--recurse")


async def test_properties_are_the_nodes_state_when_asked(world: World) -> None:
    get = ("get-property", NAME, GROUP_1, f"{NAME}.Group")
    assert await busctl(*get, "State", "VirtualRouterID", "VirtualIPs", user=NOBODY) == (
        's "unknown"\ny 11\nas 1 "192.168.3.10"\n'
    )
    world.node.apply(InstanceReported("web", "web_VIP_1", State.MASTER, 250), 5_000_000)
    assert await busctl(*get, "State", "Priority", "Since") == 's "master"\ny 250\nt 5000000\n'
    assert await busctl("get-property", NAME, VIP_10, f"{NAME}.VirtualIP", "State", "Group") == (
        f's "master"\no "{GROUP_1}"\n'
    )
    values = await gdbus(
        "call", "--dest", NAME, "--object-path", ROOT, "--method",
        "org.freedesktop.DBus.Properties.GetAll", f"{NAME}.Manager",
    )  # fmt: skip
    assert "'NodeName': <'node-a'>" in values
    assert f"'Version': <'{ipfod.__version__}'>" in values


async def test_managed_objects_are_all_below_the_manager(world: World) -> None:
    call = (NAME, ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
    [objects] = json.loads(await busctl("--json=short", "call", *call, user=NOBODY))["data"]
    assert sorted(objects) == sorted(
        [
            f"{ROOT}/failover/web",
            *(f"{ROOT}/failover/web/group/_3{index}" for index in (1, 2, 3)),
            VIP_10,
            f"{ROOT}/vip/_3192_2e168_2e3_2e11",
            f"{ROOT}/vip/_32001_3adb8_3a_3a1",
        ]
    )
    assert objects[VIP_10] == {
        f"{NAME}.VirtualIP": {
            "Address": {"type": "s", "data": "192.168.3.10"},
            "State": {"type": "s", "data": "unknown"},
            "Master": {"type": "s", "data": ""},
            "Group": {"type": "o", "data": GROUP_1},
            "Held": {"type": "b", "data": False},
            "Since": {"type": "t", "data": 1_000_000},
        }
    }


async def test_manager_finds_virtual_ips_by_address(world: World) -> None:
    find = ("call", NAME, ROOT, f"{NAME}.Manager", "FindVirtualIP", "s")
    assert await busctl(*find, "192.168.3.10", user=NOBODY) == f'o "{VIP_10}"\n'
    assert await busctl(*find, "2001:DB8:0::1") == f'o "{ROOT}/vip/_32001_3adb8_3a_3a1"\n'
    call = ("call", "--dest", NAME, "--object-path", ROOT, "--method", f"{NAME}.Manager.FindVirtualIP")
    assert "Error.NotFound: 10.9.9.9 is not a virtual IP" in await gdbus(*call, "10.9.9.9", ok=False)
    assert "DBus.Error.InvalidArgs: 'web' is not an IPv4" in await gdbus(*call, "web", ok=False)


async def test_history_is_newest_first_and_limited(world: World) -> None:
    for usec, state in enumerate((State.BACKUP, State.MASTER, State.FAULT), start=7):
        world.node.apply(InstanceReported("web", "web_VIP_1", state, 250, usec=usec), usec)

    async def history(limit: int) -> list[dict[str, dict[str, object]]]:
        call = (NAME, ROOT, f"{NAME}.Manager", "GetHistory", "u", str(limit))
        entries = json.loads(await busctl("--json=short", "call", *call))["data"][0]
        assert isinstance(entries, list)
        return entries

    assert [entry["new"]["data"] for entry in await history(0)] == ["fault", "master", "backup"]
    [last] = await history(1)
    assert {key: value["data"] for key, value in last.items() if key != "reason"} == {
        "group": GROUP_1,
        "name": "web_VIP_1",
        "old": "master",
        "new": "fault",
        "usec": 9,
    }


async def test_description_is_the_whole_node_in_snake_case(world: World) -> None:
    world.apply(
        KeepalivedChanged("web", KeepalivedState.RUNNING, 42, "started"),
        ProblemsSeen("firewall", (MISSING_CHAIN,)),
        usec=3,
    )
    text = await busctl("--json=short", "call", NAME, ROOT, f"{NAME}.Manager", "Describe", user=NOBODY)
    document = json.loads(json.loads(text)["data"][0])
    [web] = document["failovers"]
    assert (document["version"], document["node_name"]) == (ipfod.__version__, "node-a")
    assert document["problems"] == [
        {
            "code": "firewall-chain-missing",
            "object": "web",
            "text": "web: no chain INPUT",
            "hint": "create it, or set firewall_chain",
            "since": 3,
        }
    ]
    assert (web["keepalived_pid"], web["keepalived_state"]) == (42, "running")
    assert web["virtual_ips"] == ["192.168.3.10", "192.168.3.11", "2001:db8::1"]
    assert web["groups"][0] == {
        "name": "web_VIP_1",
        "state": "unknown",
        "state_reason": "waiting for keepalived",
        "master": "",
        "failover": "web",
        "virtual_router_id": 11,
        "priority": world.node.groups[GroupKey("web", 1)].priority,
        "since": 1_000_000,
        "virtual_ips": ["192.168.3.10"],
        "preemption": "preempt_delay 300",
        "preemption_origin": "configuration",
    }
    assert document["virtual_ips"][2] == {
        "address": "2001:db8::1",
        "state": "unknown",
        "master": "",
        "group": "web_VIP_3",
        "held": False,
        "since": 1_000_000,
    }


# ---------------------------------------------------------------- changing


async def test_root_may_reload(world: World) -> None:
    await busctl("call", NAME, ROOT, f"{NAME}.Manager", "Reload")
    assert world.daemon.reloads == 1


async def test_others_may_not_reload(world: World) -> None:
    call = ("call", "--dest", NAME, "--object-path", ROOT, "--method", f"{NAME}.Manager.Reload")
    refused = await gdbus(*call, user=NOBODY, ok=False)
    assert "org.freedesktop.DBus.Error.AccessDenied: org.ipfod.Ipfod1.reload: only root may do this" in refused
    assert "denied" in await busctl("call", NAME, ROOT, f"{NAME}.Manager", "Reload", user=NOBODY, ok=False)
    assert world.daemon.reloads == 0


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (
            InvalidConfiguration("web.toml:1: x: y"),
            "org.ipfod.Ipfod1.Error.InvalidConfiguration: web.toml:1: x: y",
        ),
        (
            Failed("keepalived: not found", hint="install it"),
            "Error.Failed: keepalived: not found (install it)",
        ),
        (Failed("bad \udcff\0text"), "Error.Failed: bad ?\N{REPLACEMENT CHARACTER}text"),
        (KeyError("/secret/place.py"), "Error.Failed: /org/ipfod/Ipfod1 Reload: internal error"),
    ],
)
async def test_a_failed_reload_is_an_error_without_traceback(
    world: World, error: Exception, answer: str
) -> None:
    world.daemon.error = error
    call = ("call", "--dest", NAME, "--object-path", ROOT, "--method", f"{NAME}.Manager.Reload")
    told = await gdbus(*call, ok=False)
    assert answer in told
    assert "Traceback" not in told
    assert ".py" not in told


async def test_a_long_reload_holds_up_nobody(world: World) -> None:
    world.daemon.hold.clear()
    reload = asyncio.create_task(busctl("call", NAME, ROOT, f"{NAME}.Manager", "Reload"))
    assert await busctl("get-property", NAME, ROOT, f"{NAME}.Manager", "NodeName") == 's "node-a"\n'
    assert not reload.done()
    world.daemon.hold.set()
    await reload


# ---------------------------------------------------------------- wrong calls


@pytest.mark.parametrize(
    ("path", "method", "arguments", "error"),
    [
        (f"{ROOT}/vip/_31", "org.freedesktop.DBus.Peer.Ping", (), "UnknownObject"),
        (f"{ROOT}/nowhere", "org.freedesktop.DBus.Introspectable.Introspect", (), "UnknownObject"),
        (ROOT, f"{NAME}.Manager.Explode", (), "UnknownMethod"),
        (ROOT, f"{NAME}.Group.Explode", (), "UnknownInterface"),
        (GROUP_1, "org.freedesktop.DBus.ObjectManager.GetManagedObjects", (), "UnknownInterface"),
        (ROOT, f"{NAME}.Manager.FindVirtualIP", ("uint32 7",), "InvalidArgs"),
        (ROOT, "org.freedesktop.DBus.Properties.Get", (f"{NAME}.Manager", "Nothing"), "UnknownProperty"),
        (ROOT, "org.freedesktop.DBus.Properties.Get", ("no.such", "Version"), "UnknownInterface"),
        (
            ROOT,
            "org.freedesktop.DBus.Properties.Set",
            (f"{NAME}.Manager", "Version", "<'9'>"),
            "PropertyReadOnly",
        ),
        (
            ROOT,
            "org.freedesktop.DBus.Properties.Set",
            (f"{NAME}.Manager", "Nothing", "<'9'>"),
            "UnknownProperty",
        ),
    ],
)
async def test_a_wrong_call_gets_the_standard_error(
    world: World, path: str, method: str, arguments: tuple[str, ...], error: str
) -> None:
    # gdbus types arguments by introspection; without any it guesses, which is what is wanted here
    told = await gdbus("call", "--dest", NAME, "--object-path", path, "--method", method, *arguments, ok=False)
    assert f"org.freedesktop.DBus.Error.{error}: " in told


async def test_peer_answers_on_every_node(world: World) -> None:
    for path in ("/", ROOT, f"{ROOT}/failover", VIP_10):
        await busctl("call", NAME, path, "org.freedesktop.DBus.Peer", "Ping", user=NOBODY)
    machine_id = await busctl("call", NAME, ROOT, "org.freedesktop.DBus.Peer", "GetMachineId")
    assert machine_id == await busctl("call", NAME, ROOT, "org.freedesktop.DBus.Peer", "GetMachineId")


# ---------------------------------------------------------------- beginning and end


async def test_a_second_ipfod_is_refused_and_told_why(world: World) -> None:
    second = Service(Node("node-b"), Daemon())
    with pytest.raises(Failed, match="the name is taken") as told:
        await second.start()
    assert "another ipfod" in told.value.hint
    assert await busctl("get-property", NAME, ROOT, f"{NAME}.Manager", "NodeName") == 's "node-a"\n'


async def test_no_bus_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for address, what in (
        ("unix:path=/nonexistent/socket", "No such file"),
        ("tcp:host=localhost,port=1", "names no Unix socket"),
        ("nonsense", "did not contain a transport"),
    ):
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        with pytest.raises(Failed, match=what) as told:
            await Service(Node("a"), Daemon()).start()
        assert told.value.text.startswith(address)
        assert told.value.hint


async def test_without_the_policy_the_name_is_refused_with_a_hint() -> None:
    # nobody may own the name: the same refusal that root gets where the policy is not installed
    with private_bus():
        script = (
            "import asyncio, ipfod.bus.service as s, ipfod.node.node as n\n"
            "from ipfod.errors import Failed\n"
            "try: asyncio.run(s.Service(n.Node('a'), None).start())\n"
            "except Failed as error: print(error)"
        )
        told = await run(sys.executable, "-c", script, user=NOBODY)
    assert "org.ipfod.Ipfod1: the message bus refuses the name: " in told
    assert "(run ipfod as root, with its bus policy installed as " in told


async def test_the_loss_of_the_bus_is_seen() -> None:
    with private_bus() as daemon:
        service = Service(node_with(failover()), Daemon())
        await service.start()
        lost = asyncio.create_task(service.wait_lost())
        await busctl("status", NAME)
        assert not lost.done()
        daemon.kill()
        async with asyncio.timeout(5):
            await lost
        service.publish(
            Node("x").apply(ProblemsSeen("a", (MISSING_CHAIN,)), 1)
        )  # nobody hears it, nothing breaks
        await service.stop()
        await service.stop()
