"""What can go wrong, as few classes as a caller would tell apart."""

import errno

# This process or machine is out of something: errno(3). It says nothing of whatever was asked.
SCARCE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN})


class IpfodError(Exception):
    """Root of every error that ipfod raises on purpose.

    `text` starts with the object it is about and says what happened; `hint` says what to do, or is "".
    """

    def __init__(self, text: str, *, hint: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.text} ({self.hint})" if self.hint else self.text


class InvalidConfiguration(IpfodError):
    """A configuration was refused; the text lists every complaint, one a line."""


class NotFound(IpfodError):
    """The failover, group or virtual IP that was asked for does not exist here."""


class InvalidRequest(IpfodError):
    """What was asked for makes no sense; the text says what is accepted."""


class NoSuccessor(IpfodError):
    """No other node took a group over, so this one keeps it."""


class Busy(IpfodError):
    """The group is being moved already."""


class Failed(IpfodError):
    """Something outside ipfod (a program, the kernel, the bus) refused or did not answer."""
