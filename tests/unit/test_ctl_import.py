"""`ipfoctl import` as an administrator meets it: files where they belong, all or none, nothing overwritten."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from deployments import DOCUMENTED, container, deployment
from hypothesis import given
from hypothesis import strategies as st

from ipfod.config.load import load_file
from ipfod.ctl.__main__ import main

TIMEOUT_S = 20
TWO = deployment(container(config="a"), container(config="b", name="other", virtual_ips="192.0.2.9"))
NOBODY = 65534  # the kernel's overflowuid, which is nobody on Debian and Fedora


def ipfoctl(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Run `ipfoctl import` as a program."""
    done = subprocess.run(
        [sys.executable, "-m", "ipfod.ctl", "import", *arguments],
        input=stdin,
        capture_output=True,
        timeout=TIMEOUT_S,
    )
    assert b"Traceback" not in done.stderr
    assert b"internal error" not in done.stderr
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def imported(directory: Path, *arguments: str) -> tuple[int, str, str]:
    """Run it in a directory (`Path()`: here) and in this process, to be quick: exit code, output, errors."""
    out, err = io.StringIO(), io.StringIO()
    place = chdir(directory) if directory != Path() else nullcontext()
    with place, redirect_stdout(out), redirect_stderr(err):
        code = main(["import", *arguments])
    assert "internal error" not in err.getvalue()
    return code, out.getvalue(), err.getvalue()


