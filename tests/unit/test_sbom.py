"""The bill of materials in the RPM, and the versions with hashes that development installs."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

import ipfod

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging"
EPOCH = 1_764_000_000


@pytest.fixture(scope="module")
def sbom() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sbom", PACKAGING / "sbom.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def written(epoch: int = EPOCH) -> str:
    """What the RPM's build writes."""
    done = subprocess.run(
        ["/usr/bin/python3", "-I", PACKAGING / "sbom.py", ipfod.__version__],
        input=(PACKAGING / "bundled.sha256").read_text(),
        capture_output=True,
        text=True,
        check=True,
        env={"SOURCE_DATE_EPOCH": str(epoch)},
    )
    return done.stdout


def bundled() -> dict[str, str]:
    """Hash of each bundled library, by its name."""
    lines = (line.split() for line in (PACKAGING / "bundled.sha256").read_text().splitlines())
    return {name.split("-")[0].replace("_", "-"): digest for digest, name in lines}


def locked(file: str) -> dict[str, tuple[str, list[str]]]:
    """Version and hashes of each requirement of a lock file."""
    text = (PACKAGING / file).read_text().replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        name, _, rest = line.partition("==")
        version, *hashes = rest.split()
        found[name] = (version, hashes)
    return found


def test_it_is_what_the_schema_of_cyclonedx_asks_for() -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(written()) is None
    broken = json.loads(written())
    broken["components"][0]["type"] = "librarium"
    assert validator.validate_str(json.dumps(broken)) is not None


def test_it_names_ipfod_and_all_that_is_bundled_with_version_licence_and_hash() -> None:
    document: dict[str, Any] = json.loads(written())
    ours = document["metadata"]["component"]
    assert (ours["name"], ours["version"]) == ("ipfod", ipfod.__version__)
    components = {each["name"]: each for each in document["components"]}
    assert {name: each["hashes"][0]["content"] for name, each in components.items()} == bundled()
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)$", (PACKAGING / "constraints.txt").read_text(), re.MULTILINE))
    licence = re.search(r"^License: +(.*)", (PACKAGING / "ipfod.spec").read_text(), re.MULTILINE)
    assert licence is not None
    for name, each in components.items():
        assert each["version"] == pinned[name]
        assert each["purl"] == f"pkg:pypi/{name}@{pinned[name]}"
        for identifier in re.findall(r"[\w.-]+-[\w.-]+|MIT", each["licenses"][0]["expression"]):
            assert identifier in licence[1]


def test_the_same_sources_make_the_same_one() -> None:
    assert written() == written()
    assert '"timestamp": "2025-11-24T16:00:00Z"' in written()
    assert written() != written(EPOCH + 1)


def test_a_line_that_names_no_file_is_refused(sbom: ModuleType) -> None:
    for line in ("", "0" * 64, f"{'0' * 63}  a-1.tar.gz", f"{'0' * 64}  ../a.whl"):
        with pytest.raises(ValueError, match="not a hash"):
            sbom.document("1", [line], 0)


# ---------------------------------------------------------------- what development installs


@pytest.mark.parametrize("file", ["lock-build.txt", "lock.txt", "lock-test.txt"])
def test_everything_that_is_installed_has_a_version_and_hashes(file: str) -> None:
    found = locked(file)
    assert found
    for name, (version, hashes) in found.items():
        assert version, name
        assert hashes, name
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in hashes), name


def test_the_locks_have_what_the_constraints_say_and_what_is_bundled() -> None:
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)$", (PACKAGING / "constraints.txt").read_text(), re.MULTILINE))
    for file in ("lock.txt", "lock-test.txt"):
        found = locked(file)
        for name, version in pinned.items():
            assert found[name.lower()][0] == version
        for name, digest in bundled().items():
            assert f"--hash=sha256:{digest}" in found[name][1]


def test_what_is_installed_here_is_what_is_locked() -> None:
    argv = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--quiet",
        "--no-index",
        "--no-build-isolation",
    ]
    argv += ["--disable-pip-version-check", "--require-hashes", "-r", str(PACKAGING / "lock-test.txt")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
