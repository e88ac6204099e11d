"""HAProxy itself, led by its Runtime API: who knows its port alone goes on writing."""

import shutil
import signal
import socket
from pathlib import Path

import pytest

from sentinel_py.local import HOST, eventually

from .group import FAILOVER_WITHIN_MS, NAME, follows, new_master
from .leading import Program, Writer, naming, written_to

EXAMPLE = Path(__file__).parents[2] / "docs" / "proxies" / "haproxy.cfg"

pytestmark = pytest.mark.skipif(not shutil.which("haproxy"), reason="no haproxy on PATH")


class Balancer:
    """An HAProxy with the file of the documentation, and a Runtime API in a short folder."""

    def __init__(self, sandbox):
        self.port = sandbox.port()
        self.socket = sandbox.folder / "admin.sock"
        self._folder = sandbox.folder / "haproxy"
        self._folder.mkdir()
        self._conf = self._folder / "haproxy.cfg"
        text = EXAMPLE.read_text().replace("/run/haproxy/admin.sock", str(self.socket))
        self._conf.write_text(text.replace("127.0.0.1:6380", f"{HOST}:{self.port}"))

    def start(self):
        argv = [shutil.which("haproxy"), "-db", "-f", str(self._conf)]
        started = Program(self._folder, argv=argv)
        eventually(lambda: self.ask("show info"), what="answer from HAProxy")
        return started

    def ask(self, order):
        with socket.socket(socket.AF_UNIX) as runtime:
            runtime.settimeout(5)
            runtime.connect(str(self.socket))
            runtime.sendall(f"{order}\n".encode())
            return runtime.makefile().read()


@pytest.fixture
def balancer(sandbox):
    """An HAProxy that leads nowhere yet."""
    made = Balancer(sandbox)
    with made.start() as made.process:
        yield made


@pytest.fixture
def leader(balancer, sentinels, tmp_path):
    """What leads it to the master, and has done so."""
    options = ["--socket", balancer.socket, "--server", "redis/master", *naming(sentinels)]
    with Program(tmp_path, "haproxy", NAME, *options) as started:
        started.says("redis/master leads there")
        yield started


def test_a_client_writes_on_when_the_master_dies(redis_cluster, sentinels, balancer, leader):
    """Its writes are on the new master, where the server of HAProxy is now."""
    with Writer(balancer.port) as writer:
        writer.writes()
        redis_cluster.master.kill()
        port = new_master(sentinels, redis_cluster.master)
        writer.writes()
    assert written_to(redis_cluster.at(port), writer)
    assert leader.end(signal.SIGTERM) == 0
    assert f"{NAME} is {HOST}:{port}: redis/master leads there" in leader.printed
    assert "Traceback" not in leader.printed


def test_sessions_with_a_master_that_hangs_are_shut_down(
    redis_cluster, sentinels, balancer, leader
):
    """They would stay with it, and write there when it goes on."""
    old = redis_cluster.master
    with socket.create_connection((HOST, balancer.port), 10) as waiting:
        waiting.sendall(b"PING\r\n")
        assert waiting.recv(100) == b"+PONG\r\n"
        old.pause()
        new = redis_cluster.at(new_master(sentinels, old))
        waiting.settimeout(FAILOVER_WITHIN_MS / 1000)
        assert waiting.recv(100) == b""
        leader.says(f"{NAME} is {new.address}: ")
        with Writer(balancer.port) as writer:
            writer.writes()
        old.resume()
        eventually(lambda: follows(old, new), FAILOVER_WITHIN_MS)
    assert written_to(new, writer)


def test_an_haproxy_that_was_restarted_is_led_again(balancer, leader):
    """It knows its file alone, where the server is disabled; the error is told once meanwhile."""
    balancer.process.end(signal.SIGTERM)
    leader.says("HAProxy at .*admin.sock: .*; tried again each 1 s")
    with balancer.start() as balancer.process, Writer(balancer.port) as writer:
        writer.writes()


def test_a_server_that_is_not_there_is_named(sentinels, balancer, tmp_path):
    """In HAProxy's own words where it has some."""
    for server, reason in (("redis/x", "No such server"), ("x/master", "Can't find backend")):
        folder = tmp_path / server.replace("/", "-")
        folder.mkdir()
        options = ["--socket", balancer.socket, "--server", server, *naming(sentinels)]
        with Program(folder, "haproxy", NAME, *options) as started:
            started.says(f"HAProxy knows no {server}: {reason}")
