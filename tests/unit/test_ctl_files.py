"""`ipfoctl check` and `ipfoctl plan` on real files: no daemon, no bus."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ipfod.ctl.__main__ import main

TIMEOUT_S = 20

# Seven virtual IPs in three groups on three nodes, as the documentation's example of VIP_GROUPS.
WEB = """\
virtual_ips = "192.168.3.10-16"
vip_groups = 3
interface = "eth0"
nodes = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
"""
MISPRINT = """\
OPENSHIFT_HA_VIRTUAL_IPS="1.1.1.1-2"
OPENSHIFT_HA_PREEMPTION="preempt_nodelay 300"
"""


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def ipfoctl(directory: Path, *arguments: str) -> Done:
    """Run a command in a directory, so that files have short names; in this process, to be quick."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(directory), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    return Done(code, out.getvalue(), err.getvalue())


def planned(directory: Path, *arguments: str) -> dict[str, Any]:
    done = ipfoctl(directory, "plan", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    [failover] = json.loads(done.stdout)["failovers"]
    assert isinstance(failover, dict)
    return failover


# ---------------------------------------------------------------- check


def test_a_good_file_is_fine(tmp_path: Path) -> None:
    (tmp_path / "web.toml").write_text(WEB)
    done = ipfoctl(tmp_path, "check", "web.toml")
    assert (done.returncode, done.stdout, done.stderr) == (0, "web.toml: fine\n", "")


def test_every_error_is_shown_with_its_line_and_the_good_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "web.toml").write_text(WEB)
    (tmp_path / "bad.toml").write_text('virtual_ip = "10.0.0.9"\nvip_groups = -3\n')
    done = ipfoctl(tmp_path, "check", "bad.toml", "web.toml")
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert [":".join(line.split(":")[:3]) for line in lines] == [
        "bad.toml:1: virtual_ip",
        "bad.toml:1: virtual_ips",
        "bad.toml:2: vip_groups",
        "web.toml: fine",
    ]


def test_a_warning_is_marked_and_no_failure(tmp_path: Path) -> None:
    (tmp_path / "ipf.env").write_text(MISPRINT)
    done = ipfoctl(tmp_path, "check", "ipf.env")
    assert done.returncode == 0
    assert done.stdout.startswith("ipf.env:2: warning: OPENSHIFT_HA_PREEMPTION: ")


def test_files_that_clash_name_each_other(tmp_path: Path) -> None:
    (tmp_path / "web.toml").write_text(WEB)
    (tmp_path / "db.toml").write_text('virtual_ips = "192.168.3.16-17"\ninterface = "eth0"\n')
    done = ipfoctl(tmp_path, "check", "web.toml", "db.toml")
    assert done.returncode == 1
    assert "db.toml:1: virtual_ips: 192.168.3.16 already served by web (web.toml:1)" in done.stdout
    assert "virtual router ID 11, 12 already used on eth0 by web (web.toml:1)" in done.stdout


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('name = "web"\nvirtual_ips = "10.0.0.1"\n')
    (tmp_path / "b.toml").write_text('virtual_ips = "10.0.0.2"\nname = "web"\nvrrp_id_offset = 90\n')
    done = ipfoctl(tmp_path, "check", "a.toml", "b.toml")
    assert done.returncode == 1
    assert 'b.toml:2: name: "web" is the name of the failover in a.toml already' in done.stdout


def test_more_groups_than_ids_are_an_error_that_says_how_many_fit(tmp_path: Path) -> None:
    (tmp_path / "big.toml").write_text('virtual_ips = "10.0.0.1-100"\nvrrp_id_offset = 200\n')
    done = ipfoctl(tmp_path, "check", "big.toml")
    assert done.returncode == 1
    assert done.stdout.startswith("big.toml:2: vrrp_id_offset: 100 groups do not fit above 200, only 55 do; ")


def test_a_script_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "web.toml").write_text(f'{WEB}check_script = "/nonexistent/check.sh"\n')
    done = ipfoctl(tmp_path, "check", "web.toml")
    assert done.returncode == 1
    assert done.stdout.startswith("web.toml:5: check_script: /nonexistent: does not exist; ")


