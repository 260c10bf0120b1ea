"""`ipfoctl import` of anything at all: it ends soon, in little memory, with a sentence and exit code 1."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from deployments import container, deployment

from ipfod.config.manifest import MANIFEST_MAX

MEMORY_BYTES = 256 << 20  # of address space; a good import takes 27 MiB, the worst here 45 (measured)
TIMEOUT_S = 60  # the slowest takes 3.2 s on two busy cores
GOOD = deployment(container())


def bounded() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def imported(directory: Path, file: str, stdin: int = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
    (directory / "out").mkdir()
    return subprocess.run(
        [sys.executable, "-m", "ipfod.ctl", "import", file, "-o", str(directory / "out")],
        stdin=stdin,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=TIMEOUT_S,
        preexec_fn=bounded,
    )


def is_refused(directory: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert 1 <= len(done.stderr.splitlines()) <= 3, done.stderr
    assert "ipfoctl: " in done.stderr
    assert len(done.stderr) < 1000
    for never in ("Traceback", "internal error", "MemoryError"):
        assert never not in done.stderr
    assert done.stderr.replace("\n", "").isprintable()
    assert list((directory / "out").iterdir()) == []


def laughs(width: int, height: int) -> str:
    """Anchors upon anchors: `width ** height` values if anybody followed them."""
    levels = [f"l0: &l0 [{', '.join(['x'] * width)}]"]
    levels += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * width)}]" for n in range(1, height)]
    return "\n".join(levels) + "\n" + GOOD


BIG = MANIFEST_MAX - 200
BOMBS = {
    "laughs": laughs(10, 30),
    "merge keys": "base: &base {a: 1}\nother: {<<: *base}\n" + GOOD,
    "merges of merges": "".join(
        f"m{n}: &m{n} {{<<: [*m{n - 1}, *m{n - 1}]}}\n" if n else "m0: &m0 {a: 1}\n" for n in range(50)
    ),
    "nested lists": "[" * BIG,
    "nested mappings": "{a: " * (BIG // 4),
    "nested in block style": "".join(" " * n + "a:\n" for n in range(1400)),
    "brackets that are closed": "[" * (BIG // 2) + "]" * (BIG // 2),
    "one huge word": "a: " + "x" * BIG + "\n",
    "one huge text in quotes": 'a: "' + "\\u263a" * (BIG // 6) + '"\n',
    "one huge folded text": "a: >\n" + " x\n" * (BIG // 3),
    "a huge key": "x" * BIG + ": 1\n",
    "a huge comment": "#" * BIG + "\n",
    "a huge tag": "a: !" + "x" * BIG + " 1\n",
    "a huge anchor": "a: &" + "x" * BIG + " 1\n",
    "many documents": "---\na: 1\n" * (BIG // 9),
    "many Deployments": (GOOD + "---\n") * (BIG // (len(GOOD) + 4)),
    "many keys": "".join(f"k{n}: v\n" for n in range(BIG // 12)),
    "many variables": deployment(container({f"V{n}": "1" for n in range(12_000)})),
    "an object of Python's": "a: !!python/object/apply:os.system ['touch out/hit']\n" + GOOD,
    "a name of Python's": "a: !!python/name:os.system ''\n" + GOOD,
    "a tag with a prefix": "%TAG ! tag:yaml.org,2002:python/\n---\n!object/apply:os.system ['touch out/hit']\n",
    "binary data": "a: !!binary " + "QUFB" * 1000 + "\n",
    "a list for a Deployment": "- kind: Deployment\n",
    "text for a specification": "kind: Deployment\nmetadata: {name: a}\nspec: text\n",
    "numbers for containers": "kind: Deployment\nspec: {template: {spec: {containers: [1, 2]}}}\n",
    "lists for variables": deployment("{name: ipf, env: [[a], {name: [b], value: {c: d}}]}"),
    "a NUL": GOOD + "\0",
    "control characters": GOOD + "# \x1b[2J\x07\n",
    "half a surrogate pair": 'a: "\\ud800"\n',
    "a name that leads elsewhere": deployment(container(config="'../../etc/passwd'")),
    "a name of control characters": deployment(container(config='"\\e[2J"')),
    "nothing": "",
}
BYTES = {
    "UTF-16": GOOD.encode("utf-16"),
    "UTF-32": GOOD.encode("utf-32"),
    "Latin-1": GOOD.encode() + b"# caf\xe9\n",
    "gzip": b"\x1f\x8b\x08\x00" + bytes(range(256)) * 100,
    "every byte": bytes(range(256)) * 1000,
    "50 MB": b"a: 1\n" * (10 << 20),
}


@pytest.mark.parametrize(
    "content",
    [pytest.param(text.encode(), id=name) for name, text in BOMBS.items()]
    + [pytest.param(content, id=name) for name, content in BYTES.items()],
)
def test_a_bomb_is_refused_soon_and_in_little_memory(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_bytes(content)
    is_refused(tmp_path, imported(tmp_path, str(tmp_path / "m.yaml")))


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def directory(path: Path) -> None:
    path.mkdir()


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def memory(path: Path) -> None:
    path.symlink_to("/proc/self/mem")


@pytest.mark.parametrize("make", [device, directory, link_to_itself, memory])
def test_what_is_no_file_is_refused(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "m.yaml")
    is_refused(tmp_path, imported(tmp_path, str(tmp_path / "m.yaml")))


def test_a_pipe_that_never_ends_is_read_no_further_than_a_manifest_may_be(tmp_path: Path) -> None:
    with subprocess.Popen(["cat", "/dev/zero"], stdout=subprocess.PIPE) as endless:
        assert endless.stdout is not None
        done = imported(tmp_path, "-", endless.stdout.fileno())
        endless.stdout.close()
    is_refused(tmp_path, done)


def test_a_fifo_that_nobody_writes_to_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.yaml")
    done = imported(tmp_path, str(tmp_path / "m.yaml"))
    is_refused(tmp_path, done)
    assert f"{tmp_path}/m.yaml: is no regular file" in done.stderr


def test_the_pipe_of_a_process_substitution_is_waited_for_and_ends_with_its_writer(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "out").mkdir()
    script = '"$0" -m ipfod.ctl import <(sleep 0.5; cat "$1") -o "$2"'
    argv = ["bash", "-c", script, sys.executable, str(tmp_path / "good.yaml"), str(tmp_path / "out")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["web.toml"]


def test_within_the_same_memory_a_good_one_is_written(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(GOOD)
    done = imported(tmp_path, str(tmp_path / "m.yaml"))
    assert done.returncode == 0, done.stderr
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["web.toml"]
