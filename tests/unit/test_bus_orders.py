"""The methods that change something: what reaches the daemon, who may call them, what an error becomes."""

from __future__ import annotations

import json
import os

import pytest
from bus_harness import GROUP_1, NAME, NOBODY, ROOT, World, busctl, gdbus, serving

from ipfod.bus.interfaces import FAILOVER, GROUP, MANAGER, VIRTUAL_IP
from ipfod.errors import Busy, Failed, InvalidRequest, IpfodError, NoSuccessor, NotFound
from ipfod.node.events import MaintenanceOrdered
from ipfod.node.orders import Maintenance
from ipfod.plan.model import GroupKey
from ipfod.plan.planning import WHOLE_FAILOVER

world = serving

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owning the name on a system bus needs root")

WEB = f"{ROOT}/failover/web"
THIRD = f"{WEB}/group/_33"

# path, interface, method, signature and arguments, what the daemon is asked for, the action
ORDERS: tuple[tuple[str, str, str, tuple[str, ...], tuple[object, ...], str], ...] = (
    (ROOT, "Manager", "Reload", (), ("reload",), "reload"),
    (
        ROOT,
        "Manager",
        "EnterMaintenance",
        ("st", "new \N{LATIN SMALL LETTER E WITH ACUTE} disk", "1700000000000000"),
        ("enter_maintenance", "new \N{LATIN SMALL LETTER E WITH ACUTE} disk", 1_700_000_000_000_000),
        "maintenance",
    ),
    (ROOT, "Manager", "EnterMaintenance", ("st", "", "0"), ("enter_maintenance", "", 0), "maintenance"),
    (ROOT, "Manager", "LeaveMaintenance", (), ("leave_maintenance",), "maintenance"),
    (
        WEB,
        "Failover",
        "SetPreemption",
        ("s", "preempt_delay 60"),
        ("set_preemption", "web", WHOLE_FAILOVER, "preempt_delay 60"),
        "preemption",
    ),
    (WEB, "Failover", "ResetPreemption", (), ("reset_preemption", "web", WHOLE_FAILOVER), "preemption"),
    (THIRD, "Group", "SetPreemption", ("s", "\x7f?"), ("set_preemption", "web", 3, "\x7f?"), "preemption"),
    (THIRD, "Group", "ResetPreemption", (), ("reset_preemption", "web", 3), "preemption"),
    (
        GROUP_1,
        "Group",
        "StepDown",
        ("u", "4294967295"),
        ("step_down", GroupKey("web", 1), 2**32 - 1, "uid 0"),
        "switchover",
    ),
    (THIRD, "Group", "TakeOver", (), ("take_over", GroupKey("web", 3), "uid 0"), "switchover"),
    (GROUP_1, "Group", "SendGratuitousARP", (), ("send_gratuitous_arp", GroupKey("web", 1)), "switchover"),
)
order = pytest.mark.parametrize(
    ("path", "interface", "method", "arguments", "asked", "action"),
    ORDERS,
    ids=[f"{row[1]}.{row[2]}-{number}" for number, row in enumerate(ORDERS)],
)


def test_every_method_that_changes_something_is_among_these() -> None:
    telling = {"FindVirtualIP", "GetHistory", "Describe"}
    changing = {
        (interface.name.rpartition(".")[2], method.name)
        for interface in (MANAGER, FAILOVER, GROUP, VIRTUAL_IP)
        for method in interface.methods
        if method.name not in telling
    }
    assert {(row[1], row[2]) for row in ORDERS} == changing


@order
async def test_root_s_order_reaches_the_daemon_without_polkit(
    world: World,
    path: str,
    interface: str,
    method: str,
    arguments: tuple[str, ...],
    asked: tuple[object, ...],
    action: str,
) -> None:
    answer = await busctl("call", NAME, path, f"{NAME}.{interface}", method, *arguments)
    assert world.daemon.orders == [asked]
    assert answer == ("as 0\n" if method == "EnterMaintenance" else "")


