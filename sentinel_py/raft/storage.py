"""Where a sentinel's Raft files are: a directory that is made when there is something to keep."""

from __future__ import annotations

import os

from sentinel_py.raft.disk import Folder


class LocalStorage:
    """A directory of the real file system; locked from the first use on."""

    def __init__(self, path: str) -> None:
        self.name = path
        self._folder: Folder | None = None

    def exists(self) -> bool:
        return self._folder is not None or os.path.isdir(self.name)

    def open(self) -> Folder:
        if self._folder is None:
            self._folder = Folder(self.name)
        return self._folder

    def close(self) -> None:
        if self._folder:
            self._folder.close()
            self._folder = None
