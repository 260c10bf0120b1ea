"""What a virtual machine boots from: a kernel with modules, and the booted nodes' root file system."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from node import image
from node.cache import cached, place

NAME = "debian-kernel"
SCRIPT = Path(__file__).with_name("make_kernel.sh")
RECIPE = SCRIPT.read_text() + image.RECIPE


@dataclass(frozen=True, slots=True)
class Kernel:
    """Files, not to be written to."""

    vmlinuz: Path
    root: Path  # a cpio archive in the format "newc"


def kernel() -> Kernel:
    """The first call on a machine makes it: a minute, and another one for the nodes' image. Raises Failed."""

    def make(directory: Path) -> None:
        image.make(SCRIPT, str(directory), str(image.image()))

    directory = cached(NAME, RECIPE, make)
    return Kernel(directory / "vmlinuz", directory / "root.cpio")


def is_made() -> bool:
    """Whether `kernel()` would return at once."""
    return place(NAME, RECIPE).exists()