@order
async def test_nobody_else_s_does_without_polkit(
    world: World,
    path: str,
    interface: str,
    method: str,
    arguments: tuple[str, ...],
    asked: tuple[object, ...],
    action: str,
) -> None:
    signature, *values = arguments or ("",)
    typed = [f"'{value}'" if kind == "s" else value for kind, value in zip(signature, values, strict=True)]
    call = ("call", "--dest", NAME, "--object-path", path, "--method", f"{NAME}.{interface}.{method}")
    refused = await gdbus(*call, *typed, user=NOBODY, ok=False)
    why = f"{NAME}.{action}: only root may do this while polkit does not answer"
    assert f"GDBus.Error:org.freedesktop.DBus.Error.AccessDenied: {why}" in refused
    assert world.daemon.orders == []


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (
            NoSuccessor("web_VIP_1: no other node took over; this one keeps it", hint="look there"),
            f"{NAME}.Error.NoSuccessor: web_VIP_1: no other node took over; this one keeps it (look there)",
        ),
        (Busy("web_VIP_1: it is being moved just now"), f"{NAME}.Error.Busy: web_VIP_1: it is being moved"),
        (
            InvalidRequest("'x' is not a preemption policy"),
            "org.freedesktop.DBus.Error.InvalidArgs: 'x' is not a preemption policy",
        ),
        (NotFound("web: there is no group 9"), f"{NAME}.Error.NotFound: web: there is no group 9"),
        (Failed("web_VIP_1: it does not run"), f"{NAME}.Error.Failed: web_VIP_1: it does not run"),
        (IpfodError("something of a kind to come"), f"{NAME}.Error.Failed: something of a kind to come"),
        (RuntimeError("secret"), f"{NAME}.Error.Failed: {GROUP_1} StepDown: internal error (see: journalctl"),
    ],
)
async def test_errors_keep_their_kind_and_text(world: World, error: Exception, answer: str) -> None:
    world.daemon.error = error
    call = ("call", "--dest", NAME, "--object-path", GROUP_1, "--method", f"{NAME}.Group.StepDown", "300")
    told = await gdbus(*call, ok=False)
    assert f"GDBus.Error:{answer}" in told
    assert "secret" not in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("path", "interface", "method", "arguments"),
    [
        (GROUP_1, "Group", "StepDown", ()),
        (GROUP_1, "Group", "StepDown", ("i", "300")),
        (GROUP_1, "Group", "StepDown", ("us", "300", "x")),
        (GROUP_1, "Group", "TakeOver", ("u", "300")),
        (GROUP_1, "Group", "SendGratuitousARP", ("s", "eth0")),
        (GROUP_1, "Group", "SetPreemption", ("as", "1", "preempt")),
        (WEB, "Failover", "SetPreemption", ()),
        (WEB, "Failover", "ResetPreemption", ("s", "preempt")),
        (ROOT, "Manager", "EnterMaintenance", ("s", "disk")),
        (ROOT, "Manager", "EnterMaintenance", ("su", "disk", "0")),
        (ROOT, "Manager", "LeaveMaintenance", ("b", "true")),
    ],
)
async def test_arguments_of_another_type_are_refused_before_anybody_is_asked(
    world: World, path: str, interface: str, method: str, arguments: tuple[str, ...]
) -> None:
    refused = await busctl("call", NAME, path, f"{NAME}.{interface}", method, *arguments, ok=False)
    assert f"{path}: {method} takes " in refused
    assert world.daemon.orders == []


@pytest.mark.parametrize(
    ("path", "method", "error"),
    [
        (f"{WEB}/group/_39", f"{NAME}.Group.TakeOver", "UnknownObject"),
        (f"{ROOT}/failover/nix", f"{NAME}.Failover.ResetPreemption", "UnknownObject"),
        (WEB, f"{NAME}.Group.TakeOver", "UnknownInterface"),
        (GROUP_1, f"{NAME}.Failover.ResetPreemption", "UnknownInterface"),
        (WEB, f"{NAME}.Failover.StepDown", "UnknownMethod"),
        (ROOT, f"{NAME}.Manager.SetPreemption", "UnknownMethod"),
    ],
)
async def test_an_order_to_the_wrong_object_is_refused(
    world: World, path: str, method: str, error: str
) -> None:
    told = await gdbus("call", "--dest", NAME, "--object-path", path, "--method", method, ok=False)
    assert f"org.freedesktop.DBus.Error.{error}: " in told
    assert world.daemon.orders == []


# ---------------------------------------------------------------- maintenance as others see it


async def test_entering_maintenance_answers_a_warning_for_each_group_that_nobody_took(world: World) -> None:
    world.daemon.warnings = ("web_VIP_1: no other node took over", "web_VIP_2: a \udcff byte")
    call = ("call", NAME, ROOT, f"{NAME}.Manager", "EnterMaintenance", "st", "disk", "0")
    [warnings] = json.loads(await busctl("--json=short", *call))["data"]
    assert warnings == ["web_VIP_1: no other node took over", "web_VIP_2: a ? byte"]


async def maintenance() -> str:
    get = ("get-property", NAME, ROOT, f"{NAME}.Manager")
    return await busctl(*get, "Maintenance", "MaintenanceReason", "MaintenanceUntil", user=NOBODY)


async def test_maintenance_is_three_properties_for_everyone_and_their_changes_are_told(world: World) -> None:
    assert await maintenance() == 'b false\ns ""\nt 0\n'
    async with world.watched_by_gdbus("--object-path", ROOT) as watcher:
        world.apply(MaintenanceOrdered(Maintenance("new disk", 1_700_000_000_000_000, 1)))
        told = await watcher.until("PropertiesChanged", "Maintenance")
        assert f"('{NAME}.Manager', " in told
        for part in (
            "'Maintenance': <true>",
            "'MaintenanceReason': <'new disk'>",
            "'MaintenanceUntil': <uint64 1700000000000000>",
        ):
            assert part in told
        assert "Problems" not in told
        assert await maintenance() == 'b true\ns "new disk"\nt 1700000000000000\n'
        world.apply(MaintenanceOrdered(None))
        assert "'Maintenance': <false>" in await watcher.until("PropertiesChanged", "Maintenance")
    assert await maintenance() == 'b false\ns ""\nt 0\n'


async def test_the_description_has_maintenance_under_the_properties_names(world: World) -> None:
    world.apply(MaintenanceOrdered(Maintenance("disk", 7, 1)))
    call = ("call", NAME, ROOT, f"{NAME}.Manager", "Describe")
    document = json.loads(json.loads(await busctl("--json=short", *call))["data"][0])
    names = ("maintenance", "maintenance_reason", "maintenance_until")
    assert [document[name] for name in names] == [True, "disk", 7]
