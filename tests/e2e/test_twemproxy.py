"""Twemproxy itself, whose file is rewritten: who knows its port alone goes on writing."""

import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from sentinel_py.local import HOST, eventually

from .group import ask, new_master, settle, start_cluster, start_sentinels, watch
from .leading import KEY, Program, Writer, naming, written_to

EXAMPLE = Path(__file__).parents[2] / "docs" / "proxies" / "nutcracker.yml"
SHARDS = ("shard-1", "shard-2")

pytestmark = pytest.mark.skipif(not shutil.which("nutcracker"), reason="no nutcracker on PATH")


class Supervised:
    """A Twemproxy with the file of the documentation, which is started again when it ends."""

    def __init__(self, sandbox):
        self.port = sandbox.port()
        self.starts = 0
        folder = sandbox.folder / "nutcracker"
        folder.mkdir()
        self.conf, self.pid_file, self._log = (folder / name for name in ("yml", "pid", "log"))
        self.conf.write_text(EXAMPLE.read_text().replace(":22121", f":{self.port}"))
        options = {"-c": self.conf, "-o": folder / "own.log", "-a": HOST, "-s": sandbox.port()}
        words = [str(word) for option in options.items() for word in option]
        self._argv = [shutil.which("nutcracker"), *words]
        self._process = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_running, daemon=True)

    def _keep_running(self):
        with self._log.open("wb") as log:
            while not self._ended.is_set():
                self._process = subprocess.Popen(self._argv, stdout=log, stderr=log)
                # In the foreground Twemproxy writes none itself.
                self.pid_file.write_text(str(self._process.pid))
                self.starts += 1
                self._process.wait()

    def __enter__(self):
        self._thread.start()
        return self

    def is_up(self):
        with socket.create_connection((HOST, self.port), 1):
            return True

    def __exit__(self, *error):
        self._ended.set()
        eventually(lambda: self._process)
        self._process.kill()
        self._thread.join()
        if error[0]:
            print(self._log.read_text())


@pytest.fixture
def twemproxy(sandbox):
    """A Twemproxy that leads to the addresses in the documentation."""
    with Supervised(sandbox) as started:
        eventually(started.is_up, what="answer from Twemproxy")
        yield started


@pytest.fixture
def shards(sandbox):
    """Two masters with a replica each."""
    return {name: start_cluster(sandbox, replicas=1) for name in SHARDS}


@pytest.fixture
def guards(sandbox, shards, program):
    """Three sentinels that watch both."""
    lines = [line for name, cluster in shards.items() for line in watch(cluster, name)]
    started = start_sentinels(sandbox, lines, program)
    for name, cluster in shards.items():
        settle(started, cluster, name)
    return started


def restarting(twemproxy, way):
    """The option that says how to restart it."""
    if way == "pid file":
        return ["--pid-file", twemproxy.pid_file]
    return ["--restart", f"""sh -c 'kill "$(cat "{twemproxy.pid_file}")"'"""]


@pytest.mark.parametrize("way", ["pid file", "command"])
def test_a_client_writes_on_when_a_master_dies(shards, guards, twemproxy, tmp_path, way):
    """The shard of its key has another master, and nothing else in the file has changed."""
    before = twemproxy.conf.read_text()
    options = ["--config", twemproxy.conf, *restarting(twemproxy, way), *naming(guards)]
    with Program(tmp_path, "twemproxy", *SHARDS, *options) as leader, Writer(twemproxy.port) as it:
        it.writes()
        shard = next(name for name in SHARDS if ask(shards[name].master, "EXISTS", KEY))
        old = shards[shard].master
        old.kill()
        port = new_master(guards, old, shard)
        leader.says(f"{shard} is {HOST}:{port}.*, restarted")
        it.writes()
        assert leader.end(signal.SIGTERM) == 0
        assert "Traceback" not in leader.printed
    assert written_to(shards[shard].at(port), it)
    masters = {name: cluster.master.port for name, cluster in shards.items()} | {shard: port}
    wanted = before.replace(":6379:", f":{masters['shard-1']}:")
    assert twemproxy.conf.read_text() == wanted.replace(":6380:", f":{masters['shard-2']}:")
    # Both masters may have been found in the same instant, or one after the other.
    assert twemproxy.starts in (3, 4)
