"""The disk under the config file: reading, and a replacement that is whole or not there at all.

What the lines mean is the business of `config`; nothing here looks into them. `Disk` is what
`config` needs of a file system, so that a simulator can put its own in the place of `LOCAL`. A file
that no other can be renamed over is written in place (`in_place`). The rule it guards: after
`write_atomically` returned, the new text outlives a power failure; before, the old one does, and at
no time may anybody read it who could not read the old file.

Text is UTF-8 with surrogate escapes: any byte that stood in a file comes back as it was.
"""

import contextlib
import errno
import glob
import os
import stat
import tempfile
from collections.abc import Iterator
from typing import Protocol

from sentinel_py import in_place

_NEW_FILE_MODE = 0o644
_GROUP_BITS = 0o070
_NO_RENAME = (errno.EBUSY, errno.EACCES, errno.EPERM, errno.EROFS, errno.EXDEV)
"""What a directory or a mount says, and will say again. A full disk may have room the next time."""


class SaveError(Exception):
    """The new text is not on disk: `text` says which step failed, `reason` is the system's word."""

    def __init__(self, text: str, reason: str, errno: int = 0) -> None:
        super().__init__(f"{text} ({reason})")
        self.reason = reason
        self.errno = errno


class Disk(Protocol):
    """What the config file needs of a file system. Failures are OSError, but for writing."""

    def read_text(self, path: str) -> str: ...

    def write_atomically(self, path: str, text: str) -> None:
        """Replace the file for good, or raise SaveError."""

    def matching(self, pattern: str) -> list[str]:
        """The files that a shell pattern stands for, sorted."""

    def change_dir(self, path: str) -> None: ...

    def current_dir(self) -> str: ...

    def check_appendable(self, path: str) -> None: ...

    def check_writable(self, path: str) -> None: ...


class LocalDisk:
    """The real file system.

    ``in_place`` has the files that no other can be renamed over, with the system's word for why.
    """

    def __init__(self) -> None:
        self.in_place: dict[str, str] = {}

    def read_text(self, path: str) -> str:
        with open(path, "rb") as file:
            return in_place.whole(file.read()).decode(errors="surrogateescape")

    def write_atomically(self, path: str, text: str) -> None:
        # A link stays a link: what it points to is replaced, beside itself.
        target = os.path.realpath(path)
        try:
            data = text.encode(errors="surrogateescape")
        except UnicodeEncodeError as error:
            raise SaveError("Could not encode config file", error.reason) from error
        if target in self.in_place:
            with _step("Could not write config file in place"):
                _overwrite(target, data)
            return
        try:
            _replace(target, data)
        except SaveError as refused:
            try:
                _overwrite(target, data)
            except OSError:
                raise refused from None  # it says how it should be
            if refused.errno in _NO_RENAME:
                self.in_place[target] = refused.reason

    def why_in_place(self, path: str) -> str:
        """Why a file is written in place; empty if it is replaced."""
        return self.in_place.get(os.path.realpath(path), "")

    def matching(self, pattern: str) -> list[str]:
        return sorted(glob.glob(pattern))

    def change_dir(self, path: str) -> None:
        os.chdir(path)

    def current_dir(self) -> str:
        return os.getcwd()

    def check_appendable(self, path: str) -> None:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, _NEW_FILE_MODE))

    def check_writable(self, path: str) -> None:
        os.close(os.open(path, os.O_WRONLY))


LOCAL = LocalDisk()


def cause(error: OSError) -> str:
    """The system's word for what went wrong."""
    return error.strerror or str(error)


def is_executable(path: str) -> bool:
    """Whether a script that the configuration names can be run."""
    return "\0" not in path and os.access(path, os.X_OK)


def _replace(target: str, data: bytes) -> None:
    """Put a new file in the place of the target."""
    with _step("Could not create tmp config file"):
        fd, temporary = tempfile.mkstemp(prefix=f"{os.path.basename(target)}.", dir=_dir(target))
    try:
        _write(fd, data)
        with _step("Could not chmod config file"):
            _take_after(fd, target)
        with _step("Could not sync tmp config file to disk"):
            os.fsync(fd)
        with _step("Could not rename tmp config file"):
            os.rename(temporary, target)
    except SaveError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    finally:
        with contextlib.suppress(OSError):
            os.close(fd)
    with _step("Could not sync config file dir"):
        _sync_dir(_dir(target))


def _overwrite(target: str, data: bytes) -> None:
    with open(target, "r+b", buffering=0) as file:
        in_place.overwrite(in_place.Descriptor(file.fileno()), data)


def _dir(path: str) -> str:
    return os.path.dirname(path) or "."


@contextlib.contextmanager
def _step(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SaveError(name, cause(error), error.errno or 0) from error


def _write(fd: int, data: bytes) -> None:
    written = 0
    while written < len(data):
        with _step(f"Failed after writing ({written}) bytes to tmp config file"):
            written += os.write(fd, data[written:])


def _take_after(fd: int, target: str) -> None:
    """Give the new file the owner and the mode of the one it replaces."""
    try:
        old = os.stat(target)
    except FileNotFoundError:
        os.fchmod(fd, _NEW_FILE_MODE & ~_umask())
        return
    mode = stat.S_IMODE(old.st_mode)
    new = os.fstat(fd)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        try:
            os.fchown(fd, old.st_uid, old.st_gid)
        except PermissionError:
            # What the old group was trusted with, ours is not.
            mode &= ~_GROUP_BITS
    os.fchmod(fd, mode)


def _umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def _sync_dir(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
