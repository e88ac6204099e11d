"""A server is its run id and its history: what is at an address may be another one."""

import pytest

from sentinel_py.local import eventually, wait_ready

from .group import (
    NAME,
    Cluster,
    ask,
    is_linked,
    master_port,
    master_row,
    rows,
    start_sentinels,
    watch,
)
from .members import leader_of, start_members

QUICK = {"failover_timeout": 2000}


@pytest.fixture(params=["classic", "raft"])
def begin(request, sandbox):
    """Start three sentinels of this kind on a cluster; they are ours."""

    def started(cluster):
        lines = watch(cluster, **QUICK)
        if request.param == "raft":
            members = start_members(sandbox, 3, lines)
            leader_of(members)
            return members
        return start_sentinels(sandbox, lines, None)

    return started


def has_a_second_address(host):
    """Whether servers can listen there, too."""
    return {"bind": f"127.0.0.1 {host}"}


def test_a_replica_that_announces_its_masters_address(sandbox, begin):
    """The row that leads to the master itself is dropped; the master is never told to follow it."""
    master = sandbox.redis(options=has_a_second_address("127.0.0.2"))
    announced = {"replica-announce-ip": "127.0.0.2", "replica-announce-port": str(master.port)}
    replica = sandbox.redis(replica_of=master, options=announced)
    wait_ready([master, replica])
    sentinels = begin(Cluster(master, [replica]))
    for each in sentinels:
        text = f"-dup-slave slave 127.0.0.2:{master.port} "
        eventually(lambda each=each, text=text: text in each.log, 30_000)
    # A replica that says it is a master is left alone for eight seconds, and no longer.
    for each in sentinels:
        eventually(lambda each=each: int(master_row(each)["role-reported-time"]) > 10_000)
        assert rows(each, "REPLICAS") == []
    assert ask(master, "ROLE")[0] == "master"


def test_two_networks(sandbox, begin):
    """Servers that know each other by other addresses than the sentinels do change roles twice."""
    both = has_a_second_address("::1")
    master = sandbox.redis(options=both)
    replica = sandbox.redis(options={**both, "replicaof": f"::1 {master.port}"})
    wait_ready([master, replica])
    eventually(lambda: is_linked(replica))
    sentinels = begin(Cluster(master, [replica]))
    for new, old in ((replica, master), (master, replica)):
        for each in sentinels:
            eventually(lambda each=each: len(rows(each, "REPLICAS")) == 1, 30_000)
        eventually(lambda: ask(sentinels[0], "SENTINEL", "FAILOVER", NAME) == "OK")
        eventually(lambda new=new: ask(new, "ROLE")[0] == "master", 30_000)
        eventually(lambda old=old: is_linked(old), 30_000)
        for each in sentinels:
            eventually(lambda each=each, new=new: master_port(each) == new.port, 30_000)