def test_the_result_of_a_check_as_json(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text('virtual_ips = "10.0.0.1"\nvip_groups = -3\n')
    done = ipfoctl(tmp_path, "check", "--json", "bad.toml")
    document = json.loads(done.stdout)
    assert (done.returncode, document["files"]) == (1, ["bad.toml"])
    [complaint] = document["complaints"]
    assert (complaint["file"], complaint["line"], complaint["key"]) == ("bad.toml", 2, "vip_groups")
    assert (complaint["what"], complaint["warning"]) == ("-3 is out of range", False)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    done = ipfoctl(tmp_path, "check", "nix.toml")
    assert done.returncode == 1
    assert done.stdout.startswith("nix.toml:1: file: cannot be read: No such file or directory")


def test_a_file_with_a_strange_name_is_not_called_fine_beside_its_fault(tmp_path: Path) -> None:
    done = ipfoctl(tmp_path, "check", "a\x1b[31m.toml")
    assert done.returncode == 1
    assert done.stdout.startswith("a\\x1b[31m.toml:1: file: cannot be read: ")
    assert "fine" not in done.stdout
    assert "\x1b" not in done.stdout


def check_of_a_node(tmp_path: Path, sysconfig: str) -> subprocess.CompletedProcess[str]:
    """`ipfoctl check` where /etc has one good file and the daemon's environment."""
    (tmp_path / "web.toml").write_text(WEB)
    (tmp_path / "sysconfig").write_text(sysconfig)
    script = (
        "mount -t tmpfs tmpfs /etc && mkdir /etc/ipfod /etc/sysconfig && cp web.toml /etc/ipfod/ &&"
        ' cp sysconfig /etc/sysconfig/ipfod && exec "$0" -m ipfod.ctl check'
    )
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, sys.executable],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])},
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a mount namespace")
def test_without_a_file_the_node_s_configuration_and_the_daemon_s_environment_are_checked(
    tmp_path: Path,
) -> None:
    done = check_of_a_node(tmp_path, "OPENSHIFT_HA_VIRTUAL_IPS=10.1.1.1-0\nIPFOD_METRICS_LISTEN=9650\n")
    assert done.returncode == 1, done.stderr
    assert "/etc/ipfod/web.toml: fine\n" in done.stdout
    assert "environment:1: OPENSHIFT_HA_VIRTUAL_IPS: " in done.stdout
    assert '/etc/sysconfig/ipfod:2: warning: IPFOD_METRICS_LISTEN: "9650" is no address' in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a mount namespace")
@pytest.mark.parametrize(
    "line", ["IPFOD_METRICS_LISTEN=[::1]:9650 # mine", "OPENSHIFT_HA_VIRTUAL_IPS=10.1.1.1 # mine"]
)
def test_of_a_value_that_cannot_be_read_that_alone_is_said(tmp_path: Path, line: str) -> None:
    done = check_of_a_node(tmp_path, f"{line}\nOPENSHIFT_HA_VIP_GROUPS=1\n")
    assert done.returncode == 1, done.stderr
    complaint, fine = done.stdout.splitlines()
    assert complaint.startswith(f"/etc/sysconfig/ipfod:1: {line.partition('=')[0]}: has a # in its value")
    assert fine == "/etc/ipfod/web.toml: fine"


# ---------------------------------------------------------------- plan


def test_seven_virtual_ips_in_three_groups_are_planned_as_documented(tmp_path: Path) -> None:
    (tmp_path / "web.toml").write_text(WEB)
    failover = planned(tmp_path, "web.toml")
    assert failover["name"] == "web"
    assert [len(group["virtual_ips"]) for group in failover["groups"]] == [3, 2, 2]
    assert [group["virtual_router_id"] for group in failover["groups"]] == [11, 12, 13]
    assert [group["name"] for group in failover["groups"]] == ["web_VIP_1", "web_VIP_2", "web_VIP_3"]


