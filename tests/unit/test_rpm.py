"""The RPM: built as `make rpm` does, read with rpm, judged by rpmlint, installed and removed in an own root."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pytest
from manual.pages import PAGES

import ipfod
from ipfod.bus.authorization import Action

ROOT = Path(__file__).parents[2]
PRIVATE = "/usr/lib/ipfod"
PACKAGED = ("cockpit", "dbus", "docs", "ipfod", "packaging", "systemd")  # beside the files at the top
BUNDLED = {
    "dbus-next": "dbus_next",
    "prometheus-client": "prometheus_client",
    "pyroute2": "pyroute2",
    "sdnotify": "sdnotify",
}
REQUIRED = {
    *(
        "dbus",
        "iproute",
        "keepalived >= 2.2.7",
        "kmod",
        "nftables",
        "polkit",
        "python3-nftables",
        "python3-pyyaml",
        "python3-systemd",
    ),
    *("python3 >= 3.11", "systemd >= 252", "/usr/bin/python3"),
}
# A root directory over this machine's, in namespaces: what is installed there is nowhere else. No network and
# nothing in /run, so that scriptlets find neither this machine's systemd nor its packet filter.
IN_ROOT = """
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount --bind /dev "$1/root/dev"
mount -t proc proc "$1/root/proc"
mount -t tmpfs tmpfs "$1/root/run"
mkdir "$1/root/packages"
cp "$2"/*.rpm "$1/root/packages"
exec chroot "$1/root" sh -c "set -e; cd /packages; $3"
"""


class Packaged(NamedTuple):
    """A file of the package."""

    mode: str
    path: str


@dataclass(frozen=True, slots=True)
class Builder:
    """A copy of the sources, which nobody edits meanwhile."""

    tree: Path

    def build(self, output: Path, release: int = 1) -> Path:
        argv = [str(self.tree / "packaging/rpm.sh"), str(output), str(release)]
        done = run(argv, env={**os.environ, "PIP": str(Path(sys.executable).with_name("pip"))})
        return Path(done.stdout.splitlines()[0])  # on Fedora the policy module's comes after it


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    return Builder(copy_sources(tmp_path_factory.mktemp("sources")))


@pytest.fixture(scope="module")
def package(builder: Builder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return builder.build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def files(package: Path) -> frozenset[Packaged]:
    lines = rpm(package, "--queryformat", "[%{FILEMODES:perms} %{FILENAMES}\n]")
    return frozenset(Packaged(*line.split(" ", 1)) for line in lines)


def copy_sources(tree: Path) -> Path:
    """What the package is made of, and what was downloaded for it already, so that the index is asked once."""
    for name in PACKAGED:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in [ROOT / "LICENSE", *ROOT.glob("*.md")]:
        shutil.copy(path, tree)
    if (ROOT / "build/bundled").is_dir():
        shutil.copytree(ROOT / "build/bundled", tree / "build/bundled")
    return tree


def run(argv: list[str], *, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, env=env)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done


def away_from_home(package: Path) -> dict[str, str]:
    """An environment in which what rpm and rpmlint leave in the home directory stays beside the package."""
    return {**os.environ, "HOME": str(package.parent)}


def rpm(package: Path, *question: str) -> list[str]:
    return run(["rpm", "-qp", *question, str(package)], env=away_from_home(package)).stdout.splitlines()


def in_root(packages: Path, script: str, tmp_path: Path) -> list[str]:
    """Run a script where the packages of a directory are in /packages, and can be installed."""
    top = tmp_path / "overlay"
    top.mkdir()
    namespaces = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
    argv = [*namespaces, "sh", "-c", IN_ROOT, "sh", str(top), str(packages), script]
    done = run(argv, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"})
    return done.stdout.splitlines()


# ---------------------------------------------------------------- what is in it


def test_the_package_is_for_every_architecture_and_named_after_the_version(package: Path) -> None:
    assert re.fullmatch(rf"ipfod-{re.escape(ipfod.__version__)}-1.*\.noarch\.rpm", package.name)


def test_the_same_sources_make_the_same_package_wherever_they_are(
    package: Path, builder: Builder, tmp_path: Path
) -> None:
    elsewhere = Builder(shutil.copytree(builder.tree, tmp_path / "elsewhere"))
    for path in elsewhere.tree.rglob("*"):
        os.utime(path, (0, 0))
    again = elsewhere.build(tmp_path / "dist")
    assert again.name == package.name
    assert sha256(again) == sha256(package)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_module_is_in_the_private_directory_and_no_byte_code(files: frozenset[Packaged]) -> None:
    paths = {file.path for file in files}
    modules = {f"{PRIVATE}/{path.relative_to(ROOT)}" for path in (ROOT / "ipfod").rglob("*.py")}
    assert len(modules) > 50
    assert modules <= paths
    assert {path for path in paths if path.startswith(f"{PRIVATE}/ipfod/") and path.endswith(".py")} == modules
    assert not [path for path in paths if "__pycache__" in path or path.endswith(".pyc")]
    assert not [path for path in paths if "site-packages" in path or "dist-packages" in path]


def test_what_the_system_reads_is_where_it_looks_for_it(files: frozenset[Packaged]) -> None:
    plain = {
        *(f"/usr/lib/systemd/system/{unit.name}" for unit in (ROOT / "systemd").glob("*.service")),
        *(f"/usr/share/dbus-1/interfaces/{xml.name}" for xml in (ROOT / "dbus").glob("*.xml")),
        "/usr/share/dbus-1/system.d/org.ipfod.Ipfod1.conf",
        "/usr/share/polkit-1/actions/org.ipfod.Ipfod1.policy",
        "/etc/sysconfig/ipfod",
        "/usr/share/bash-completion/completions/ipfoctl",
        "/usr/share/zsh/site-functions/_ipfoctl",
        "/usr/share/fish/vendor_completions.d/ipfoctl.fish",
    }
    manual = {file for file in files if file.path.startswith("/usr/share/man/")}
    assert {re.sub(r"\.(gz|zst)$", "", file.path) for file in manual} == {
        "/usr/share/man/man{1}/{0}.{1}".format(*page.rstrip(")").split("(")) for page in PAGES
    }
    expected = {
        *(Packaged("-rw-r--r--", file.path) for file in manual),
        *(Packaged("-rw-r--r--", path) for path in plain),
        Packaged("-rwxr-xr-x", "/usr/bin/ipfod"),
        Packaged("-rwxr-xr-x", "/usr/bin/ipfoctl"),
        Packaged("drwxr-xr-x", "/etc/ipfod"),
        Packaged("drwx------", "/var/lib/ipfod"),
    }
    assert expected <= files
    rest = {file.path for file in files - expected}
    assert [
        path for path in rest if not path.startswith((PRIVATE, "/usr/share/doc/", "/usr/share/licenses/"))
    ] == []


def test_the_page_of_cockpit_is_a_package_of_its_own(package: Path, files: frozenset[Packaged]) -> None:
    [page] = package.parent.glob("ipfod-cockpit-*.rpm")
    home = "/usr/share/cockpit/ipfod"
    paths = set(rpm(page, "--queryformat", "[%{FILEMODES:perms} %{FILENAMES}\n]"))
    sources = {f"-rw-r--r-- {home}/{path.name}" for path in (ROOT / "cockpit").iterdir()}
    assert f"-rw-r--r-- {home}/manifest.json" in sources
    assert {path for path in paths if path.startswith("-") and "/licenses/" not in path} == sources
    assert not [file for file in files if "cockpit/ipfod" in file.path]
    requires = rpm(page, "--queryformat", "[%{REQUIRENEVRS}\n]")
    assert {f"ipfod = {ipfod.__version__}-1", "cockpit-bridge >= 239"} <= {
        each.replace(".noarch", "") for each in requires
    }


def test_all_documentation_comes_along(files: frozenset[Packaged]) -> None:
    documents = {str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*") if path.is_file()}
    assert documents > {"docs/monitoring.md", "docs/monitoring/alerts.yml"}
    assert documents <= {file.path.removeprefix("/usr/share/doc/ipfod/") for file in files}


def test_the_bill_of_materials_comes_along(package: Path, files: frozenset[Packaged]) -> None:
    [path] = [file.path for file in files if file.path.endswith("/sbom.cdx.json")]
    unpack = f"rpm2cpio {package} | cpio --quiet --extract --to-stdout .{path}"
    document = json.loads(run(["sh", "-c", unpack], env=away_from_home(package)).stdout)
    assert {each["name"] for each in document["components"]} == set(BUNDLED)
    assert document["metadata"]["component"]["version"] == ipfod.__version__


def test_nobody_but_root_may_write_any_of_it(files: frozenset[Packaged]) -> None:
    assert [file for file in files if file.mode[5] == "w" or file.mode[8] == "w"] == []


def test_the_bus_does_not_start_ipfod(files: frozenset[Packaged]) -> None:
    assert [file.path for file in files if "/system-services" in file.path] == []


def test_the_administrators_own_settings_are_configuration(package: Path) -> None:
    assert rpm(package, "--configfiles") == ["/etc/sysconfig/ipfod"]


def test_licences_of_all_that_is_bundled_come_along(package: Path) -> None:
    licences = " ".join(rpm(package, "--licensefiles"))
    for name in BUNDLED:
        assert f"LICENSE.{name}" in licences


# ---------------------------------------------------------------- what it says


def test_it_requires_what_ipfod_runs_and_no_minor_version_of_python(package: Path) -> None:
    requires = set(rpm(package, "--queryformat", "[%{REQUIRENEVRS}\n]"))
    assert requires >= REQUIRED
    assert not [each for each in requires if "python(abi)" in each or "python3." in each.partition(" ")[0]]


def test_bundled_libraries_are_declared_in_the_versions_that_are_tested(package: Path) -> None:
    constraints = (ROOT / "packaging/constraints.txt").read_text()
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)$", constraints, re.MULTILINE))
    declared = {f"bundled(python3dist({name})) = {pinned[name]}" for name in BUNDLED}
    assert {
        each for each in rpm(package, "--queryformat", "[%{PROVIDENEVRS}\n]") if each.startswith("bundled(")
    } == declared


def test_scriptlets_stop_and_restart_ipfod_alone(package: Path) -> None:
    scriptlets = rpm(package, "--scripts", "--triggers")
    for line in scriptlets:
        if re.search(r"systemctl\b.*\b(restart|try-restart|stop|disable|preset)\b", line):
            assert re.findall(r"\S+\.service", line) == ["ipfod.service"], line
    assert [line for line in scriptlets if re.search("(try|mark)-restart[a-z-]* ipfod.service", line)]


def test_polkit_knows_the_actions_that_ipfod_asks_for() -> None:
    policy = ElementTree.parse(ROOT / "dbus/org.ipfod.Ipfod1.policy")
    assert {action.get("id") for action in policy.iter("action")} == {str(action) for action in Action}
    for defaults in policy.iter("defaults"):
        assert {default.text for default in defaults} == {"auth_admin_keep"}


def test_rpmlint_has_nothing_to_say_against_it(package: Path) -> None:
    packaging = ROOT / "packaging"
    [page] = package.parent.glob("ipfod-cockpit-*.rpm")
    argv = ["rpmlint", "-c", str(packaging / "rpmlint.toml"), str(package), str(page)]
    argv.append(str(packaging / "ipfod.spec"))
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=away_from_home(package))
    assert [line for line in done.stdout.splitlines() if ": E: " in line] == [], done.stdout
    assert "2 packages and 1 specfiles checked" in done.stdout, done.stderr


def test_make_rpm_installs_what_building_takes_and_nothing_that_a_test_alone_wants() -> None:
    script = (ROOT / "packaging/prerequisites.sh").read_text()
    builders = script.partition("== rpm ]]")[2].partition("elif")[0]
    [installed] = re.findall(r"fedora=\((.*)\)", builders)
    required = re.findall(r"^BuildRequires: +(\S+)", (ROOT / "packaging/ipfod.spec").read_text(), re.MULTILINE)
    assert set(required) - set(installed.split()) == {"make", "python3"}  # which the guide takes for granted
    assert "rpmlint" not in builders


# ---------------------------------------------------------------- what it does


def test_neither_the_distributions_libraries_nor_the_environment_replace_what_is_bundled(
    package: Path, tmp_path: Path
) -> None:
    script = f"""
        rpm -i --nodeps ipfod-[0-9]*.rpm 2>&1 | grep -iE '^(warning|error):' || :
        for site in $(/usr/bin/python3 -I -c 'import site; print(*site.getsitepackages())'); do
            for name in {" ".join(BUNDLED.values())}; do
                mkdir -p $site/$name; echo 'raise ImportError(__file__)' > $site/$name/__init__.py
            done
        done
        export PYTHONPATH=/packages; echo 'raise ImportError(__file__)' > /packages/argparse.py
        ipfoctl --version
        ipfod --version
        mkdir -p /etc/ipfod; echo 'virtual_ips = "192.0.2.10"' > /etc/ipfod/web.toml
        ipfoctl check
        ipfoctl status 2>&1 || echo exit code $?
        modules=ipfod.daemon,ipfod.metrics.server
        sed "s/from ipfod.__main__ .*/import $modules; sys.exit()/" /usr/bin/ipfod > /packages/daemon
        /usr/bin/python3 -IB /packages/daemon && echo daemon found all
    """
    said = in_root(package.parent, script, tmp_path)
    assert said[:3] == [
        f"ipfoctl {ipfod.__version__}",
        f"ipfod {ipfod.__version__}",
        "/etc/ipfod/web.toml: fine",
    ]
    assert said[-2:] == ["exit code 3", "daemon found all"]


def test_the_manual_and_completion_are_there_once_it_is_installed(package: Path, tmp_path: Path) -> None:
    script = """
        rpm -i --nodeps ipfod-[0-9]*.rpm >/dev/null 2>&1
        for page in 'ipfod 8' 'ipfoctl 1' 'ipfod.toml 5' 'org.ipfod.Ipfod1 5'; do
            set -- $page
            MANWIDTH=200 man --warnings $2 $1 2>&1 | head -n 4 | tail -n 1
        done
        bash -c '. /usr/share/bash-completion/completions/ipfoctl
            COMP_LINE="ipfoctl ste" COMP_POINT=11; _ipfoctl; echo "${COMPREPLY[@]}"'
        zsh -f -c 'fpath+=(/usr/share/zsh/site-functions)
            autoload -Uz compinit; compinit -u -D; echo ${_comps[ipfoctl]}'
        HOME=/packages fish -c "complete -C 'ipfoctl ste'"
    """
    said = in_root(package.parent, script, tmp_path)
    assert [" ".join(line.split()) for line in said] == [
        "ipfod - keep virtual IP addresses alive",
        "ipfoctl - show and steer IP failover",
        "ipfod.toml - configuration of IP failover",
        "org.ipfod.Ipfod1 - D-Bus interface of ipfod",
        "step-down",
        "_ipfoctl",
        "step-down have other nodes take what this one holds",
    ]


def test_upgrade_keeps_the_configuration_and_removal_leaves_nothing_else(
    package: Path, builder: Builder, tmp_path: Path
) -> None:
    packages = shutil.copytree(package.parent, tmp_path / "packages")
    older = Builder(shutil.copytree(builder.tree, tmp_path / "older"))
    (older.tree / "ipfod/gone").mkdir()
    (older.tree / "ipfod/gone/__init__.py").touch()
    older.build(packages, release=0)
    script = """
        count() { find /usr/lib/ipfod -name "$1" | wc -l; }
        compiled() { [ "$(count '*.py')" -gt 100 ] && [ "$(count '*.py')" = "$(count '*.pyc')" ]; }
        rpm -i --nodeps ipfod-[0-9]*-0*.rpm >/dev/null 2>&1
        compiled
        ls -d /usr/lib/ipfod/ipfod/gone
        echo '# mine' >> /etc/sysconfig/ipfod; echo '# mine' > /etc/ipfod/web.toml
        rpm -U --nodeps ipfod-[0-9]*-1*.rpm >/dev/null 2>&1
        rpm -q ipfod
        compiled
        ls -d /usr/lib/ipfod/ipfod/gone || echo gone
        grep -h mine /etc/sysconfig/ipfod /etc/ipfod/web.toml
        rpm -e --nodeps ipfod >/dev/null 2>&1
        find /etc /usr /var/lib -xdev -iname '*ipfod*' | sort
    """
    said = in_root(packages, script, tmp_path)
    assert said == [
        "/usr/lib/ipfod/ipfod/gone",
        package.name.removesuffix(".rpm"),
        "gone",
        "# mine",
        "# mine",
        "/etc/ipfod",
        "/etc/sysconfig/ipfod.rpmsave",
    ]


def test_the_guide_upgrades_the_page_of_cockpit_too_where_it_is_installed(
    package: Path, builder: Builder, tmp_path: Path
) -> None:
    packages = shutil.copytree(package.parent, tmp_path / "packages")
    builder.build(tmp_path / "old", release=0)
    for old in (tmp_path / "old").iterdir():
        shutil.copy(old, packages / f"old-{old.name}")
    section = (ROOT / "docs/install.md").read_text().partition("## Upgrade\n")[2].partition("\n## ")[0]
    without_page, with_page = re.findall(r"dnf install (\./[^`\s]+)", section)
    script = f"""
        rpm -i --nodeps old-ipfod-[0-9]*.rpm old-ipfod-cockpit-*.rpm >/dev/null 2>&1
        refusals() {{ rpm -U --test "$@" 2>&1 | grep -c 'needed by (installed) ipfod-cockpit' || :; }}
        refusals {without_page}
        refusals {with_page}
    """
    assert in_root(packages, script, tmp_path) == ["1", "0"]
