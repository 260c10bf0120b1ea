"""The SELinux policy module compiles, and allows what is named here; nothing here enforces it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "packaging/selinux"
MAKEFILE = "/usr/share/selinux/devel/Makefile"
TO_CIL = "/usr/libexec/selinux/hll/pp"
OURS = {"ipfod_conf_t", "ipfod_exec_t", "ipfod_runtime_t", "ipfod_unit_t", "ipfod_var_lib_t"}
WRITING = {"write", "append", "create", "unlink", "rename", "setattr", "link", "add_name", "remove_name"}
# Sockets by which ipfod speaks with the kernel and the network.
SOCKETS = {
    *("netlink_route_socket", "netlink_netfilter_socket", "netlink_tcpdiag_socket"),
    *("packet_socket", "rawip_socket", "tcp_socket", "udp_socket", "unix_dgram_socket", "unix_stream_socket"),
}


class Rule(NamedTuple):
    """That one type may do this to another."""

    source: str
    target: str
    kind: str
    permissions: frozenset[str]


@pytest.fixture(scope="module")
def cil(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The compiled module, as text."""
    directory = tmp_path_factory.mktemp("policy")
    for path in SOURCES.iterdir():
        shutil.copy(path, directory)
    built = run(["make", "-f", MAKEFILE, "NAME=targeted", "ipfod.pp"], directory)
    assert "warning" not in built.lower()
    return run([TO_CIL, "ipfod.pp"], directory)


@pytest.fixture(scope="module")
def rules(cil: str) -> frozenset[Rule]:
    return frozenset(_rules(cil))


