"""The built-in proxy: who only knows its port goes on writing when the master is gone."""

import os
import re
import shutil
import signal
import socket
import subprocess

import pytest
import redis

from sentinel_py.local import HOST, eventually, sentinel_program

from .certificates import make_pair
from .group import FAILOVER_WITHIN_MS, NAME, ask, client, follows, new_master
from .leading import Program, Writer, naming, written_to

ORIGINAL = ["redis-sentinel"]
PROGRAMS = [sentinel_program()]
if shutil.which(ORIGINAL[0]):
    PROGRAMS.append(ORIGINAL)


@pytest.fixture
def proxy(sandbox, sentinels, tmp_path):
    """A proxy that has found the master, and the port where it listens."""
    port = sandbox.port()
    with Program(tmp_path, "proxy", NAME, "--listen", port, *naming(sentinels)) as started:
        started.port = port
        started.says(f"{NAME} is ")
        yield started


@pytest.mark.parametrize("sentinels", PROGRAMS, indirect=True, ids=lambda words: words[0])
def test_a_client_writes_on_when_the_master_dies(redis_cluster, sentinels, proxy):
    """It knows the proxy's port alone; what it writes afterwards is on the new master."""
    with Writer(proxy.port) as writer:
        writer.writes()
        redis_cluster.master.kill()
        port = new_master(sentinels, redis_cluster.master)
        writer.writes()
        assert written_to(redis_cluster.at(port), writer)
    proxy.says(f"{NAME} is {HOST}:{port}; ")
    assert "1 dropped" in proxy.printed or "0 dropped" in proxy.printed  # the kernel may be first
    assert proxy.end(signal.SIGTERM) == 0
    assert "Traceback" not in proxy.printed


@pytest.mark.parametrize("sentinels", PROGRAMS, indirect=True, ids=lambda words: words[0])
def test_a_master_that_hangs_gets_no_write_after_the_switch(redis_cluster, sentinels, proxy):
    """Its clients are cut off although their connections are well; it may go on as a master."""
    old = redis_cluster.master
    with client(old) as before, socket.create_connection((HOST, proxy.port), 10) as waiting:
        before.set("x", "old")
        waiting.sendall(b"PING\r\n")
        assert waiting.recv(100) == b"+PONG\r\n"
        old.pause()
        new = redis_cluster.at(new_master(sentinels, old))
        proxy.says(f"{NAME} is {new.address}; .* 1 dropped")
        waiting.settimeout(10)
        with pytest.raises(OSError, match="reset"):
            waiting.recv(100)
        with Writer(proxy.port) as writer:
            writer.writes()
        old.resume()
        eventually(lambda: follows(old, new), FAILOVER_WITHIN_MS)
    assert written_to(new, writer)


def test_an_ordered_failover_is_followed(redis_cluster, sentinels, proxy):
    """Both are alive, and each client is led to the one that is the master."""
    ask(sentinels[0], "SENTINEL", "FAILOVER", NAME)
    port = new_master(sentinels, redis_cluster.master)
    proxy.says(f"{NAME} is {HOST}:{port}; ")
    with redis.Redis(host=HOST, port=proxy.port) as through:
        assert through.info("server")["tcp_port"] == port


def test_what_cannot_be_is_one_line(sandbox):
    """A port that is taken has status 1, wrong words have status 2."""
    taken = sandbox.redis()
    eventually(taken.ready)
    line = ["--listen", str(taken.port), "--sentinel", "127.0.0.1:1"]
    assert refused(*line) == (1, f"proxy: cannot listen on {taken.address}: Address already in use")
    assert refused("--listen", "x", *line[2:])[0] == 2
    status, last = refused(*line[:2])
    assert (status, last) == (2, "Error: Missing option '--sentinel'.")


def refused(*words):
    """Exit status and last line of a proxy that should not start."""
    argv = [*sentinel_program(), "proxy", NAME, *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.strip().rpartition("\n")[2]


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl on PATH")
def test_sentinels_and_master_with_passwords_and_tls(sandbox, program, tmp_path):
    """They come from the environment, and no line shows them; clients speak TLS with the master."""
    pair = make_pair(tmp_path, "ours")
    options = {**pair.directives(), "tls-auth-clients": "no"}
    redis_port, sentinel_port, port = (sandbox.port() for _ in range(3))
    secret = {"requirepass": "of-redis", "port": "0", "tls-port": str(redis_port)}
    sandbox.redis(port=redis_port, options={**options, **secret})
    lines = [
        *(f"{key} {value}" for key, value in options.items()),
        *("port 0", f"tls-port {sentinel_port}", "tls-replication yes", "requirepass of-sentinel"),
        f"sentinel monitor {NAME} {HOST} {redis_port} 1",
        f"sentinel auth-pass {NAME} of-redis",
    ]
    sandbox.sentinel(lines, port=sentinel_port, program=program)
    words = ["proxy", NAME, "--listen", port, "--sentinel", f"{HOST}:{sentinel_port}"]
    env = {**os.environ, "REDISCLI_AUTH": "of-sentinel", "SENTINEL_PY_REDIS_PASS": "of-redis"}
    with Program(tmp_path, *words, "--tls", "--cacert", pair.authority, env=env) as started:
        started.says(f"{NAME} is {HOST}:{redis_port}; ")
        inside = {"password": "of-redis", "ssl": True, "ssl_ca_certs": str(pair.authority)}
        with redis.Redis(host=HOST, port=port, ssl_check_hostname=False, **inside) as through:
            assert through.ping()
        assert not re.search("of-redis|of-sentinel|Traceback", started.printed)


def test_a_sentinel_that_lets_nobody_in_is_named(sandbox, program, tmp_path):
    """With its own words, once, while the proxy goes on trying; its clients are cut off in time."""
    sentinel = sandbox.sentinel(["requirepass secret"], program=program)
    port = sandbox.port()
    words = ["proxy", NAME, "--listen", port, "--wait", "0.2", *naming([sentinel])]
    with Program(tmp_path, *words) as started:
        started.says(f"sentinel {sentinel.address}: .*uthentication required")
        with socket.create_connection((HOST, port), 10) as client:
            client.settimeout(10)
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        assert started.end(signal.SIGTERM) == 0
        assert started.printed.count("uthentication required") == 1
        assert "1 waited in vain" in started.printed
