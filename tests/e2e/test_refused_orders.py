"""Servers that refuse a part of what a failover orders: what is allowed is done without it."""

import pytest

from sentinel_py.local import eventually, wait_ready

from .group import (
    HOST,
    NAME,
    ask,
    client,
    new_master,
    pairs,
    rows,
    settle,
    start_cluster,
    watch,
)
from .members import leader_of, start_members
from .test_doctor import findings

MODES = ["classic", "raft"]
LOGIN = {"auth_user": "watcher", "auth_pass": "right"}


def start(box, program, mode, cluster, **options):
    lines = watch(cluster, **options)
    if mode == "raft":
        sentinels = start_members(box, lines=lines)
        leader_of(sentinels)
    else:
        sentinels = [box.sentinel(lines, program=program) for _ in range(3)]
        wait_ready(sentinels)
    settle(sentinels, cluster)
    return sentinels


def told(sentinels):
    """What EXPLAIN says of refusals, on whichever sentinel has met any."""
    for sentinel in sentinels:
        for row in map(pairs, ask(sentinel, "SENTINEL", "EXPLAIN", NAME)):
            if row["condition"] == "refused":
                return row
    return None


@pytest.mark.parametrize(
    ("right", "mode"),
    [
        ("client|kill", "classic"),
        ("client|kill", "raft"),
        ("config|rewrite", "classic"),
        ("multi", "classic"),
        ("exec", "raft"),
    ],
)
def test_a_right_that_is_missing(sandbox, ours, mode, right):
    """The replica is promoted all the same; the log, EXPLAIN and doctor say which right it is."""
    options = {"user": f"watcher on >right allchannels +@all -{right}"}
    cluster = start_cluster(sandbox, replicas=1, options=options)
    sentinels = start(sandbox, ours, mode, cluster, **LOGIN)
    cluster.master.kill()
    new_master(sentinels, cluster.master)
    assert any("-refused slave" in sentinel.log for sentinel in sentinels)
    assert any(f"{right}: NOPERM" in sentinel.log for sentinel in sentinels)
    row = told(sentinels)
    assert f"refuses {right} (NOPERM" in row["value"]
    assert f"+{right}" in row["meaning"]
    found = [it for it in findings("-p", str(sentinels[0].port), *login()) if right in it["what"]]
    assert any(f"+{right}" in it["way_out"] for it in found)
    assert {it["severity"] for it in found} == {"warning"}


def login():
    return "--node-user", "watcher", "--node-pass", "right"


@pytest.mark.parametrize("mode", MODES)
def test_a_command_that_is_renamed_away(sandbox, ours, mode):
    """CONFIG is nobody's there, and the sentinels were not told."""
    cluster = start_cluster(sandbox, replicas=2, options={"rename-command": 'CONFIG ""'})
    sentinels = start(sandbox, ours, mode, cluster)
    cluster.master.kill()
    new = new_master(sentinels, cluster.master)
    (other,) = (it for it in cluster.replicas if it.port != new)
    eventually(lambda: ask(other, "ROLE")[2] == new)
    assert "config|rewrite (ERR unknown command" in told(sentinels)["value"]


@pytest.mark.parametrize("mode", MODES)
def test_a_replica_that_may_not_be_promoted(sandbox, ours, mode):
    """Another one is; the first one says why not in its own words."""
    options = {"user": "watcher on >right allchannels +@all"}
    cluster = start_cluster(sandbox, replicas=2, options=options)
    first, second = cluster.replicas
    ask(first, "CONFIG", "SET", "replica-priority", "1")
    ask(first, "ACL", "SETUSER", "watcher", "-slaveof")
    sentinels = start(sandbox, ours, mode, cluster, **LOGIN)
    eventually(
        lambda: all(
            {row["port"]: row["slave-priority"] for row in rows(it, "REPLICAS")}[str(first.port)]
            == "1"
            for it in sentinels
        )
    )
    cluster.master.kill()
    assert new_master(sentinels, cluster.master) == second.port
    assert any("slaveof: NOPERM" in sentinel.log for sentinel in sentinels)
    assert "slaveof (NOPERM" in told(sentinels)["value"]

    ask(first, "ACL", "SETUSER", "watcher", "+slaveof")
    eventually(lambda: ask(first, "ROLE")[2] == second.port)
    eventually(lambda: told(sentinels) is None)


@pytest.mark.parametrize(("mode", "replicas"), [("classic", 2), ("raft", 1)])
def test_a_master_that_is_stuck_in_its_own_failover(sandbox, ours, mode, replicas):
    """It is freed: to follow its successor, or to be a master again where nobody else can be."""
    cluster = start_cluster(sandbox, replicas=replicas)
    sentinels = start(sandbox, ours, mode, cluster)
    stuck, hanging = cluster.master, cluster.replicas[0]
    hanging.pause()
    ask(stuck, "FAILOVER", "TO", HOST, hanging.port, "FORCE", "TIMEOUT", "1")
    eventually(lambda: any("+own-failover" in it.log for it in sentinels))

    def is_free():
        with client(stuck) as connected:
            info = connected.info("replication")
        is_new = info["role"] == ("master" if replicas == 1 else "slave")
        return is_new and info["master_failover_state"] == "no-failover"

    eventually(is_free, 60_000)
    if replicas == 2:
        new = new_master(sentinels, stuck)
        eventually(lambda: ask(stuck, "ROLE")[2] == new)
    else:
        assert any("+own-failover-aborted" in it.log for it in sentinels)
    said = [line for it in sentinels for line in it.log.splitlines() if "+fix-slave-config" in line]
    assert len(said) <= len(sentinels)


def test_a_wrong_password_is_told_once_and_makes_no_storm(sandbox, ours):
    """EXPLAIN says what is to be set right; when it is, all is well without a restart."""
    cluster = start_cluster(sandbox, replicas=1)
    sentinel = sandbox.sentinel(watch(cluster, quorum=1, auth_pass="right"), program=ours)
    wait_ready([sentinel])
    settle([sentinel], cluster)
    set_password(cluster, "other")
    eventually(lambda: "+sdown master" in sentinel.log)
    row = told([sentinel])
    assert "refuses auth (WRONGPASS" in row["value"]
    assert row["met"] == "no"
    assert "auth-pass" in row["meaning"]
    set_password(cluster, "right", old="other")
    eventually(lambda: "-sdown master" in sentinel.log)
    eventually(lambda: told([sentinel]) is None)
    assert sentinel.log.count("-refused master") == 1


def set_password(cluster, password, old=None):
    """Change the password of the default user everywhere, and cut all connections."""
    for server in cluster.servers:
        ask(server, "CONFIG", "SET", "requirepass", password, password=old)
        ask(server, "CONFIG", "SET", "masterauth", password, password=password)
        for kind in ("normal", "pubsub"):
            ask(server, "CLIENT", "KILL", "TYPE", kind, password=password)
