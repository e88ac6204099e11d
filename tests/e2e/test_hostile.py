"""Peers that talk nonsense: on the port of a sentinel, and in the place of a watched Redis."""

import socket
import socketserver
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from sentinel_py.local import HOST, Sandbox, eventually, wait_ready

from .group import NAME, ask, client, master_row, start_cluster, start_sentinels, watch

GARBAGE = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "all bytes": bytes(range(256)) * 40,
    "a huge count": b"*1000000000\r\n",
    "a negative length": b"*1\r\n$-5\r\n",
    "no number": b"*abc\r\n",
    "an endless line": b"A" * 100_000,
    "an array for a string": b"*1\r\n*1\r\n$4\r\nPING\r\n",
    "more than announced": b"*1\r\n$4\r\nPINGPONG\r\n*1\r\n",
    "half a command": b"*2\r\n$4\r\nPI",
    "unbalanced quotes": b'PING "\r\n',
    "empty lines": b"\r\n" * 1000,
}
INFO_WITH_BROKEN_NUMBERS = (
    b"# Replication\r\nrun_id:short\r\nrole:banana\r\nconnected_slaves:x\r\n"
    b"slave0:ip=127.0.0.1,port=99999999999999999999,state=online,offset=-,lag=?\r\n"
    b"slave1:ip=,port=,state=\r\nslave2:\r\nslave3:ip=\xff\xfe,port=1e3\r\n"
    b"master_link_down_since_seconds:forever\r\nslave_priority:high\r\nslave_repl_offset:\r\n"
)


@pytest.fixture(scope="module")
def sentinel(program):
    """One sentinel with one master; whatever is done to it must leave it as it was."""
    with Sandbox() as box:
        cluster = start_cluster(box, replicas=0)
        yield start_sentinels(box, watch(cluster), program, count=1)[0]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_on_the_port_harms_nobody_else(sentinel, garbage):
    """Whatever arrives on one connection, the clients on others are answered as before."""
    with client(sentinel) as bystander, socket.create_connection((HOST, sentinel.port)) as bad:
        before = bystander.execute_command("SENTINEL", "MYID")
        bad.sendall(GARBAGE[garbage])
        assert bystander.execute_command("SENTINEL", "MYID") == before
    assert ask(sentinel, "SENTINEL", "MYID") == before
    assert "Traceback" not in sentinel.log


def answer_http(connection, data):
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def answer_without_end(connection, data):
    connection.sendall(b"+" + b"A" * 300_000)


def answer_nothing_known(connection, data):
    connection.sendall(b"*3\r\n:1\r\n$-1\r\n-ERR what?\r\n" * 3)


def answer_pings_and_broken_info(connection, data):
    for word in data.upper().split(b"\r\n"):
        if word == b"INFO":
            size = len(INFO_WITH_BROKEN_NUMBERS)
            connection.sendall(b"$%d\r\n%s\r\n" % (size, INFO_WITH_BROKEN_NUMBERS))
        elif word in (b"PING", b"CLIENT", b"PUBLISH", b"SUBSCRIBE"):
            connection.sendall(b"+PONG\r\n")


@contextmanager
def fake_redis(answer):
    """A server on loopback that answers whatever it is sent in this way; its port."""

    class Conversation(socketserver.BaseRequestHandler):
        def handle(self):
            try:
                while data := self.request.recv(65536):
                    answer(self.request, data)
            except OSError:
                return

    class Fake(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Fake((HOST, 0), Conversation) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("answer", "flag"),
    [
        (answer_http, "s_down"),
        (answer_without_end, "s_down"),
        (answer_nothing_known, "s_down"),
        (answer_pings_and_broken_info, "master"),
    ],
)
def test_a_redis_that_answers_nonsense_is_a_broken_link(sandbox, program, answer, flag):
    """The sentinel does not fall, and the master beside it stays watched."""
    if answer is answer_nothing_known and Path(program[0]).name == "redis-sentinel":
        pytest.skip("redis-sentinel 7.0 crashes on these replies")
    cluster = start_cluster(sandbox, replicas=1)
    with fake_redis(answer) as port:
        lines = [
            *watch(cluster),
            f"sentinel monitor strange {HOST} {port} 2",
            "sentinel down-after-milliseconds strange 1000",
        ]
        (sentinel,) = start_sentinels(sandbox, lines, program, count=1)
        eventually(lambda: flag in master_row(sentinel, "strange")["flags"].split(","))
        eventually(lambda: master_row(sentinel)["num-slaves"] == "1")
        assert int(master_row(sentinel, "strange")["num-slaves"]) < 2
    assert master_row(sentinel)["flags"] == "master"
    assert "Traceback" not in sentinel.log


def test_a_redis_that_says_nothing_at_all_is_down(sandbox, program):
    """An open port behind which nobody answers does not hold up anything else."""
    cluster = start_cluster(sandbox, replicas=0)
    with socket.create_server((HOST, 0)) as silent:
        lines = [*watch(cluster), f"sentinel monitor silent {HOST} {silent.getsockname()[1]} 2"]
        lines.append("sentinel down-after-milliseconds silent 1000")
        (sentinel,) = start_sentinels(sandbox, lines, program, count=1)
        eventually(lambda: "s_down" in master_row(sentinel, "silent")["flags"])
    assert master_row(sentinel)["flags"] == "master"
    assert ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
    wait_ready([sentinel])