def run(argv: list[str], directory: Path) -> str:
    done = subprocess.run(argv, cwd=directory, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


def _rules(cil: str) -> Iterator[Rule]:
    for source, target, kind, permissions in re.findall(r"\(allow (\S+) (\S+) \((\w+) \(([^)]*)\)\)\)", cil):
        yield Rule(source, target, kind, frozenset(permissions.split()))


def allowed(rules: frozenset[Rule], source: str, target: str, kind: str) -> set[str]:
    found: set[str] = set()
    return found.union(*(rule.permissions for rule in rules if rule[:3] == (source, target, kind)))


def bounding_sets() -> set[str]:
    """The capabilities of the units whose main process is /usr/bin/ipfod."""
    text = "".join((ROOT / "systemd" / name).read_text() for name in ("ipfod.service", "ipfod-cleanup.service"))
    sets = re.findall(r"^CapabilityBoundingSet=(.*)", text, re.MULTILINE)
    return {name.removeprefix("CAP_").lower() for each in sets for name in each.split()}


def test_its_capabilities_are_those_of_the_units(rules: frozenset[Rule]) -> None:
    # modprobe has its own domain, which may do that.
    assert allowed(rules, "ipfod_t", "self", "capability") == bounding_sets() - {"sys_module"}
    assert not [rule for rule in rules if rule.kind in ("capability2", "cap_userns")]


def test_it_has_the_sockets_that_it_opens_and_no_others(rules: frozenset[Rule]) -> None:
    made = {rule.kind for rule in rules if rule[:2] == ("ipfod_t", "self") and "create" in rule.permissions}
    assert {kind for kind in made if kind.endswith("socket")} == SOCKETS


def test_it_writes_files_in_its_own_directories_only(rules: frozenset[Rule]) -> None:
    written = {
        rule.target
        for rule in rules
        if rule.source == "ipfod_t" and rule.kind in ("file", "dir", "fifo_file") and rule.permissions & WRITING
    }
    # var_run_t and var_lib_t: its directory is made there. init_t, initrc_t: pipes that were handed over;
    # init_tmpfs_t: file descriptors that systemd hands over.
    assert written - {"self", "init_t", "initrc_t", "init_tmpfs_t", "var_run_t", "var_lib_t"} == {
        "ipfod_runtime_t",
        "ipfod_var_lib_t",
    }
    assert not allowed(rules, "ipfod_t", "var_run_t", "file") & WRITING
    assert not allowed(rules, "ipfod_t", "var_lib_t", "file") & WRITING


def test_what_everybody_could_misuse_is_not_allowed(rules: frozenset[Rule]) -> None:
    permissions = {permission for rule in rules if rule.source == "ipfod_t" for permission in rule.permissions}
    assert (
        permissions & {"execmem", "execstack", "execheap", "ptrace", "relabelto", "mounton", "module_load"}
        == set()
    )
    started = {rule.target for rule in rules if rule.source == "ipfod_t" and "transition" in rule.permissions}
    assert started == {"kmod_t"}


def test_keepalived_of_fedoras_policy_gets_its_files(rules: frozenset[Rule], cil: str) -> None:
    assert "(typeattributeset cil_gen_require keepalived_t)" in cil
    assert {"read", "open", "watch", "create", "unlink"} <= allowed(
        rules, "keepalived_t", "ipfod_runtime_t", "file"
    )
    assert {"read", "write", "open"} <= allowed(rules, "keepalived_t", "ipfod_runtime_t", "fifo_file")
    assert allowed(rules, "ipfod_t", "keepalived_t", "process") == {"signal", "sigkill", "signull"}
    assert "execute_no_trans" in allowed(rules, "ipfod_t", "keepalived_exec_t", "file")
    assert not allowed(rules, "keepalived_t", "ipfod_var_lib_t", "file")
    assert not allowed(rules, "keepalived_t", "ipfod_conf_t", "file")


def test_it_is_on_the_bus_with_those_whom_it_needs(rules: frozenset[Rule]) -> None:
    peers = {rule.target for rule in rules if rule.source == "ipfod_t" and rule.kind == "dbus"}
    assert peers == {"self", "system_dbusd_t", "init_t", "userdomain", "policykit_t", "firewalld_t"}
    assert "acquire_svc" in allowed(rules, "ipfod_t", "system_dbusd_t", "dbus")


def test_units_are_started_and_stopped_through_systemd(rules: frozenset[Rule]) -> None:
    assert {"start", "stop", "status"} <= allowed(rules, "ipfod_t", "ipfod_unit_t", "service")
    assert "start" in allowed(rules, "ipfod_t", "init_t", "system")
    assert not {"reboot", "halt", "reload"} & allowed(rules, "ipfod_t", "init_t", "system")


def test_each_path_of_ipfods_has_a_type_of_its_own(cil: str) -> None:
    labels = dict(re.findall(r'\(filecon "([^"]+)" \w+ \(system_u object_r (\w+)', cil))
    assert set(labels.values()) == OURS

    def label(path: str) -> str:
        [found] = [str(each) for pattern, each in labels.items() if re.fullmatch(pattern, path)]
        return found

    assert label("/etc/ipfod/web.toml") == "ipfod_conf_t"
    assert label("/run/ipfod/web/track/web_VIP_1") == "ipfod_runtime_t"
    assert label("/var/lib/ipfod/state.json") == "ipfod_var_lib_t"
    assert label("/usr/bin/ipfod") == "ipfod_exec_t"
    assert not [pattern for pattern in labels if re.fullmatch(pattern, "/usr/bin/ipfoctl")]
    for unit in (ROOT / "systemd").glob("*.service"):
        assert label(f"/usr/lib/systemd/system/{unit.name}") == "ipfod_unit_t"


def test_what_is_not_enforced_is_said(cil: str) -> None:
    assert "(typepermissive ipfod_t)" in cil
    assert "permissive" in (ROOT / "docs/install.md").read_text()


def test_the_package_of_the_policy_is_built_where_fedoras_macros_ask_for_it(tmp_path: Path) -> None:
    pip = str(Path(sys.executable).with_name("pip"))
    done = subprocess.run(
        [ROOT / "packaging/rpm.sh", tmp_path],
        env={**os.environ, "RPMBUILD_OPTIONS": "--with selinux", "PIP": pip},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    package = next(tmp_path.glob("ipfod-selinux-*.noarch.rpm"))
    query = ["rpm", "--dbpath", str(tmp_path / "db"), "-qp"]
    assert "/usr/share/selinux/packages/targeted/ipfod.pp.bz2" in run([*query, "-l", str(package)], tmp_path)
    scripts = run([*query, "--scripts", str(package)], tmp_path)
    assert "-i /usr/share/selinux/packages/targeted/ipfod.pp.bz2" in scripts
    assert "-r ipfod" in scripts
    [main] = tmp_path.glob("ipfod-[0-9]*.rpm")
    assert "ipfod-selinux = " in run([*query, "-R", str(main)], tmp_path)
