"""The disk of one host: what programs wrote, and what of it a crash leaves.

It can be put in the place of `storage.LOCAL`, and has what a journal needs beside that: append,
sync, rename. The rule it guards: whatever was not synced may be lost in a crash, whole or in
part, and the seed decides; a rename that was not followed by a sync of the directory may not have
happened.
"""

import errno
import fnmatch
import posixpath

from sentinel_py.storage import SaveError


class _File:
    """The bytes of a file, and how many from its beginning are on the platter."""

    def __init__(self, data=b"", synced=0):
        self.data = bytearray(data)
        self.synced = synced


class PowerCut(BaseException):
    """The host has lost its power in the middle of a write; unwinds the program, which is dead."""


class SimDisk:
    """A directory tree by full paths. ``rng`` decides what survives of what was not synced.

    ``writes_left`` lets the power fail in the middle: ``on_cut`` is called instead of the write
    after so many.
    """

    def __init__(self, rng):
        self.is_full = False
        self.writes_left = None
        self.on_cut = None
        self.later = None
        self._rng = rng
        self._names = {}  # path -> file, as programs see it
        self._synced_names = {}  # the same, as the directory is on the platter
        self._dir = "/"

    def crash(self):
        """Lose what was not synced; names are as they are now, or as when they were synced."""
        if self._rng.random() < 0.5:
            self._names = dict(self._synced_names)
        self._synced_names = dict(self._names)
        for file in self._names.values():
            tail = len(file.data) - file.synced
            del file.data[file.synced + (self._rng.randint(0, tail) if tail else 0) :]
            file.synced = len(file.data)

    # What the config file needs: `storage.Disk`

    def read_text(self, path):
        return bytes(self._file(path).data).decode(errors="surrogateescape")

    def write_atomically(self, path, text):
        temporary = f"{path}.tmp"
        try:
            self.create(temporary)
            self.append(temporary, text.encode(errors="surrogateescape"))
            self.sync(temporary)
            self.rename(temporary, path)
            self.sync_dir()
        except OSError as error:
            self.remove(temporary)
            raise SaveError("Could not save the config file", error.strerror) from error

    def matching(self, pattern):
        return sorted(fnmatch.filter(self._names, self._full(pattern)))

    def change_dir(self, path):
        self._dir = self._full(path)

    def current_dir(self):
        return self._dir

    def check_appendable(self, path):
        self._names.setdefault(self._full(path), _File())

    def check_writable(self, path):
        self._file(path)

    # What a journal needs

    def begin(self, job, ended):
        """Do a job at once, or have ``later`` call `do` in its own time, if the disk is slow."""
        if self.later is None:
            self.do(job, ended)
        else:
            self.later(job, ended)

    @staticmethod
    def do(job, ended):
        """Do a job, and tell what came of it; a power cut goes on upwards."""
        error = None
        try:
            job()
        except Exception as raised:  # whoever gave the job raises it
            error = raised
        ended(error)

    def read(self, path):
        return bytes(self._file(path).data)

    def create(self, path):
        self._names[self._full(path)] = _File()

    def append(self, path, data):
        self._count_write()
        file = self._file(path)
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        file.data += data

    def truncate(self, path, size):
        file = self._file(path)
        del file.data[size:]
        file.synced = min(file.synced, size)

    def sync(self, path):
        self._count_write()
        file = self._file(path)
        file.synced = len(file.data)

    def rename(self, path, new_path):
        self._count_write()
        self._names[self._full(new_path)] = self._file(path)
        del self._names[self._full(path)]

    def remove(self, path):
        del self._names[self._full(path)]

    def sync_dir(self):
        self._count_write()
        self._synced_names = dict(self._names)

    def _count_write(self):
        if self.writes_left is None:
            return
        self.writes_left -= 1
        if self.writes_left < 0:
            self.writes_left = None
            self.on_cut()
            raise PowerCut

    def _full(self, path):
        return posixpath.normpath(posixpath.join(self._dir, path))

    def _file(self, path):
        try:
            return self._names[self._full(path)]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory") from None


class SimStorage:
    """The directory of a Raft member, on such a disk: `raft.files.Storage`."""

    def __init__(self, name, disk):
        self.name = name
        self._disk = disk

    def exists(self):
        return True

    def open(self):
        return self._disk

    def close(self):
        pass
