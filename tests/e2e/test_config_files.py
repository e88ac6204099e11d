"""Config files travel: we read what redis-sentinel wrote, and it reads what we wrote."""

import re
import shutil
import subprocess

import pytest

from sentinel_py.config import config, directives
from sentinel_py.config.rewrite import ConfigFile
from sentinel_py.core import roster
from sentinel_py.core.model import Address, State
from sentinel_py.local import HOST, eventually, wait_ready

from .group import NAME, ask, master_row, pairs, rows, settle, start_cluster, start_sentinels, watch

ORIGINAL = ["redis-sentinel"]
pytestmark = pytest.mark.skipif(not shutil.which(*ORIGINAL), reason="no redis-sentinel on PATH")
ENDS_WITHIN_S = 10
USERS = ["user default on nopass sanitize-payload ~* &* +@all"]


@pytest.fixture
def read(monkeypatch):
    """Read a sentinel's file as we do at a start; `dir` lines do not outlive the test."""

    def read(sentinel, *options):
        monkeypatch.chdir(sentinel.folder)
        return restore(sentinel.folder / "sentinel.conf", options)

    return read


def restore(path, options):
    loaded = config.load(str(path), options)
    state = State(myid="")
    directives.apply(loaded.statements, state, now=0, resolve=lambda _: None)
    return loaded, state


def write(loaded, state):
    ConfigFile(loaded.path, loaded).rewrite(directives.render(state), USERS)


def test_we_read_what_the_original_wrote(sandbox, read):
    """After a rewrite by redis-sentinel we know everything that it knew."""
    cluster = start_cluster(sandbox, replicas=2)
    sentinels = start_sentinels(sandbox, watch(cluster), ORIGINAL, count=2)
    settle(sentinels, cluster)
    sentinel = sentinels[0]
    ask(sentinel, "SENTINEL", "SET", NAME, "rename-command", "CONFIG", "hidden")
    ask(sentinel, "SENTINEL", "CONFIG", "SET", "announce-port", str(sentinel.port))
    row, replicas, peers = (
        master_row(sentinel),
        rows(sentinel, "REPLICAS"),
        rows(sentinel, "SENTINELS"),
    )
    myid = ask(sentinel, "SENTINEL", "MYID")
    sentinel.terminate()

    loaded, state = read(sentinel)
    master = state.masters[NAME]
    assert (loaded.settings.port, loaded.settings.bind) == (sentinel.port, (HOST,))
    assert (state.myid, state.settings.announce_port) == (myid, sentinel.port)
    assert (master.address.ip, str(master.address.port)) == (row["ip"], row["port"])
    assert str(master.options.down_after_ms) == row["down-after-milliseconds"]
    assert str(master.config_epoch) == row["config-epoch"]
    assert set(master.replicas) == {replica["name"] for replica in replicas}
    assert set(master.peers) == {peer["runid"] for peer in peers}
    assert {name.lower(): new for name, new in master.options.renamed.items()} == {
        "config": "hidden"
    }
    assert [user.words[1] for user in loaded.users] == ["default"]


def test_a_file_of_the_original_is_hardly_touched(sandbox, read):
    """Taking over from redis-sentinel changes no line but the users'."""
    cluster = start_cluster(sandbox, replicas=1)
    (sentinel,) = start_sentinels(sandbox, watch(cluster), ORIGINAL, count=1)
    settle([sentinel], cluster)
    sentinel.terminate()
    path = sentinel.folder / "sentinel.conf"
    before = path.read_text().split("\n")
    write(*read(sentinel))
    after = path.read_text().split("\n")
    assert without_users(after) == without_users(before)


def without_users(lines):
    return [line for line in lines if line and not line.startswith("user ")]


def test_the_original_reads_what_we_wrote(sandbox, read):
    """Blanks and quotes in secrets, paths and names do not keep redis-sentinel from starting."""
    cluster = start_cluster(sandbox, replicas=1)
    (sentinel,) = start_sentinels(sandbox, watch(cluster), ORIGINAL, count=1)
    settle([sentinel], cluster)
    sentinel.terminate()

    loaded, state = read(sentinel, "--timeout", "77")
    script = sentinel.folder / "my script.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    secret = "pass 'word\" #1\n\xfc"
    state.settings.sentinel_pass = secret
    state.settings.announce_ip = "10.0.0.9"
    address = Address(HOST, cluster.replicas[0].port, HOST)
    options = roster.default_options(state, quorum=7)
    options.notification_script = str(script)
    options.auth_pass = secret
    master = roster.add_master(state, 0, "the other", address, options)
    roster.add_replica(state, 0, master, Address("::1", 1234, "::1"))
    roster.add_peer(state, 0, master, "e" * 40, Address("10.0.0.7", 26379, "10.0.0.7"))
    write(loaded, state)

    sentinel.start()
    wait_ready([sentinel])

    def rows_of(what):
        return [pairs(row) for row in ask(sentinel, "SENTINEL", what, "the other")]

    row = pairs(ask(sentinel, "SENTINEL", "MASTER", "the other"))
    assert (row["quorum"], row["notification-script"]) == ("7", str(script))
    assert [replica["ip"] for replica in rows_of("REPLICAS")] == ["::1"]
    assert [peer["runid"] for peer in rows_of("SENTINELS")] == ["e" * 40]
    assert ask(sentinel, "SENTINEL", "MYID") == state.myid
    assert ask(sentinel, "SENTINEL", "CONFIG", "GET", "sentinel-pass")[1] == secret
    assert ask(sentinel, "SENTINEL", "CONFIG", "GET", "announce-ip")[1] == "10.0.0.9"


