"""Whether a script is fit to be run on root's behalf: keepalived's script security, and stricter."""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

MAX_LINKS = 40  # path_resolution(7): the kernel's own limit
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def script_complaint(path: Path, user: str) -> str:
    """Say what is wrong with a script that `user` shall run, naming the path that is wrong; "" if nothing is.

    The script, the directories above it and whatever symbolic links lead to must be owned by root and not be
    writable by group or others (a sticky directory like /tmp is), the script a regular file on a file
    system that allows execution, and executable by the user. May block on a name service.
    """
    if not path.is_absolute():
        return f"{path}: is not a full path"
    try:
        who = _Who.named(user)
    except KeyError:
        return f"{path}: there is no user {user} to run it"
    try:
        return _complaint(path, who)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        return f"{path}: {error.strerror if isinstance(error, OSError) else error}"


@dataclass(frozen=True, slots=True)
class _Who:
    name: str
    uid: int
    gids: frozenset[int]

    @classmethod
    def named(cls, user: str) -> _Who:
        """Raises KeyError."""
        if user == "root":
            return cls("root", 0, frozenset({0}))
        entry = pwd.getpwnam(user)
        return cls(user, entry.pw_uid, frozenset(os.getgrouplist(user, entry.pw_gid)))

    def may_execute(self, status: os.stat_result) -> bool:
        """Whether the mode lets this user execute a file or pass a directory: path_resolution(7)."""
        if self.uid == 0:
            return stat.S_ISDIR(status.st_mode) or bool(status.st_mode & 0o111)
        if self.uid == status.st_uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid in self.gids:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)


def _complaint(path: Path, who: _Who) -> str:
    """Walk as the kernel does, so that a link's own directory is looked at as well as what it leads to."""
    here, ahead, links = Path("/"), _steps(path), 0
    while True:
        status = here.lstat()
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > MAX_LINKS:
                return f"{path}: too many symbolic links"
            ahead = _steps(here.readlink()) + ahead
            here = Path("/") if here.readlink().is_absolute() else here.parent
            continue
        if wrong := _unsafe(status):
            return f"{here}: {wrong}"
        if not ahead:
            return _file_complaint(here, status, who)
        if not stat.S_ISDIR(status.st_mode):
            return f"{here}: is not a directory"
        if not who.may_execute(status):
            return f"{here}: user {who.name} may not enter it"
        name = ahead.pop(0)
        here = here.parent if name == ".." else here / name
        if not os.path.lexists(here):
            return f"{here}: does not exist"


def _steps(path: Path) -> list[str]:
    return [part for part in path.parts if part != "/"]


def _unsafe(status: os.stat_result) -> str:
    if status.st_uid != 0:
        return f"is owned by {_owner(status.st_uid)}, not by root"
    if status.st_mode & _WRITABLE_BY_OTHERS:
        return f"is writable by others than root (mode {stat.S_IMODE(status.st_mode):04o})"
    return ""


def _file_complaint(path: Path, status: os.stat_result, who: _Who) -> str:
    if not stat.S_ISREG(status.st_mode):
        return f"{path}: is not a regular file"
    if not who.may_execute(status):
        return f"{path}: is not executable by {who.name} (mode {stat.S_IMODE(status.st_mode):04o})"
    if os.statvfs(path).f_flag & os.ST_NOEXEC:
        return f"{path}: lies on a file system that is mounted noexec"
    return ""


def _owner(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
