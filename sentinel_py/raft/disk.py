"""The folder of the journal: a few files by name, and the steps that make them last.

What the bytes mean is the journal's business. `Disk` is what it needs of a file system, so that a
simulator can put its own in the place of `Folder`. The rule it guards: nothing here is durable
before `sync` has returned, and no rename before `sync_dir` has; and one folder has one user.

A sync may take a second, so what waits for one can be done in a thread of the folder's own.
"""

from __future__ import annotations

import fcntl
import os
from typing import Protocol

from sentinel_py.worker import Ended, Job, Worker

# The log carries the passwords of the masters.
_FOLDER_MODE = 0o700
_FILE_MODE = 0o600


class Disk(Protocol):
    """Files of one folder. Failures are OSError."""

    def begin(self, job: Job, ended: Ended) -> None:
        """Do a job on this disk, one at a time; ``ended`` is called at once, or later by the loop.

        Nobody else touches the disk meanwhile.
        """

    def read(self, path: str) -> bytes: ...

    def create(self, path: str) -> None:
        """An empty file; an old one of that name is emptied."""

    def append(self, path: str, data: bytes) -> None: ...

    def truncate(self, path: str, size: int) -> None: ...

    def sync(self, path: str) -> None: ...

    def rename(self, path: str, new_path: str) -> None: ...

    def remove(self, path: str) -> None: ...

    def sync_dir(self) -> None: ...


class FolderInUseError(Exception):
    """Another process has this folder."""


class Folder:
    """A folder of the real file system, locked for this process; files stay open once written."""

    def __init__(self, path: str) -> None:
        os.makedirs(path, _FOLDER_MODE, exist_ok=True)
        self._folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        self._files: dict[str, int] = {}
        self._worker = Worker("raft disk")
        try:
            fcntl.flock(self._folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._folder)
            raise FolderInUseError(f"Another process uses {path}") from None

    def begin(self, job: Job, ended: Ended) -> None:
        self._worker.begin(job, ended)

    def close(self) -> None:
        if not self._worker.close():
            return
        for fd in (*self._files.values(), self._folder):
            os.close(fd)
        self._files.clear()

    def read(self, path: str) -> bytes:
        with open(os.open(path, os.O_RDONLY, dir_fd=self._folder), "rb") as file:
            return file.read()

    def create(self, path: str) -> None:
        self._forget(path)
        self._files[path] = self._open(path, os.O_CREAT | os.O_TRUNC)

    def append(self, path: str, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self._file(path), left) :]

    def truncate(self, path: str, size: int) -> None:
        os.ftruncate(self._file(path), size)

    def sync(self, path: str) -> None:
        os.fdatasync(self._file(path))

    def rename(self, path: str, new_path: str) -> None:
        os.rename(path, new_path, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self._forget(new_path)
        if path in self._files:
            self._files[new_path] = self._files.pop(path)

    def remove(self, path: str) -> None:
        self._forget(path)
        os.unlink(path, dir_fd=self._folder)

    def sync_dir(self) -> None:
        os.fsync(self._folder)

    def _file(self, path: str) -> int:
        if path not in self._files:
            self._files[path] = self._open(path, 0)
        return self._files[path]

    def _open(self, path: str, flags: int) -> int:
        flags |= os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        return os.open(path, flags, _FILE_MODE, dir_fd=self._folder)

    def _forget(self, path: str) -> None:
        if path in self._files:
            os.close(self._files.pop(path))