def test_both_rewrite_in_turn(sandbox, read):
    """A file that goes back and forth does not grow, and no line of it is given up."""
    cluster = start_cluster(sandbox, replicas=1)
    lines = ["# by hand", *watch(cluster), "hz 10"]
    (sentinel,) = start_sentinels(sandbox, lines, ORIGINAL, count=1)
    settle([sentinel], cluster)
    path = sentinel.folder / "sentinel.conf"
    texts = []
    for _ in range(3):
        ask(sentinel, "SENTINEL", "FLUSHCONFIG")
        sentinel.terminate()
        write(*read(sentinel))
        texts.append(sorted(without_users(path.read_text().split("\n"))))
        sentinel.start()
        wait_ready([sentinel])
    assert texts[0] == texts[1] == texts[2]
    assert "# by hand" in texts[0]
    assert not [line for line in texts[0] if line.startswith("# ???")]


def test_lines_that_redis_7_0_does_not_clear_away(sandbox, read):
    """A known-slave line that redis-sentinel left beside a new one does not stop our start."""
    cluster = start_cluster(sandbox, replicas=1)
    replica = cluster.replicas[0]
    lines = [*watch(cluster), f"sentinel known-slave {NAME} {HOST} {replica.port}"]
    (sentinel,) = start_sentinels(sandbox, lines, ORIGINAL, count=1)
    ask(sentinel, "SENTINEL", "FLUSHCONFIG")
    sentinel.terminate()
    loaded, state = read(sentinel)
    assert list(state.masters[NAME].replicas) == [f"{HOST}:{replica.port}"]

    write(loaded, state)
    assert (sentinel.folder / "sentinel.conf").read_text().count(f" {replica.port}\n") == 1
    sentinel.start()
    wait_ready([sentinel])
    eventually(lambda: len(rows(sentinel, "REPLICAS")) == 1)


REFUSED = [
    "nonsense",
    "port",
    "port abc",
    "port 65536",
    "port 1 2",
    'port "1',
    "daemonize maybe",
    "timeout 007",
    "unixsocketperm 9",
    "unixsocketperm 1777",
    "proto-max-bulk-len 5",
    "proto-max-bulk-len x",
    "maxmemory-clients 200%",
    "maxmemory-clients x",
    "supervised what",
    "shutdown-on-sigint save foo",
    "appendfsync sometimes",
    "oom-score-adj-values 1 2",
    "replicaof host",
    "maxmemory-samples 0",
    "client-output-buffer-limit foo 1 1 1",
    "client-output-buffer-limit normal 1 1",
    "client-output-buffer-limit normal x 1 1",
    "proc-title-template {x}",
    "logfile /nonexistent/log",
    "dir /nonexistent",
    "user",
    "include",
    "foo.bar",
    "sentinel nonsense",
    "sentinel monitor x",
    "sentinel monitor x 127.0.0.1 99999 0",
    "sentinel monitor x nohost.invalid 99999 1",
    "sentinel monitor x nohost.invalid 1 1",
    "sentinel monitor mm nohost.invalid 1 1",
    "sentinel monitor mm 127.0.0.1 1 1",
    "sentinel down-after-milliseconds mm 0",
    "sentinel down-after-milliseconds mm 99999999999999999999",
    "sentinel failover-timeout nobody 1",
    "sentinel master-reboot-down-after-period mm -1",
    "sentinel notification-script mm /nonexistent",
    "sentinel client-reconfig-script mm /nonexistent",
    "sentinel known-replica mm 127.0.0.1 -1",
    "sentinel known-replica mm 127.1 22",
    f"sentinel known-sentinel mm 127.0.0.1 1 {'a' * 40}",
    "sentinel rename-command mm ping pong",
    "sentinel myid short",
    "sentinel deny-scripts-reconfig maybe",
    "sentinel resolve-hostnames maybe",
    "sentinel announce-hostnames maybe",
]
BASE = f"""
sentinel rename-command mm PING pong
sentinel known-replica mm 127.0.0.1 22
sentinel known-sentinel mm 127.0.0.1 1 {"a" * 40}
sentinel monitor mm 127.0.0.1 1 1
port 0
"""


@pytest.mark.parametrize("line", REFUSED)
def test_both_refuse_in_the_same_words(tmp_path, monkeypatch, line):
    """What redis-sentinel prints for a bad line is what we print, to the byte."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "c.conf"
    path.write_text(f"{BASE}{line}\n")
    ran = subprocess.run(
        [*ORIGINAL, str(path), "--maxclients", "100"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=ENDS_WITHIN_S,
        check=False,
    )
    assert ran.returncode == 1, ran.stdout
    with pytest.raises(config.ConfigError) as caught:
        restore(path, ["--maxclients", "100"])
    ours = str(caught.value).removesuffix(f"\nIn file: {path}")
    assert unversioned(ours) == unversioned(ran.stderr.rstrip("\n"))


def unversioned(banner):
    return re.sub(r"\((Redis|Version) [^)]*\)", "(Redis x)", banner)
