"""`ipfod cleanup`: nothing of ipfod is left, whatever it finds."""

from __future__ import annotations

import signal
import sys

from scenario import configure, keepalived_pids, no_traceback, on_node, start

from ipfod.lab.lab import Lab
from ipfod.lab.node import Node

VIPS = ("192.168.3.10", "192.168.3.11")
IPFOD = (sys.executable, "-m", "ipfod")
HINT = "(see what is in the way there, then clean up again)"
WEB = 'virtual_ips = "192.168.3.10-11"\nmonitor_port = 0\n'


async def test_cleanup_leaves_no_vip_process_rule_or_file() -> None:
    vips = (*VIPS, "fd00:9::10")
    async with Lab(nodes=1, virtual_ips=vips) as lab:
        node = lab.nodes[0]
        configure([node], 'virtual_ips = "192.168.3.10-11, fd00:9::10"\nmonitor_port = 0\n')
        await start([node])
        await on_node(lab, node, vips)
        # What a power cut leaves of a file that was being written.
        await node.run(["touch", "/var/lib/ipfod/state.json.new", "/var/lib/ipfod/history.new"], check=True)
        done = await node.run([*IPFOD, "cleanup"])
        assert done.returncode == 0, done.stdout + done.stderr
        lines = done.stdout.splitlines()
        assert lines[0] == "OpenShift IP Failover service terminating."
        assert lines[1].startswith("  - Removing ip_vs module ...")
        assert lines[2] == "  - Cleaning up ..."
        assert lines[-1] == "  - Releasing VIPs 192.168.3.10 192.168.3.11 fd00:9::10 (interface eth0) ..."
        await _nothing_left(node)
        again = await node.run([*IPFOD, "cleanup"])
        assert again.returncode == 0
        assert again.stdout.splitlines()[-1] == "  - Releasing VIPs (interface eth0) ..."


async def test_cleanup_works_without_daemon_configuration_or_state(pair: Lab) -> None:
    node = pair.nodes[0]
    for what_is_left in ("state", "keepalived.conf", "configuration"):
        configure([node], WEB)
        await start([node])
        await on_node(pair, node, VIPS)
        await node.kill_ipfod(signal.SIGKILL)
        # The child first: it would give its VIPs up in order when it sees its parent die.
        await node.run(["kill", "-KILL", *map(str, reversed(await keepalived_pids(node)))], check=True)
        doomed = {
            "state": "/etc/ipfod/web.toml /run/ipfod/web",
            "keepalived.conf": "/etc/ipfod/web.toml /var/lib/ipfod/state.json",
            "configuration": "/var/lib/ipfod/state.json /run/ipfod/web",
        }[what_is_left]
        await node.run(["rm", "-r", *doomed.split()], check=True)
        assert len(await node.addresses()) == 2, what_is_left
        done = await node.run([*IPFOD, "cleanup"])
        assert done.returncode == 0, done.stdout + done.stderr
        assert "  - Releasing VIPs 192.168.3.10 192.168.3.11 (interface eth0) ..." in done.stdout, what_is_left
        await _nothing_left(node)


async def test_what_is_in_the_way_of_one_step_keeps_no_other_from_being_done(pair: Lab) -> None:
    node = pair.nodes[0]
    configure([node], 'virtual_ips = "192.168.3.10"\nmonitor_port = 0\n')
    configure([node], 'virtual_ips = "192.168.3.11"\nmonitor_port = 0\nvrrp_id_offset = 20\n', name="app.toml")
    await start([node])
    await on_node(pair, node, VIPS)
    await node.kill_ipfod(signal.SIGKILL)
    pid_file = "/run/ipfod/app/keepalived.pid"
    harm = f"kill -KILL $(cat /run/ipfod/app/vrrp.pid {pid_file}); rm {pid_file}; mkdir {pid_file}"
    await node.run(["sh", "-c", harm], check=True)
    done = await node.run([*IPFOD, "cleanup"])
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == f"ipfod cleanup: {pid_file}: Is a directory {HINT}"
    assert no_traceback(done.stderr)
    assert not await node.addresses()
    assert (await node.run(["pgrep", "-a", "keepalived"])).stdout == ""
    assert "ipfod" not in (await node.run(["nft", "list", "ruleset"], check=True)).stdout
    await node.run(["rmdir", pid_file], check=True)
    await node.run(["sh", "-c", "rm /var/lib/ipfod/history; mkdir /var/lib/ipfod/history"], check=True)
    done = await node.run([*IPFOD, "cleanup"])
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == f"ipfod cleanup: /var/lib/ipfod/history: Is a directory {HINT}"
    await node.run(["rmdir", "/var/lib/ipfod/history"], check=True)
    assert (await node.run([*IPFOD, "cleanup"])).returncode == 0
    await _nothing_left(node)


async def _nothing_left(node: Node) -> None:
    assert not await node.addresses()
    assert (await node.run(["pgrep", "-af", "keepalived|python.* -m ipfod$"])).stdout == ""
    assert "ipfod" not in (await node.run(["nft", "list", "ruleset"], check=True)).stdout
    assert (await node.run(["ls", "-A", "/run/ipfod", "/var/lib/ipfod"])).stdout.split() == ["/var/lib/ipfod:"]
