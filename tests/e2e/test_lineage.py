"""A master that comes back without its data is replaced by a replica that has them still."""

import pytest

from sentinel_py.local import eventually

from .group import NAME, ask, follows, master_port, rows, settle, start_cluster, watch
from .members import config, leader_of, start_members

ROUNDS = 3
KEYS = 100
# The delay is the one that Redis has by default. Without the other, a replica keeps what it copied
# on its disk, and does not come back empty.
WITHOUT_A_DISK = {"repl-diskless-sync-delay": "5", "rdb-del-sync-files": "yes"}
PATIENT = {"down_after_milliseconds": 5000}


@pytest.fixture
def cluster(sandbox):
    """One master and two replicas with data."""
    started = start_cluster(sandbox, options=WITHOUT_A_DISK)
    ask(started.master, "MSET", *(word for n in range(KEYS) for word in (f"key:{n}", n)))
    for replica in started.replicas:
        eventually(lambda replica=replica: ask(replica, "DBSIZE") == KEYS)
    return started


@pytest.fixture
def members(sandbox, cluster):
    started = start_members(sandbox, 3, watch(cluster, **PATIENT))
    leader_of(started)
    settle(started, cluster)
    return started


def knows_the_data(member, server):
    """Whether this sentinel has written down what this master has."""
    run_id = ask(server, "INFO", "server")["run_id"]
    lines = [line.split() for line in config(member).splitlines() if "known-lineage" in line]
    return any(line[3] == run_id and line[-1] == str(KEYS) for line in lines)


def test_an_empty_master_is_replaced_round_after_round(members, cluster, listen):
    """Down-after is far away; every survivor keeps every key, and the empty one gets them."""
    ears = [listen(member) for member in members]
    for done in range(ROUNDS):
        old = cluster.at(master_port(members[0]))
        for member in members:
            eventually(lambda member=member, old=old: knows_the_data(member, old), 30_000)
        old.kill()
        old.start()
        named = eventually(lambda old=old: new_name(members, old), what="another master")
        new = cluster.at(named)
        for server in cluster.servers:
            eventually(lambda s=server, m=new: s is m or follows(s, m), 30_000)
            eventually(lambda s=server: ask(s, "DBSIZE") == KEYS, 10_000)
        heard = [ear.payloads("+empty-restart") for ear in ears]
        assert max(map(len, heard)) == done + 1
        assert f"master {NAME} 127.0.0.1 {old.port}" in max(heard, key=len)[-1]


def new_name(members, old):
    named = {master_port(member) for member in members}
    return named.pop() if len(named) == 1 and old.port not in named else None


def test_a_master_that_comes_back_with_an_old_dump_is_replaced(members, cluster):
    """It has data, and of the same history; its replicas have more, and are not made to lose it."""
    old = cluster.master
    for member in members:
        eventually(lambda member=member: knows_the_data(member, old), 30_000)
    ask(old, "SAVE")
    ask(old, "MSET", *(word for n in range(KEYS) for word in (f"late:{n}", n)))
    for replica in cluster.replicas:
        eventually(lambda replica=replica: ask(replica, "DBSIZE") == 2 * KEYS)
    for member in members:
        eventually(lambda member=member: has_heard(member, cluster), 30_000)
    old.kill()
    old.start()
    named = eventually(lambda: new_name(members, old), what="another master")
    for server in cluster.servers:
        eventually(lambda s=server: s.port == named or follows(s, cluster.at(named)), 30_000)
        eventually(lambda s=server: ask(s, "DBSIZE") == 2 * KEYS, 10_000)


def has_heard(member, cluster):
    """Whether this sentinel knows how far the replicas are by now."""
    reached = int(ask(cluster.master, "INFO", "replication")["master_repl_offset"])
    return all(int(row["slave-repl-offset"]) > reached - 1_000 for row in rows(member, "REPLICAS"))


def test_force_stale_takes_a_replica_as_any_failover_does(members, cluster):
    """On any member; what is refused without it is in the core's transcripts."""
    old = cluster.master
    assert ask(members[1], "SENTINEL", "FAILOVER", NAME, "FORCE-STALE") == "OK"
    eventually(lambda: new_name(members, old), what="another master")
