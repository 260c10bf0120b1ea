"""What is planted in the place of files while ipfod runs is not followed or waited for, and told."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from orders import VIP, owner_and_others, run_all
from scenario import configure, each_on_one, no_traceback, on_node, until, well

from ipfod.lab.lab import Lab
from ipfod.lab.node import Node
from ipfod.lab.program import Finished

RUN, STATE = "/run/ipfod/web", "/var/lib/ipfod"
FILES = (
    *(
        f"{RUN}/{name}"
        for name in ("keepalived.conf", "keepalived.conf.new", ".keepalived.conf.tmp", "release")
    ),
    *(f"{RUN}/{name}" for name in (".keepalived.conf.new.tmp", "keepalived.json", "keepalived.log")),
    *(f"{RUN}/track/web_VIP_1", f"{RUN}/track/.web_VIP_1.tmp", "/run/ipfod/accepted.d/web.toml"),
    *(f"{STATE}/{name}" for name in ("state.json", "state.json.new", "history", "history.new")),
)
PID_FILES = (f"{RUN}/keepalived.pid", f"{RUN}/vrrp.pid")  # while there is none nothing is reloaded
PRECIOUS = "x" * (2 << 20)  # more than a log may have before it is cut
PLANTS = {
    "symbolic link": "ln -s {other} {path}",
    "second name": "ln {other} {path}",
    "FIFO": "mkfifo {path}",
    "device": "mknod {path} c 1 7",  # /dev/full
    "directory": "mkdir {path}",
}
ANSWER_S = 20.0  # far more than any of it takes; what hangs does not answer at all
WELL_AGAIN_S = 40.0
VIPS = (VIP, "192.168.3.11")


async def plant(node: Node, command: str, files: tuple[str, ...]) -> None:
    """Put something in the place of each file, without a moment in which nothing is there."""
    script = []
    for path in files:
        directory = RUN if path.startswith(RUN) else path.rsplit("/", 1)[0]
        other = f"{directory}/precious"  # on the same file system
        if not node.inside(other).exists():
            node.write(other, PRECIOUS)
        planted = command.format(path=f"{path}.planted", other=other)
        script.append(f"{planted}; rm -rf {path}; mv -T {path}.planted {path}")
    await node.run(["sh", "-ec", "\n".join(script)], check=True)


async def untouched(node: Node) -> bool:
    done = await node.run(["find", "/run/ipfod", STATE, "-name", "precious"], check=True)
    return all(node.read(path) == PRECIOUS for path in done.stdout.split())


async def answers(node: Node) -> bool:
    """Whether its D-Bus answers, which takes its event loop and its worker."""
    done = await node.ipfoctl("status", "--json", timeout_s=ANSWER_S)
    return bool(json.loads(done.stdout)["failovers"])


async def test_what_is_planted_while_it_runs(pair: Lab) -> None:
    await run_all(pair, 'preemption = "preempt"\nvip_groups = 1\n', vips=VIPS)
    await until(lambda: well(pair), what="all is well")
    owner, _ = await owner_and_others(pair)
    text = owner.read("/etc/ipfod/web.toml")
    for number, (kind, command) in enumerate(PLANTS.items()):
        configure([owner], f"{text}priority = {250 - number}\n")
        log = len(owner.log())
        reloaded = await everything_is_written(owner, command)
        await each_on_one(pair, VIPS)
        assert await untouched(owner), kind
        said = owner.log()[log:]
        assert "/history cannot be written: " in said, kind
        if kind == "directory":  # it cannot be replaced
            assert (reloaded.returncode, "conf.new.tmp: Is a directory" in reloaded.stderr) == (1, True)
            assert "/state.json cannot be written: Is a directory" in said
            assert "/track/.web_VIP_1.tmp: Is a directory" in said
        else:
            assert reloaded.returncode == 0, kind
        await pull_out(owner)
        assert (await owner.ipfoctl("reload", timeout_s=ANSWER_S)).returncode == 0, kind
        await until(lambda: well(pair), what=f"all is well after {kind}", timeout_s=WELL_AGAIN_S)
        await on_node(pair, owner, VIPS)
        assert await untouched(owner), kind
    assert no_traceback(owner.log())


async def everything_is_written(owner: Node, command: str) -> Finished:
    """State, history and track file by orders; configuration and its copies by a reload: its answer."""
    await plant(owner, command, FILES)
    for on in ("on", "off"):
        assert (await owner.ipfoctl("maintenance", on, timeout_s=ANSWER_S)).returncode == 0
    reloaded = await owner.ipfoctl("reload", timeout_s=ANSWER_S)
    await plant(owner, command, PID_FILES)
    await owner.kill("keepalived", signal.SIGKILL)  # another one writes its log and pid files
    await until(lambda: answers(owner), what="it answers")
    return reloaded


async def pull_out(node: Node) -> None:
    """Remove what has not been replaced."""
    script = (
        f"for path in {' '.join(FILES + PID_FILES)}; do [ -f $path ] && [ ! -h $path ] || rm -rf $path; done"
    )
    await node.run(["sh", "-ec", script], check=True)


async def test_a_track_file_that_cannot_be_written_keeps_no_other_group_from_being_given_up(pair: Lab) -> None:
    await run_all(pair, 'preemption = "preempt"\nvip_groups = 2\n', vips=VIPS)
    await until(lambda: well(pair), what="all is well")
    owner, _ = await owner_and_others(pair)
    first, second = (owner.inside(f"{RUN}/track/web_VIP_{number}") for number in (1, 2))
    await owner.run(["sh", "-ec", f"rm {RUN}/track/web_VIP_1; mkdir {RUN}/track/web_VIP_1"], check=True)
    assert first.is_dir()
    await owner.ipfoctl("maintenance", "on", timeout_s=ANSWER_S)
    await until(lambda: says(second, "-254"), what="the second group is given up")
    assert "/track/.web_VIP_1.tmp: Is a directory" in owner.log()


async def says(path: Path, value: str) -> bool:
    return path.read_text().strip() == value
