"""`ipfoctl import`: configuration files from Deployments of OpenShift's IP failover. All of them or none."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from ipfod.config.manifest import MANIFEST_MAX
from ipfod.config.openshift import ConfigurationFile, convert
from ipfod.ctl.console import Console, complain
from ipfod.ctl.failures import CommandFailed, ConfigurationRefused, Exit, NotPermitted
from ipfod.ctl.offline import shown
from ipfod.ctl.text import count, line

STANDARD_INPUT = Path("-")
NOTHING_WRITTEN = "nothing was written"


def run(file: Path, directory: Path, console: Console) -> Exit:
    """Read a manifest, `-` for standard input, and write `DIRECTORY/NAME.toml` for each failover in it.

    Raises CommandFailed, and ConfigurationRefused with every complaint; then nothing has been written.
    """
    name = "<stdin>" if file == STANDARD_INPUT else str(file)
    conversion = convert(_read(file), name)
    complaints = [shown(complaint) for complaint in conversion.complaints]
    if not conversion.files:
        raise ConfigurationRefused("\n".join([*complaints, f"ipfoctl: {name}: {NOTHING_WRITTEN}"]))
    complain(*complaints)
    _write(conversion.files, directory)
    for each in conversion.files:
        told = f"{directory / each.name}.toml: written, with {count(each.virtual_ips, 'virtual IP')}"
        console.show([line(told)])
    return Exit.DONE


def _read(file: Path) -> bytes:
    """The manifest, at most one byte more than is allowed; also from a shell's pipe. Raises CommandFailed."""
    try:
        if file == STANDARD_INPUT:
            if sys.stdin is None:
                raise CommandFailed("standard input: is closed")
            return sys.stdin.buffer.read(MANIFEST_MAX + 1)
        with open(file, "rb", opener=_open_without_waiting) as opened:
            return opened.read(MANIFEST_MAX + 1)
    except OSError as error:
        raise CommandFailed(f"{file}: cannot be read: {error.strerror}") from None
    except ValueError:  # a NUL in the name
        raise CommandFailed(f"{file}: is not the name of a file") from None


def _open_without_waiting(path: str, flags: int) -> int:
    """An opener for regular files, and for the pipe of `<(command)`. Raises OSError, CommandFailed.

    Nobody may ever write to a FIFO, nor need a device have an end.
    """
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            return descriptor  # open() says so itself
        # Only a FIFO has a name; a pipe has somebody at its other end, or had. See proc_pid_fd(5).
        pipe = stat.S_ISFIFO(mode) and os.readlink(f"/proc/self/fd/{descriptor}").startswith("pipe:")
        if not pipe and not stat.S_ISREG(mode):
            raise CommandFailed(f"{path}: is no regular file", hint="ipfoctl import - reads standard input")
        os.set_blocking(descriptor, True)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _write(files: Sequence[ConfigurationFile], directory: Path) -> None:
    """Write all files, or none. Raises CommandFailed.

    Each is complete before it gets its name, by a hard link: unlike a rename, that never replaces a file.
    """
    paths = [directory / f"{file.name}.toml" for file in files]
    if standing := [path for path in paths if os.path.lexists(path)]:
        raise _exists(*standing)
    made: list[Path] = []
    try:
        with TemporaryDirectory(dir=directory, prefix=".ipfoctl-import-") as drafts:
            for path, file in zip(paths, files, strict=True):
                _write_new(Path(drafts, path.name), file.text)
            for path in paths:
                os.link(Path(drafts, path.name), path)
                made.append(path)
    except BaseException as error:
        for path in made:
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _failure(error, directory) from None
        raise


def _write_new(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _exists(*paths: Path) -> CommandFailed:
    exist = "exists" if len(paths) == 1 else "exist"
    hint = f"{NOTHING_WRITTEN}; move what is there away, or name another directory with -o"
    return CommandFailed(f"{', '.join(map(str, paths))}: {exist} already", hint=hint)


def _failure(error: OSError, directory: Path) -> CommandFailed:
    if isinstance(error, FileExistsError):  # somebody was quicker
        return _exists(Path(error.filename2 or directory))
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return CommandFailed(f"{directory}: is no directory", hint=f"{NOTHING_WRITTEN}; create it first")
    kind = NotPermitted if isinstance(error, PermissionError) else CommandFailed
    return kind(f"{directory}: {error.strerror}", hint=NOTHING_WRITTEN)
