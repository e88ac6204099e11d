"""The running of local processes that all these tests and the demo stand on."""

import os
import signal
import socket

import pytest

from sentinel_py.local import HOST, LocalError, Sandbox, eventually, wait_ready

from .group import ask


def test_nothing_outlives_its_sandbox():
    """Processes, paused ones too, and the directory are gone."""
    with Sandbox() as box:
        servers = [box.redis() for _ in range(2)]
        wait_ready(servers)
        pids = [server.pid for server in servers]
        servers[0].pause()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not box.folder.exists()


def test_a_port_stays_reserved_between_two_starts(sandbox):
    """A killed server gets its port again: nobody else can take it meanwhile."""
    server = sandbox.redis()
    wait_ready([server])
    assert server.kill() == -signal.SIGKILL
    with socket.socket() as thief, pytest.raises(OSError, match="in use"):
        thief.bind((HOST, server.port))
    server.start()
    wait_ready([server])
    assert ask(server, "INFO", "server")["tcp_port"] == server.port


def test_a_taken_port_is_replaced_by_a_free_one(sandbox):
    """The caller sees it by the number."""
    with socket.create_server((HOST, 0)) as taken:
        wanted = taken.getsockname()[1]
        port = sandbox.port(wanted)
    assert port not in (0, wanted)


def test_a_paused_server_does_not_answer_and_a_resumed_one_does(sandbox):
    """SIGSTOP keeps the sockets open: only the answer is missing."""
    server = sandbox.redis()
    wait_ready([server])
    server.pause()
    assert not server.ready()
    server.resume()
    assert eventually(server.ready)
    assert server.terminate() == 0


def test_a_server_that_cannot_start_says_why(sandbox):
    """One line with the last that the process printed."""
    server = sandbox.redis(options={"no-such-directive": "1"})
    with pytest.raises(LocalError, match=r"redis on port .* ended with status 1: Bad directive"):
        wait_ready([server])


def test_what_does_not_happen_in_time_is_named():
    """The deadline's message says what was waited for, and the last error if there was one."""

    def refuse():
        raise ConnectionError("refused")

    with pytest.raises(LocalError, match=r"^no miracle within 0\.05 s$"):
        eventually(lambda: False, 50, "miracle")
    with pytest.raises(LocalError, match=r"\(last error: refused\)$"):
        eventually(refuse, 50)
