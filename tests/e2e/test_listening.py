"""Where a sentinel listens, whom it lets in, and whom it lets go."""

import os
import re
import socket
import stat
from contextlib import ExitStack, closing

import pytest
import redis

from sentinel_py.local import HOST, eventually, wait_ready

from .group import NAME, PATIENCE, Listener, ask

# Reserved for documentation: no machine has it.
FOREIGN = "203.0.113.1"
READ_WITHIN_S = 30


@pytest.fixture
def start(sandbox, program):
    """Start one sentinel with these lines in its file and wait until it answers on its port."""

    def start(*lines):
        sentinel = sandbox.sentinel(lines, program=program)
        wait_ready([sentinel])
        return sentinel

    return start


def answers(**place):
    """What a client of this place is told in answer to PING, and its own CLIENT INFO."""
    with redis.Redis(protocol=2, decode_responses=True, **PATIENCE, **place) as client:
        return client.ping() and client.execute_command("CLIENT", "INFO")


def refuses(host, port):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        return probe.connect_ex((host, port)) != 0


def has_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def own_address():
    """The address of a network card, if there is one. Nothing is sent to find it out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        if probe.connect_ex((FOREIGN, 9)):
            return None
        address = probe.getsockname()[0]
    return None if address.startswith("127.") else address


# Addresses ----------------------------------------------------------------------------------------


def test_bind_names_the_addresses(start):
    """All that are named are served, others are not, and a `-` one may be absent."""
    sentinel = start(f"bind {HOST} 127.0.0.2 -{FOREIGN}")
    for host in (HOST, "127.0.0.2"):
        assert f"laddr={host}:{sentinel.port} " in answers(host=host, port=sentinel.port)
    assert refuses("127.0.0.3", sentinel.port)


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")
def test_ipv6_stands_beside_ipv4(start):
    """The same port on both; an IPv6 address is shown in brackets."""
    sentinel = start(f"bind {HOST} ::1")
    assert f" addr={HOST}:" in answers(host=HOST, port=sentinel.port)
    shown = answers(host="::1", port=sentinel.port)
    assert re.search(rf" addr=\[::1\]:\d+ laddr=\[::1\]:{sentinel.port} ", shown), shown


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("port 0", "Configured to not listen anywhere, exiting."),
        ('bind ""', "Configured to not listen anywhere, exiting."),
        (f"bind -{FOREIGN}", "Configured to not listen anywhere, exiting."),
        (f"bind {HOST} {FOREIGN}", f"listening socket {FOREIGN}:"),
        ("unixsocket /nonexistent/socket", "Failed opening Unix socket: "),
    ],
)
def test_who_cannot_listen_does_not_start(sandbox, program, line, reason):
    """One line says why, and the exit code is 1."""
    sentinel = sandbox.sentinel([line], program=program)
    assert sentinel.wait() == 1
    assert reason in sentinel.log
    assert "Traceback" not in sentinel.log


def test_a_unix_socket_instead_of_a_port(sandbox, program):
    """With `port 0` it is the only way in; it has the permissions asked for and goes at the end."""
    path = sandbox.folder / "sentinel.sock"
    lines = ["port 0", f"unixsocket {path}", "unixsocketperm 770"]
    sentinel = sandbox.sentinel(lines, program=program)
    assert f" addr={path}:0 laddr={path}:0 " in eventually(
        lambda: answers(unix_socket_path=str(path))
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o770
    assert refuses(HOST, sentinel.port)

    sentinel.kill()
    assert path.exists()
    sentinel.start()
    assert eventually(lambda: answers(unix_socket_path=str(path)))
    assert sentinel.terminate() == 0
    assert not path.exists()


def test_a_unix_socket_is_enough(sandbox, program):
    """No address of `bind` can be had, and yet there is a way in."""
    path = sandbox.folder / "sentinel.sock"
    sandbox.sentinel([f"bind -{FOREIGN}", f"unixsocket {path}"], program=program)
    assert eventually(lambda: answers(unix_socket_path=str(path)))


# Clients that are turned away ---------------------------------------------------------------------


@pytest.mark.skipif(not own_address(), reason="only a loopback interface on this machine")
def test_protected_mode_keeps_others_out(start):
    """Who does not come over loopback gets the explanation, until there is a password."""
    own = own_address()
    sentinel = start(f"bind {HOST} {own}", "protected-mode yes")
    assert answers(host=HOST, port=sentinel.port)
    with socket.create_connection((own, sentinel.port), READ_WITHIN_S) as outsider:
        said = b"".join(iter(lambda: outsider.recv(4096), b""))
    assert said.startswith(b"-DENIED Redis is running in protected mode because ")
    assert said.endswith(b"\r\n")

    ask(sentinel, "ACL", "SETUSER", "default", ">secret")
    assert answers(host=own, port=sentinel.port, password="secret")


def test_maxclients(start):
    """One too many is told so and closed; when another leaves, there is room again."""
    sentinel = start("maxclients 2")
    with ExitStack() as inside:
        inside.enter_context(closing(connected(sentinel)))
        leaving = inside.enter_context(closing(connected(sentinel)))
        with socket.create_connection((HOST, sentinel.port), READ_WITHIN_S) as refused:
            assert refused.recv(100) == b"-ERR max number of clients reached\r\n"
            assert refused.recv(100) == b""
        leaving.close()
        eventually(lambda: connected(sentinel).close() is None)


def connected(sentinel):
    """A socket of which the sentinel has taken note."""
    client = socket.create_connection((HOST, sentinel.port), READ_WITHIN_S)
    client.sendall(b"PING\r\n")
    if client.recv(100) != b"+PONG\r\n":
        client.close()
        raise ConnectionRefusedError
    return client


def test_timeout_closes_idle_clients_but_no_subscribers(start):
    """After a second of silence; subscribers have nothing to say."""
    sentinel = start("timeout 1")
    with closing(connected(sentinel)) as idle, closing(connected(sentinel)) as subscriber:
        subscriber.sendall(b"SUBSCRIBE +sdown\r\n")
        assert subscriber.recv(100).endswith(b":1\r\n")
        assert idle.recv(100) == b""
        with closing(connected(sentinel)) as later:
            assert later.recv(100) == b""
        subscriber.sendall(b"PING\r\n")
        assert subscriber.recv(100) == b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"


@pytest.mark.parametrize(("seconds", "probes"), [(77, True), (0, False)])
def test_tcp_keepalive_probes_silent_clients(start, seconds, probes):
    """The system watches over the connection with the interval that was asked for."""
    sentinel = start(f"tcp-keepalive {seconds}")
    with closing(connected(sentinel)) as client:
        due_s = eventually(lambda: timer_of(sentinel.port, client.getsockname()[1]))
        assert due_s == pytest.approx(77, abs=20) if probes else due_s == "none"


def timer_of(local_port, remote_port):
    """When the system acts next on this connection, in seconds, once it has nothing to send."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        for line in table:
            fields = line.split()
            ends = [field.rpartition(":")[2] for field in fields[1:3]]
            if ends == [f"{local_port:04X}", f"{remote_port:04X}"]:
                kind, ticks = fields[5].split(":")
                wait_s = int(ticks, 16) / os.sysconf("SC_CLK_TCK")
                return {"00": "none", "02": wait_s if wait_s > 1 else None}.get(kind)
    return None


