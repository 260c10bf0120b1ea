"""keepalived's configuration of one failover: judged by keepalived before it lies where keepalived reads it."""

from __future__ import annotations

from ipfod.config.model import Failover
from ipfod.files import read_text
from ipfod.keepalived.files import KeepalivedFiles, write_atomically
from ipfod.keepalived.launcher import test_configuration
from ipfod.keepalived.notify import wrapper
from ipfod.keepalived.reread import release_commands


class Configuration:
    """The file, and whether keepalived has read what is in it. Methods that write raise OSError."""

    def __init__(self, files: KeepalivedFiles) -> None:
        self._files = files
        self._accepted = ""  # the text that keepalived judged last
        self._unread = False  # written, and keepalived was not made to read it

    def is_in_force(self, text: str) -> bool:
        """Whether a running keepalived has read this text; of what an earlier ipfod wrote, that is assumed."""
        return text == self._written() and not self._unread

    async def examine(self, text: str) -> None:
        """Let keepalived judge a text. Raises Failed if it refuses it, OSError."""
        if text not in (self._accepted, self._written()):
            self._files.prepare()
            write_atomically(self._files.candidate, text)
            await test_configuration(self._files)
            self._accepted = text

    async def install(self, text: str) -> None:
        """Write a text where keepalived reads it, once keepalived has judged it. Raises Failed, OSError."""
        await self.examine(text)
        write_atomically(self._files.release, release_commands(text))
        if text != self._written():
            write_atomically(self._files.configuration, text)
            self._unread = True
        self._files.candidate.unlink(missing_ok=True)

    def was_read(self) -> None:
        """keepalived was started or reloaded since the last `install`."""
        self._unread = False

    def wrap(self, failover: Failover) -> None:
        """Write what keepalived runs as notify script; it is read at each run."""
        if text := wrapper(failover, self._files):
            write_atomically(self._files.notify, text)

    def _written(self) -> str:
        try:
            return read_text(self._files.configuration)
        except (OSError, UnicodeDecodeError):
            return ""