def contents(directory: Path) -> dict[str, str]:
    return {entry.name: entry.read_text() if entry.is_file() else "" for entry in directory.iterdir()}


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A directory to write to; the manifests lie beside it."""
    (tmp_path / "two.yaml").write_text(TWO)
    (tmp_path / "there").mkdir()
    return tmp_path / "there"


# ---------------------------------------------------------------- files


def test_the_documented_deployment_becomes_a_file_that_the_daemon_reads(there: Path) -> None:
    done = ipfoctl(str(DOCUMENTED), "-o", str(there))
    assert (done.returncode, done.stdout) == (0, f"{there}/ipfailover.toml: written, with 2 virtual IPs\n")
    failover, complaints = load_file(there / "ipfailover.toml")
    assert complaints == ()
    assert failover is not None
    assert [str(address) for address in failover.virtual_ips] == ["1.1.1.1", "1.1.1.2"]
    assert (failover.vip_groups, failover.interface, failover.monitor_port) == (10, "ens3", 30060)
    assert (failover.vrrp_id_offset, str(failover.preemption)) == (10, "preempt_delay 300")
    assert all(": warning: " in each for each in done.stderr.splitlines())
    assert f"{DOCUMENTED}:23: warning: nodeSelector: " in done.stderr


def test_the_files_go_to_the_current_directory_unless_another_is_named(there: Path) -> None:
    code, out, _ = imported(there, "../two.yaml")
    assert (code, sorted(contents(there))) == (0, ["a.toml", "b.toml"])
    assert out == "a.toml: written, with 3 virtual IPs\nb.toml: written, with 1 virtual IP\n"


def test_a_dash_is_standard_input(there: Path) -> None:
    done = ipfoctl("-", "-o", str(there), stdin=TWO.encode())
    assert (done.returncode, sorted(contents(there))) == (0, ["a.toml", "b.toml"])
    assert ipfoctl("-", stdin=b"kind: Service\n").stderr.startswith("<stdin>:1: file: has no Deployment")


def test_a_pipe_by_name_is_read_too(there: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, TWO.encode())
    os.close(writing)
    try:
        code, _, _ = imported(there, f"/proc/self/fd/{reading}")
    finally:
        os.close(reading)
    assert (code, sorted(contents(there))) == (0, ["a.toml", "b.toml"])


def test_files_are_as_the_umask_has_them(there: Path) -> None:
    before = os.umask(0o027)
    try:
        imported(there, "../two.yaml")
    finally:
        os.umask(before)
    assert stat.S_IMODE((there / "a.toml").stat().st_mode) == 0o640
    assert (there / "a.toml").stat().st_nlink == 1


# ---------------------------------------------------------------- all or none


def file(path: Path) -> None:
    path.write_text("mine\n")


def directory(path: Path) -> None:
    path.mkdir()


def dangling_link(path: Path) -> None:
    path.symlink_to("/nonexistent/file")


@pytest.mark.parametrize("make", [file, directory, dangling_link])
def test_nothing_is_overwritten_and_nothing_written_beside_it(
    there: Path, make: Callable[[Path], None]
) -> None:
    make(there / "b.toml")
    code, out, err = imported(there, "../two.yaml")
    assert (code, out) == (1, "")
    assert err == (
        "ipfoctl: b.toml: exists already\n"
        "  -> nothing was written; move what is there away, or name another directory with -o\n"
    )
    assert list(contents(there)) == ["b.toml"]
    assert (there / "b.toml").is_file() == (make is file)


def test_every_file_that_exists_is_named(there: Path) -> None:
    assert imported(there, "../two.yaml")[0] == 0
    code, _, err = imported(there, "../two.yaml")
    assert code == 1
    assert "ipfoctl: a.toml, b.toml: exist already\n" in err


def test_an_error_in_one_failover_leaves_all_unwritten(there: Path) -> None:
    (there / "bad.yaml").write_text(TWO + "---\n" + deployment(container({"MONITOR_PORT": "http"}, config="c")))
    code, out, err = imported(there, "bad.yaml")
    assert (code, out, list(contents(there))) == (1, "", ["bad.yaml"])
    assert err == (
        'bad.yaml:16: OPENSHIFT_HA_MONITOR_PORT: "http" is not a whole number; a whole number from 0 to 65535\n'
        "ipfoctl: bad.yaml: nothing was written\n"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
@pytest.mark.parametrize(("inodes", "left"), [(6, ["0", "a.toml", "b.toml"]), (5, ["1"])])
def test_what_was_made_is_taken_back_when_the_last_file_fails(
    there: Path, inodes: int, left: list[str]
) -> None:
    # tmpfs counts each hard link as an inode. Its root, the directory of drafts and two drafts are four.
    script = f"""
        mount -t tmpfs -o nr_inodes={inodes} none "$1" && cd "$1" || exit
        "$0" -m ipfod.ctl import ../two.yaml >/dev/null
        echo $?; ls -A
    """
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, sys.executable, str(there)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.stdout.split() == left
    refused = "ipfoctl: .: No space left on device\n  -> nothing was written\n"
    assert done.stderr == ("" if left[0] == "0" else refused)


def test_a_directory_that_one_may_not_write_to_is_exit_code_4() -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "two.yaml").write_text(TWO)
        os.chmod(directory, 0o555)
        with chdir(directory), as_somebody():  # he may not be able to come back to where the tests began
            code, out, err = imported(Path(), "two.yaml")
        assert (code, out) == (4, "")
        assert err == "ipfoctl: .: Permission denied\n  -> nothing was written\n"
        assert list(contents(Path(directory))) == ["two.yaml"]


@contextmanager
def as_somebody() -> Iterator[None]:
    """Without the rights of root, if this is root."""
    own = os.geteuid()
    os.seteuid(own or NOBODY)
    try:
        yield
    finally:
        os.seteuid(own)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nix.yaml"], "ipfoctl: nix.yaml: cannot be read: No such file or directory\n"),
        (["."], "ipfoctl: .: cannot be read: Is a directory\n"),
        (["a\0b"], "ipfoctl: a b: is not the name of a file\n"),
        (["/dev/zero"], "ipfoctl: /dev/zero: is no regular file\n  -> ipfoctl import - reads standard input\n"),
        (["/dev/null"], "ipfoctl: /dev/null: is no regular file\n"),
        (["../two.yaml", "-o", "nix"], "ipfoctl: nix: is no directory\n  -> nothing was written; create it"),
        (["../two.yaml", "-o", "../two.yaml"], "ipfoctl: ../two.yaml: is no directory\n"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_exit_code_1(
    there: Path, arguments: list[str], message: str
) -> None:
    code, out, err = imported(there, *arguments)
    assert (code, out, contents(there)) == (1, "", {})
    assert err.startswith(message)


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["-o", "a"], ["--json", "a"]])
def test_a_command_line_without_sense_is_exit_code_2(there: Path, arguments: list[str]) -> None:
    assert imported(there, *arguments)[0] == 2


def test_a_closed_standard_input_is_a_sentence(there: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -m ipfod.ctl import - <&-', sys.executable],
        cwd=there,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert (done.returncode, done.stderr) == (1, "ipfoctl: standard input: is closed\n")


# ---------------------------------------------------------------- anything

WORDS = st.sampled_from(
    [
        "---\n",
        "- ",
        ": ",
        "{",
        "}",
        "[",
        "]",
        "'",
        '"',
        "\n",
        "  ",
        "&a ",
        "*a",
        "!!x ",
        "#",
        "\0",
        "\x1b[2J",
        "é",
    ]
)
DAMAGE = st.tuples(st.integers(0, len(TWO)), st.integers(0, 9), WORDS | st.text(max_size=9))


@given(st.lists(DAMAGE, max_size=4) | st.binary())
def test_whatever_the_file_holds_all_is_written_or_nothing(damage: list[tuple[int, int, str]] | bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        manifest, there = Path(directory, "m.yaml"), Path(directory, "there")
        manifest.write_bytes(damage if isinstance(damage, bytes) else damaged(TWO, damage).encode())
        there.mkdir()
        code, out, err = imported(there, "../m.yaml")
        assert out.count("\n") == len(contents(there))
        assert code == (0 if out else 1)
        assert code == 0 or err.endswith("ipfoctl: ../m.yaml: nothing was written\n")
        assert err.replace("\n", "").isprintable()
        assert [load_file(path)[0] for path in there.iterdir()].count(None) == 0


def damaged(text: str, damage: list[tuple[int, int, str]]) -> str:
    """The text with pieces of it replaced: where, how many characters, by what."""
    for place, length, piece in damage:
        text = text[:place] + piece + text[place + length :]
    return text
