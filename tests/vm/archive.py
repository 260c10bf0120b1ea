"""Files to be added to a virtual machine's root file system, as the kernel unpacks them at boot. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

MAGIC = b"070701"  # "newc": Documentation/driver-api/early-userspace/buffer-format.rst of the kernel
END = "TRAILER!!!"
DIRECTORY, FILE = 0o040755, 0o100644


def archive(files: Mapping[str, bytes]) -> bytes:
    """A cpio archive with files by their absolute paths, owned by root.

    The directories that lead there are made, and get mode 0755 if they are there; they must not be symbolic
    links, which the kernel would replace (so /usr/lib, not /lib).
    """
    parents = {
        parent for path in files for parent in PurePosixPath(path).relative_to("/").parents if parent.name
    }
    entries = [_entry(str(parent), DIRECTORY, b"") for parent in sorted(parents)]
    entries += [_entry(path.lstrip("/"), FILE, content) for path, content in files.items()]
    return b"".join([*entries, _entry(END, 0, b"")])


def _entry(name: str, mode: int, content: bytes) -> bytes:
    """Header, name and content, each ending at a multiple of 4 bytes."""
    encoded = name.encode() + b"\0"
    # inode, mode, owner, group, links, time, size, device (2), special file (2), length of name, checksum
    numbers = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
    return _padded(MAGIC + b"".join(b"%08X" % number for number in numbers) + encoded) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