@pytest.mark.parametrize("in_file", [True, False])
def test_first_choices_are_even_wherever_the_nodes_were_listed(tmp_path: Path, in_file: bool) -> None:
    nodes = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]
    listed = f"nodes = {json.dumps(nodes)}\n" if in_file else ""
    (tmp_path / "web.toml").write_text(f'virtual_ips = "192.168.3.1-42"\n{listed}')
    failover = planned(tmp_path, "web.toml", *([] if in_file else ["--nodes", ",".join(nodes)]))
    firsts = Counter(
        max(group["priorities"].items(), key=lambda item: item[1])[0] for group in failover["groups"]
    )
    assert set(firsts) == set(nodes)
    assert max(firsts.values()) - min(firsts.values()) <= 1


def test_unicast_peers_serve_as_nodes(tmp_path: Path) -> None:
    (tmp_path / "web.toml").write_text(
        'virtual_ips = "192.168.3.1"\nuse_unicast = true\nunicast_peers = ["10.0.0.1", "10.0.0.2"]\n'
    )
    [group] = planned(tmp_path, "web.toml")["groups"]
    assert sorted(group["priorities"].values()) == [242, 252]
    assert set(group["priorities"]) == {"10.0.0.1", "10.0.0.2"}


def test_without_nodes_there_are_no_priorities_and_a_line_says_why(tmp_path: Path) -> None:
    (tmp_path / "web.toml").write_text('virtual_ips = "192.168.3.1-2"\n')
    assert [group["priorities"] for group in planned(tmp_path, "web.toml")["groups"]] == [{}, {}]
    shown = ipfoctl(tmp_path, "plan", "web.toml").stdout
    assert "Priorities need the addresses of the nodes: --nodes A,B,C" in shown
    assert "web_VIP_2  12  192.168.3.2\n" in shown


def test_the_plan_as_text_names_the_first_choice_and_those_who_follow(tmp_path: Path) -> None:
    (tmp_path / "web.toml").write_text(WEB)
    done = ipfoctl(tmp_path, "plan", "web.toml")
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert lines[0] == "web on eth0: 7 virtual IPs in 3 groups"
    order = {group["name"]: group["priorities"] for group in planned(tmp_path, "web.toml")["groups"]}
    ranked = sorted(order["web_VIP_1"].items(), key=lambda item: -item[1])
    shown = [f"{node} ({priority})" for node, priority in ranked]
    assert lines[2] == f"  web_VIP_1  11  192.168.3.10-12  {shown[0]}  {', '.join(shown[1:])}"
    assert lines[-1] == "  First choice: 10.0.0.1 for 1, 10.0.0.2 for 1, 10.0.0.3 for 1."


def test_a_virtual_ip_that_is_a_node_s_own_address_is_refused(tmp_path: Path) -> None:
    (tmp_path / "web.toml").write_text(WEB)
    done = ipfoctl(tmp_path, "plan", "web.toml", "--nodes", "10.0.0.1,192.168.3.12")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("web.toml:1: virtual_ips: 192.168.3.12 is this node's own address")


def test_a_bad_file_has_no_plan_but_complaints(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text('virtual_ips = "10.0.0.9-1"\n')
    done = ipfoctl(tmp_path, "plan", "--json", "bad.toml")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("bad.toml:1: virtual_ips: ")


def test_a_warning_does_not_spoil_the_json(tmp_path: Path) -> None:
    (tmp_path / "ipf.env").write_text(MISPRINT)
    done = ipfoctl(tmp_path, "plan", "--json", "ipf.env")
    assert done.returncode == 0
    assert len(json.loads(done.stdout)["failovers"][0]["groups"]) == 2
    assert done.stderr.startswith("ipf.env:2: warning: ")


@pytest.mark.parametrize("nodes", ["a", "10.0.0.1,", "10.0.0.1,10.0.0.1", ""])
def test_nodes_that_are_no_addresses_are_a_usage_error(tmp_path: Path, nodes: str) -> None:
    (tmp_path / "web.toml").write_text(WEB)
    done = ipfoctl(tmp_path, "plan", "web.toml", "--nodes", nodes)
    assert (done.returncode, done.stdout) == (2, "")
    assert "argument --nodes: " in done.stderr
