"""What operators run against a sentinel: redis-cli in its ways, and the exporter of Prometheus."""

import json
import os
import pty
import re
import select
import shutil
import subprocess
import time
import urllib.request
from contextlib import contextmanager

import pytest

from sentinel_py.local import HOST, Sandbox, eventually, wait_ready

from .group import NAME, ask, settle, start_cluster, start_sentinels, watch

WITHIN_S = 30
PASSWORD = "open-sesame"
EXPORTER = "prometheus-redis-exporter"
ORIGINAL = ["redis-sentinel"]

needs_cli = pytest.mark.skipif(not shutil.which("redis-cli"), reason="no redis-cli on PATH")


@pytest.fixture(scope="module")
def watched(program):
    """A cluster, and one sentinel on it that nothing here changes."""
    with Sandbox() as box:
        cluster = start_cluster(box, replicas=1)
        sentinels = start_sentinels(box, watch(cluster, quorum=1), program, count=1)
        settle(sentinels, cluster)
        yield cluster, sentinels[0]


def run_cli(sentinel, *words, typed=None):
    done = subprocess.run(
        ["redis-cli", "-p", str(sentinel.port), *words],
        input=typed,
        stdin=None if typed is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert not done.stderr, done.stderr
    return done.stdout


# redis-cli ---------------------------------------------------------------------------------------

ADDRESS = ("sentinel", "get-master-addr-by-name", NAME)


@needs_cli
def test_redis_cli_prints_an_address(watched):
    """The line of every runbook: host and port, each on a line of its own."""
    cluster, sentinel = watched
    assert run_cli(sentinel, *ADDRESS) == f"{HOST}\n{cluster.master.port}\n"
    assert run_cli(sentinel, "sentinel", "get-master-addr-by-name", "nobody") == "\n"


@needs_cli
@pytest.mark.parametrize("protocol", ["-2", "-3"])
def test_redis_cli_prints_json(watched, protocol):
    """Rows are objects, whatever the protocol, and a missing master is null."""
    cluster, sentinel = watched
    row = json.loads(run_cli(sentinel, protocol, "--json", "sentinel", "master", NAME))
    if protocol == "-2":
        row = dict(zip(row[::2], row[1::2], strict=True))
    assert (row["name"], row["port"]) == (NAME, str(cluster.master.port))
    address = json.loads(run_cli(sentinel, protocol, "--json", *ADDRESS))
    assert address == [HOST, str(cluster.master.port)]
    missing = run_cli(sentinel, protocol, "--json", *ADDRESS[:-1], "nobody")
    assert json.loads(missing) is None


@needs_cli
def test_redis_cli_reads_commands_from_a_pipe(watched):
    """One answer after the other."""
    cluster, sentinel = watched
    typed = f"ping\n{' '.join(ADDRESS)}\nrole\n"
    printed = run_cli(sentinel, typed=typed)
    assert printed.split() == ["PONG", HOST, str(cluster.master.port), "sentinel", NAME]


@needs_cli
def test_redis_cli_at_a_terminal(watched):
    """It asks for COMMAND DOCS before anything else, and its help is made of them."""
    cluster, sentinel = watched
    with at_terminal("redis-cli", "-p", str(sentinel.port)) as (typed, printed):
        typed(f"{' '.join(ADDRESS)}\n")
        printed(rf'1\) "{HOST}"\r\n2\) "{cluster.master.port}"')
        typed("help sentinel failover\n")
        printed(r"SENTINEL FAILOVER[^\r\n]*master-name")
        printed(r"group:\S* sentinel\s")
        typed("quit\n")


@contextmanager
def at_terminal(*words):
    """Two functions of a program that believes it talks to a person: type, and wait for words."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "dumb"}
    process = subprocess.Popen(
        words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, close_fds=True
    )
    os.close(theirs)
    heard = ""

    def wait_for(pattern):
        nonlocal heard
        ends = time.monotonic() + WITHIN_S
        while not re.search(pattern, heard):
            ready, _, _ = select.select([ours], [], [], max(0, ends - time.monotonic()))
            assert ready, f"no {pattern} in {heard!r}"
            heard += os.read(ours, 65536).decode()

    try:
        yield lambda text: os.write(ours, text.encode()), wait_for
        assert process.wait(WITHIN_S) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@needs_cli
def test_redis_cli_logs_in(sandbox, program):
    """With a password, with a user and a password, and with a wrong one."""
    sentinel = sandbox.sentinel([f"requirepass {PASSWORD}"], program=program)
    wait_ready([sentinel])
    ask(sentinel, "ACL", "SETUSER", "admin", "on", f">{PASSWORD}2", "+@all", password=PASSWORD)
    quiet = "--no-auth-warning"
    assert run_cli(sentinel, "--pass", PASSWORD, quiet, "ping") == "PONG\n"
    login = ("--user", "admin", "--pass", f"{PASSWORD}2", quiet)
    assert run_cli(sentinel, *login, "acl", "whoami") == "admin\n"
    assert run_cli(sentinel, "-3", *login, "acl", "whoami") == "admin\n"
    assert "NOAUTH" in run_cli(sentinel, "ping")


# The exporter of Prometheus ----------------------------------------------------------------------

METRICS = {
    "redis_sentinel_masters": "1",
    "redis_sentinel_tilt": "0",
    "redis_sentinel_running_scripts": "0",
    "redis_sentinel_scripts_queue_length": "0",
    "redis_sentinel_master_status": "1",
    "redis_sentinel_master_slaves": "1",
    "redis_sentinel_master_ok_slaves": "1",
    "redis_sentinel_master_sentinels": "1",
    "redis_sentinel_master_ok_sentinels": "1",
    "redis_up": "1",
}


@pytest.fixture
def scrape(sandbox):
    """Have one exporter look at a sentinel; what it found as name to value."""
    if not shutil.which(EXPORTER):
        pytest.skip(f"no {EXPORTER} on PATH")
    port = sandbox.port()
    words = [EXPORTER, "-web.listen-address", f"{HOST}:{port}"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def scrape(sentinel):
        url = f"http://{HOST}:{port}/scrape?target=redis://{HOST}:{sentinel.port}"
        text = eventually(lambda: read(url))
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        return {re.split(r"[ {]", line)[0]: line.rpartition(" ")[2] for line in lines}

    yield scrape
    process.kill()
    process.wait()


def read(url):
    with urllib.request.urlopen(url, timeout=WITHIN_S) as answer:
        return answer.read().decode()


def test_the_exporter_finds_what_it_looks_for(watched, scrape):
    """Masters, replicas, sentinels and their state are metrics, as with redis-sentinel."""
    _, sentinel = watched
    found = scrape(sentinel)
    assert {name: found.get(name) for name in METRICS} == METRICS


@pytest.mark.skipif(not shutil.which(*ORIGINAL), reason="no redis-sentinel on PATH")
def test_the_exporter_finds_no_less_than_with_the_original(watched, sandbox, scrape):
    """A dashboard that was made for redis-sentinel has no gaps."""
    cluster, sentinel = watched
    lines = watch(cluster, name="other", quorum=1)
    (original,) = start_sentinels(sandbox, lines, ORIGINAL, count=1)
    eventually(lambda: ask(original, "INFO", "sentinel")["master0"]["slaves"] == 1)
    assert scrape(original).keys() - scrape(sentinel).keys() == set()
