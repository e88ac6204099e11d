"""The config file, in which operators and other programs write."""

from contextlib import suppress

from sentinel_py.config import directives
from sentinel_py.config.config import ConfigError, StartError, load
from sentinel_py.config.rewrite import ConfigFile
from sentinel_py.core.model import State

FILES = [
    b"port 26379\nsentinel myid " + b"a" * 40 + b"\nsentinel monitor mm 127.0.0.1 6379 2\n"
    b"sentinel down-after-milliseconds mm 5000\nsentinel known-replica mm 127.0.0.1 6380\n",
    b'# comment\nuser default on nopass ~* &* +@all\nrequirepass "a b"\ndir "/tmp"\n',
    b"include /other\nrename-command SHUTDOWN ''\nclient-output-buffer-limit normal 1mb 0 0\n",
    b"sentinel monitor mm db.example 6379 1\nsentinel resolve-hostnames yes\n"
    b'sentinel raft-peers 10.0.1.1:26379 10.0.1.2:26379\nsentinel auth-pass mm "\\x00\'"\n',
]
SEEDS = {"config": FILES}


class MemoryDisk:
    """A disk with one file."""

    def __init__(self, text):
        self.text = text

    def read_text(self, path):
        if path != "/c":
            raise FileNotFoundError(2, "No such file or directory", path)
        return self.text

    def write_atomically(self, _path, text):
        self.text = text

    def matching(self, _pattern):
        return []

    def change_dir(self, path):
        raise NotADirectoryError(20, "Not a directory", path)

    def current_dir(self):
        return "/"

    def check_appendable(self, path):
        raise IsADirectoryError(21, "Is a directory", path)


def config(data):
    """A file that is read, is read again after it was rewritten, and says the same then."""
    disk = MemoryDisk(data.decode(errors="surrogateescape"))
    with suppress(ConfigError, StartError):
        _start(disk)
        first = _rewritten(disk)
        assert _rewritten(disk) == first


def _start(disk):
    state = State(myid="")
    loaded = load("/c", disk=disk)
    directives.apply(loaded.statements, state, now=0, resolve=lambda _: "10.9.9.9")
    return loaded, state


def _rewritten(disk):
    loaded, state = _start(disk)
    users = [" ".join(it.words) for it in loaded.users]
    ConfigFile("/c", loaded, disk).rewrite(directives.render(state), users)
    return disk.text
