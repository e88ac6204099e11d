"""TLS on the way in and on the way out: who is let in, and a failover with no plain word."""

import shutil
import socket

import pytest
import redis

from sentinel_py.local import HOST, eventually

from .certificates import encrypt_key, make_pair
from .group import FAILOVER_WITHIN_MS, NAME, SETTLED_WITHIN_MS, TIMING, ask, client, pairs

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl on PATH")

PASSWORD = "open-sesame"


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """The certificate of everybody who belongs to us."""
    return make_pair(tmp_path_factory.mktemp("ours"), "ours")


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    """One of an authority that nobody here trusts."""
    return make_pair(tmp_path_factory.mktemp("strange"), "strange")


def lines_of(options):
    return [f"{name} {value}" for name, value in options.items()]


def as_client(server, pair=None):
    """What redis-py needs to come in over TLS, with or without a certificate of its own."""
    own = {"ssl_certfile": str(pair.cert), "ssl_keyfile": str(pair.key)} if pair else {}
    return {"ssl": True, "ssl_cert_reqs": "none", "ssl_check_hostname": False, **own}


def start_encrypted(box, pair, program, *lines):
    """A sentinel whose only port speaks TLS."""
    port = box.port()
    head = ["port 0", f"tls-port {port}", *lines_of(pair.directives())]
    return box.sentinel([*head, *lines], port=port, program=program)


def myid(sentinel, pair=None):
    return ask(sentinel, "SENTINEL", "MYID", **as_client(sentinel, pair))


# In ----------------------------------------------------------------------------------------------

LET_IN = {"yes": {"ours"}, "optional": {"ours", "none"}, "no": {"ours", "none", "strange"}}


@pytest.mark.parametrize("word", LET_IN)
def test_tls_auth_clients(sandbox, program, ours, strange, word):
    """Whether a client must show a certificate, may, or need not."""
    sentinel = start_encrypted(sandbox, ours, program, f"tls-auth-clients {word}")
    eventually(lambda: myid(sentinel, ours))
    certificates = {"ours": ours, "none": None, "strange": strange}
    assert {who for who in certificates if comes_in(sentinel, certificates[who])} == LET_IN[word]
    with connect(sentinel) as plain:
        plain.sendall(b"PING\r\n")
        assert b"PONG" not in plain.recv(100)
    assert "Traceback" not in sentinel.log


def comes_in(sentinel, pair):
    try:
        return bool(myid(sentinel, pair))
    except redis.ConnectionError:
        return False


def test_an_authority_is_needed_only_to_check_somebody(sandbox, program, ours):
    """With `tls-auth-clients no` one's own certificate is enough; its key may be locked."""
    locked = encrypt_key(ours, PASSWORD)
    port = sandbox.port()
    lines = [
        "port 0",
        f"tls-port {port}",
        f"tls-cert-file {locked.cert}",
        f"tls-key-file {locked.key}",
        f"tls-key-file-pass {PASSWORD}",
        "tls-auth-clients no",
    ]
    sentinel = sandbox.sentinel(lines, port=port, program=program)
    assert eventually(lambda: myid(sentinel))
    assert PASSWORD not in sentinel.log