# Subscribers that do not read ---------------------------------------------------------------------

NOTICES = 200
PATTERNS = 300


def test_a_slow_subscriber_is_cut_and_the_others_lose_nothing(start):
    """What waits for one client is limited, and costs nobody else a message."""
    sentinel = start(
        f"sentinel monitor {NAME} {HOST} 1 1", "client-output-buffer-limit pubsub 256kb 0 0"
    )
    with closing(Listener(sentinel)) as reader, closing(greedy_subscriber(sentinel)) as slow:
        for _ in range(NOTICES):
            assert ask(sentinel, "SENTINEL", "RESET", NAME) == 1
        eventually(lambda: "name=slow " not in ask(sentinel, "CLIENT", "LIST", "TYPE", "pubsub"))
        eventually(lambda: is_cut(slow))
        eventually(lambda: len(reader.payloads("+reset-master")) >= NOTICES)
        assert len(reader.payloads("+reset-master")) == NOTICES
    assert "overcoming of output buffer limits" in sentinel.log


def greedy_subscriber(sentinel):
    """It gets each notice many times over, and leaves nearly all of it to the other end."""
    slow = connected(sentinel)
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.sendall(b"CLIENT SETNAME slow\r\n")
    slow.sendall(b"PSUBSCRIBE " + b" ".join(b"*" * n for n in range(1, PATTERNS + 1)) + b"\r\n")
    eventually(lambda: f" psub={PATTERNS} " in ask(sentinel, "CLIENT", "LIST", "TYPE", "pubsub"))
    return slow


def is_cut(connection):
    try:
        connection.sendall(b"PING\r\n")
    except ConnectionError:
        return True
    return False
