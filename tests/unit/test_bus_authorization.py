"""Who may: what is asked of polkit, what its answers mean, and callers that leave before it has answered.

A small service of the tests' own has polkit's name on the private bus; the real one is met on booted nodes.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from bus_harness import GROUP_1, NAME, NOBODY, ROOT, World, becoming, busctl, gdbus, serving
from dbus_next.constants import MessageType
from dbus_next.message import Message
from dbus_next.signature import Variant

from ipfod.bus import authorization
from ipfod.bus.connection import Connection, bus_call, system_bus_address
from ipfod.bus.server import RUNNING_PER_CALLER_MAX
from ipfod.plan.model import GroupKey

world = serving

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owning the name on a system bus needs root")

PATIENCE_S = 10.0
POLKIT = "org.freedesktop.PolicyKit1"
ASKED_SIGNATURE = "(sa{sv})sa{ss}us"  # polkit's D-Bus reference, Authority.CheckAuthorization
CALL = ("call", "--dest", NAME, "--object-path", GROUP_1, "--method", f"{NAME}.Group.TakeOver")
TASKS = ("D-Bus TakeOver", "polkit ", "caller of polkit ")  # names of those that a call may have


class Polkit:
    """The name and the two methods of polkit that ipfod calls; answers as told, or not at all."""

    def __init__(self) -> None:
        self.answer: tuple[str, list[object]] | None = ("(bba{ss})", [[True, False, {}]])
        self.asked: list[Message] = []
        self.cancelled: list[str] = []
        self._changed = asyncio.Event()
        self._bus: Connection

    async def start(self) -> None:
        self._bus = await Connection.open(system_bus_address(), self._take)
        [answer] = await self._bus.call(bus_call("RequestName", "su", POLKIT, 4), timeout_s=PATIENCE_S)
        assert answer == 1

    async def stop(self) -> None:
        await self._bus.aclose()

    def allows(self, authorized: bool, *, challenge: bool = False) -> None:
        self.answer = ("(bba{ss})", [[authorized, challenge, {}]])

    def is_silent(self) -> None:
        self.answer = None

    def answer_all(self) -> None:
        """What a silent polkit has kept to itself."""
        assert self.answer is not None
        for message in self.asked:
            self._bus.reply(message, *self.answer)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def _take(self, message: Message) -> None:
        if message.message_type is not MessageType.METHOD_CALL:
            return
        assert message.path == "/org/freedesktop/PolicyKit1/Authority"
        assert message.interface == f"{POLKIT}.Authority"
        if message.member == "CancelCheckAuthorization":
            assert message.signature == "s"
            self.cancelled.append(message.body[0])
            self._bus.reply(message, "", [])
        else:
            assert message.member == "CheckAuthorization"
            self.asked.append(message)
            if self.answer is not None:
                self._bus.reply(message, *self.answer)
        self._changed.set()


@pytest_asyncio.fixture
async def polkit(world: World) -> AsyncIterator[Polkit]:
    made = Polkit()
    await made.start()
    yield made
    await made.stop()


@asynccontextmanager
async def calling(*more: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A user's call that waits for its answer, until it is killed."""
    argv = ("busctl", "--system", *more, "call", NAME, GROUP_1, f"{NAME}.Group", "TakeOver")
    process = await asyncio.create_subprocess_exec(
        *becoming(NOBODY),
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def until_nothing_is_left(world: World) -> None:
    """No task of a call or a question, and nobody's end is waited for."""
    connection = world.service._connection
    assert connection is not None
    async with asyncio.timeout(PATIENCE_S):
        while any(task.get_name().startswith(TASKS) for task in asyncio.all_tasks()):
            await asyncio.sleep(0.01)
    assert connection._awaited == {}
    assert connection._waiting == {}
    assert not world.service._server._callers


# ---------------------------------------------------------------- questions and answers


async def test_polkit_is_asked_about_the_caller_on_the_bus_and_the_action(world: World, polkit: Polkit) -> None:
    assert await gdbus(*CALL, user=NOBODY) == "()\n"
    [asked] = polkit.asked
    assert asked.signature == ASKED_SIGNATURE
    [kind, subject], action, details, flags, question = asked.body
    assert kind == "system-bus-name"
    assert subject.keys() == {"name"}
    assert subject["name"].signature == "s"
    assert subject["name"].value.startswith(":1.")
    assert (action, details) == (f"{NAME}.switchover", {})
    assert flags == 0  # gdbus does not agree to be asked
    assert question
    await until_nothing_is_left(world)
    assert polkit.cancelled == []


async def test_who_is_permitted_is_named_in_what_follows(world: World, polkit: Polkit) -> None:
    await gdbus(*CALL, user=NOBODY)
    assert world.daemon.orders == [("take_over", GroupKey("web", 1), f"uid {NOBODY}")]


async def test_root_is_not_asked_about(world: World, polkit: Polkit) -> None:
    polkit.allows(False)
    await gdbus(*CALL)
    assert world.daemon.orders
    assert polkit.asked == []


@pytest.mark.parametrize(
    ("member", "object_path", "interface", "signature", "action"),
    [
        ("Reload", ROOT, "Manager", (), "reload"),
        ("LeaveMaintenance", ROOT, "Manager", (), "maintenance"),
        ("SetPreemption", f"{ROOT}/failover/web", "Failover", ("s", "preempt"), "preemption"),
        ("SendGratuitousARP", GROUP_1, "Group", (), "switchover"),
    ],
)
async def test_each_kind_of_change_has_its_action(
    world: World,
    polkit: Polkit,
    member: str,
    object_path: str,
    interface: str,
    signature: tuple[str, ...],
    action: str,
) -> None:
    await busctl("call", NAME, object_path, f"{NAME}.{interface}", member, *signature, user=NOBODY)
    assert [asked.body[1] for asked in polkit.asked] == [f"{NAME}.{action}"]
    assert len(world.daemon.orders) == 1


async def test_who_is_not_permitted_is_told_so(world: World, polkit: Polkit) -> None:
    polkit.allows(False)
    refused = await gdbus(*CALL, user=NOBODY, ok=False)
    assert f"org.freedesktop.DBus.Error.AccessDenied: {NAME}.switchover: not permitted" in refused
    assert world.daemon.orders == []


async def test_who_could_give_a_password_is_told_so_unless_it_agreed_to_be_asked(
    world: World, polkit: Polkit
) -> None:
    polkit.allows(False, challenge=True)
    refused = await gdbus(*CALL, user=NOBODY, ok=False)
    assert f"Error.InteractiveAuthorizationRequired: {NAME}.switchover: a password is needed" in refused
    refused = await gdbus(CALL[0], "--interactive", *CALL[1:], user=NOBODY, ok=False)
    assert "Error.AccessDenied: " in refused  # asked, and the answer was none
    assert [asked.body[3] for asked in polkit.asked] == [0, 1]
    assert world.daemon.orders == []


@pytest.mark.parametrize(
    ("signature", "body"),
    [
        ("", []),
        ("b", [True]),
        ("bba{ss}", [True, False, {}]),
        ("(bb)", [[True, False]]),
        ("(uba{ss})", [[1, False, {}]]),
        ("(sba{ss})", [["false", False, {}]]),
        ("v", [Variant("b", True)]),
    ],
)
async def test_an_answer_that_is_none_permits_nothing(
    world: World, polkit: Polkit, caplog: pytest.LogCaptureFixture, signature: str, body: list[object]
) -> None:
    polkit.answer = (signature, body)
    refused = await gdbus(*CALL, user=NOBODY, ok=False)
    assert "Error.AccessDenied: " in refused
    assert world.daemon.orders == []
    assert "internal error" not in caplog.text
    await until_nothing_is_left(world)


async def test_a_question_that_nobody_answers_ends_and_is_taken_back(
    world: World, polkit: Polkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authorization, "QUESTION_TIMEOUT_S", 0.2)  # a clock: nobody waits 25 s here
    polkit.is_silent()
    refused = await gdbus(*CALL, user=NOBODY, ok=False)
    assert f"{NAME}.switchover: only root may do this while polkit does not answer" in refused
    await polkit.until(lambda: bool(polkit.cancelled))
    assert polkit.cancelled == [polkit.asked[0].body[4]]
    await until_nothing_is_left(world)


async def test_a_polkit_that_goes_while_it_is_asked_permits_nothing(world: World, polkit: Polkit) -> None:
    polkit.is_silent()
    async with calling() as process:
        await polkit.until(lambda: bool(polkit.asked))
        await polkit.stop()
        output, _ = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode != 0
    assert b"denied" in output
    assert world.daemon.orders == []
    await until_nothing_is_left(world)


# ---------------------------------------------------------------- callers that leave


async def test_a_caller_that_leaves_takes_its_question_and_its_place_with_it(
    world: World, polkit: Polkit
) -> None:
    polkit.is_silent()
    async with calling() as process:
        await polkit.until(lambda: bool(polkit.asked))
        assert polkit.cancelled == []
        process.kill()
        await polkit.until(lambda: bool(polkit.cancelled))
    assert polkit.cancelled == [polkit.asked[0].body[4]]
    await until_nothing_is_left(world)
    assert world.daemon.orders == []


async def test_a_late_answer_about_a_caller_that_left_does_nothing(world: World, polkit: Polkit) -> None:
    polkit.is_silent()
    async with calling() as process:
        await polkit.until(lambda: bool(polkit.asked))
        process.kill()
        await polkit.until(lambda: bool(polkit.cancelled))
    polkit.allows(True)
    polkit.answer_all()
    await gdbus(*CALL, user=NOBODY)
    assert len(world.daemon.orders) == 1
    await until_nothing_is_left(world)


async def test_one_that_leaves_does_not_end_the_question_of_another(world: World, polkit: Polkit) -> None:
    polkit.is_silent()
    async with calling() as leaving, calling() as staying:
        await polkit.until(lambda: len(polkit.asked) == 2)
        leaving.kill()
        await polkit.until(lambda: bool(polkit.cancelled))
        assert len(polkit.cancelled) == 1
        polkit.allows(True)
        polkit.answer_all()
        async with asyncio.timeout(PATIENCE_S):
            await staying.wait()
    assert staying.returncode == 0
    assert len(world.daemon.orders) == 1
    await until_nothing_is_left(world)


async def test_all_questions_of_one_caller_end_with_it(world: World, polkit: Polkit) -> None:
    """One caller asks as often as it may, and leaves: none of its questions stays."""
    polkit.is_silent()
    script = (
        "import asyncio\n"
        "from dbus_next.message import Message\n"
        "from ipfod.bus.connection import Connection, system_bus_address\n"
        "async def main():\n"
        "    bus = await Connection.open(system_bus_address(), lambda message: None)\n"
        f"    call = lambda: Message('{NAME}', '{GROUP_1}', '{NAME}.Group', 'TakeOver')\n"
        f"    bus.send(*(call() for _ in range({RUNNING_PER_CALLER_MAX})))\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(*becoming(NOBODY), sys.executable, "-c", script)
    try:
        await polkit.until(lambda: len(polkit.asked) == RUNNING_PER_CALLER_MAX)
        assert len({asked.body[4] for asked in polkit.asked}) == RUNNING_PER_CALLER_MAX
    finally:
        process.kill()
        await process.wait()
    await polkit.until(lambda: len(polkit.cancelled) == RUNNING_PER_CALLER_MAX)
    assert sorted(polkit.cancelled) == sorted(asked.body[4] for asked in polkit.asked)
    await until_nothing_is_left(world)


async def test_a_service_that_stops_takes_its_questions_back(world: World, polkit: Polkit) -> None:
    polkit.is_silent()
    async with calling():
        await polkit.until(lambda: bool(polkit.asked))
        await world.service.stop()
        await polkit.until(lambda: bool(polkit.cancelled))
    assert world.daemon.orders == []