REFUSED = {
    "no certificate": ({"tls-cert-file": '""'}, "No tls-cert-file configured!"),
    "no key": ({"tls-key-file": '""'}, "No tls-key-file configured!"),
    "no authority": ({"tls-ca-cert-file": '""'}, "Either tls-ca-cert-file or tls-ca-cert-dir must"),
    "certificate missing": ({"tls-cert-file": "/nonexistent"}, "Failed to load certificate "),
    "authority missing": ({"tls-ca-cert-file": "/nonexistent"}, "Failed to configure CA certif"),
    "no such version": ({"tls-protocols": "TLSv1.9"}, "Invalid tls-protocols specified."),
    "no such cipher": ({"tls-ciphers": "none-such"}, "Failed to configure ciphers: none-such"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_with_the_directives_is_named(sandbox, program, ours, case):
    """In the words of redis-sentinel, with exit code 1."""
    changes, reason = REFUSED[case]
    options = {"tls-port": sandbox.port(), **ours.directives(), **changes}
    sentinel = sandbox.sentinel(lines_of(options), program=program)
    assert sentinel.wait() == 1
    assert reason in sentinel.log
    assert "Failed to configure TLS. Check logs for more info." in sentinel.log
    assert "Traceback" not in sentinel.log


def test_a_locked_key_without_its_password_is_refused_and_not_asked_for(sandbox, program, ours):
    """A sentinel that waits at a terminal for a password watches nothing."""
    locked = encrypt_key(ours, PASSWORD)
    options = {"tls-port": sandbox.port(), **locked.directives()}
    sentinel = sandbox.sentinel(lines_of(options), program=program)
    assert sentinel.wait() == 1
    assert str(locked.key) in sentinel.log


def test_one_too_many_is_closed_before_its_handshake(sandbox, program, ours):
    """Who begins none has the place of a client all the same; who goes makes room."""
    sentinel = start_encrypted(sandbox, ours, program, "maxclients 2")
    eventually(lambda: myid(sentinel, ours))
    with client(sentinel, **as_client(sentinel, ours)) as first:
        eventually(lambda: first.info("clients")["connected_clients"] == 1)
        with connect(sentinel), connect(sentinel) as late:
            assert late.recv(100) == b""
            assert first.info("stats")["rejected_connections"] == 1
        eventually(lambda: myid(sentinel, ours))


def connect(sentinel):
    return socket.create_connection((HOST, sentinel.port), timeout=30)


# Out ---------------------------------------------------------------------------------------------


def start_redis(box, pair, replica_of=None):
    """A Redis that neither takes nor makes a plain connection."""
    port = box.port()
    options = {"port": "0", "tls-port": str(port), "tls-replication": "yes", **pair.directives()}
    return box.redis(port=port, replica_of=replica_of, options=options)


def watch_encrypted(master, quorum=2):
    lines = [f"sentinel monitor {NAME} {HOST} {master.port} {quorum}", "tls-replication yes"]
    return lines + [f"sentinel {option} {NAME} {value}" for option, value in TIMING.items()]


@pytest.fixture
def redis_pair(sandbox, ours):
    """A master and its replica."""
    master = start_redis(sandbox, ours)
    replica = start_redis(sandbox, ours, replica_of=master)
    told = as_client(replica, ours)
    eventually(lambda: ask(replica, "ROLE", **told)[3] == "connected")
    return master, replica


def test_a_failover_that_is_encrypted_throughout(sandbox, program, ours, redis_pair):
    """Two of ours and one original find each other by their TLS ports and replace a master."""
    master, replica = redis_pair
    programs = [program, program]
    programs.append(["redis-sentinel"] if shutil.which("redis-sentinel") else program)
    lines = [*watch_encrypted(master), *lines_of(shown_outside(ours))]
    sentinels = [start_encrypted(sandbox, ours, each, *lines) for each in programs]
    for sentinel in sentinels:
        others = sorted(one.port for one in sentinels if one is not sentinel)
        eventually(lambda s=sentinel, o=others: peer_ports(s, ours) == o, SETTLED_WITHIN_MS)
        eventually(lambda s=sentinel: len(rows_of(s, "REPLICAS", ours)) == 1, SETTLED_WITHIN_MS)

    master.kill()
    for sentinel in sentinels:
        told = as_client(sentinel, ours)
        eventually(
            lambda s=sentinel, t=told: master_of(s, t) == [HOST, str(replica.port)],
            FAILOVER_WITHIN_MS,
        )
    assert ask(replica, "SET", "key", "value", **as_client(replica, ours))


def shown_outside(pair):
    """A certificate for the way out alone; its key has a password, which the other has not."""
    locked = encrypt_key(pair, PASSWORD)
    return {
        "tls-client-cert-file": locked.cert,
        "tls-client-key-file": locked.key,
        "tls-client-key-file-pass": PASSWORD,
    }


def rows_of(sentinel, what, pair):
    told = as_client(sentinel, pair)
    return [pairs(row) for row in ask(sentinel, "SENTINEL", what, NAME, **told)]


def peer_ports(sentinel, pair):
    """The ports of the peers that are reached."""
    found = rows_of(sentinel, "SENTINELS", pair)
    return sorted(int(row["port"]) for row in found if row["flags"] == "sentinel")


def master_of(sentinel, told):
    return ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME, **told)


def test_a_redis_with_a_strange_certificate_is_not_spoken_to(sandbox, program, ours, strange):
    """A link is worth nothing when anybody can be at its end."""
    impostor = start_redis(sandbox, strange)
    eventually(lambda: ask(impostor, "PING", **as_client(impostor, strange)))
    sentinel = start_encrypted(sandbox, ours, program, *watch_encrypted(impostor, quorum=2))
    told = as_client(sentinel, ours)

    def is_down():
        row = pairs(ask(sentinel, "SENTINEL", "MASTER", NAME, **told))
        return "s_down" in row["flags"] and row["runid"] == ""

    eventually(is_down)
    assert ask(impostor, "INFO", "commandstats", **as_client(impostor, strange)).keys() <= {
        "cmdstat_ping",
        "cmdstat_info",
        "cmdstat_client|setinfo",
        "cmdstat_client|setname",
    }
