"""A server is its run id and its history: what is at an address may be another one."""

import pytest

from sentinel_py.local import eventually, raft_peers, wait_ready

from .group import (
    NAME,
    Cluster,
    ask,
    follows,
    is_linked,
    master_port,
    master_row,
    new_master,
    rows,
    settle,
    start_cluster,
    start_sentinels,
    watch,
)
from .members import config, leader_of, start_members

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


# What is at an address may be another server ------------------------------------------------------

OWN = 50
KEYS = 40


@pytest.fixture
def cluster(sandbox):
    """One master and two replicas with data."""
    started = start_cluster(sandbox)
    fill(started.master, "key", KEYS)
    for replica in started.replicas:
        eventually(lambda replica=replica: ask(replica, "DBSIZE") == KEYS)
    return started


def fill(server, prefix, count):
    ask(server, "MSET", *(word for n in range(count) for word in (f"{prefix}:{n}", n)))


def start_stranger(sandbox, server):
    """End a server for good, and start one of somebody else's at its address."""
    if server.alive:
        server.kill()
    stranger = sandbox.redis()
    wait_ready([stranger])
    fill(stranger, "own", OWN)
    # It has its data when it comes: one that has none may be made a replica at once.
    ask(stranger, "CONFIG", "SET", "port", server.port)
    stranger.port = server.port
    return stranger


def is_left_alone(sentinels, stranger):
    """Whether all sentinels have called it foreign, and it has what it had."""
    where = f"slave 127.0.0.1:{stranger.port} "
    for each in sentinels:
        text = f"+foreign-instance {where}"
        eventually(lambda each=each, text=text: text in each.log, 30_000, text)
        assert each.log.count(text) == 1
    return ask(stranger, "ROLE")[0] == "master" and ask(stranger, "DBSIZE") == OWN


def heard_again(sentinels, port):
    """Wait until all sentinels have read the INFO of this replica once more."""
    for each in sentinels:
        ages = [int(row_of(each, port)["info-refresh"])]

        def is_read(each=each, ages=ages):
            ages.append(int(row_of(each, port)["info-refresh"]))
            return ages[-1] < ages[-2]

        eventually(is_read, 30_000, "INFO that is read again")
        assert row_of(each, port)["flags"].startswith("s_down,slave,foreign")


def row_of(sentinel, port):
    return next(row for row in rows(sentinel, "REPLICAS") if int(row["port"]) == port)


def test_a_stranger_at_a_replicas_address(sandbox, cluster, begin):
    """It is told nothing, is not promoted, and is said to be there; the operator may let it in."""
    sentinels = begin(cluster)
    settle(sentinels, cluster)
    gone, other = cluster.replicas
    stranger = start_stranger(sandbox, gone)
    assert is_left_alone(sentinels, stranger)
    heard_again(sentinels, stranger.port)
    cluster.master.kill()
    assert new_master(sentinels, cluster.master) == other.port
    assert is_left_alone(sentinels, stranger)
    explained = str(ask(sentinels[0], "SENTINEL", "EXPLAIN", NAME))
    assert f"SENTINEL ADMIT {NAME} 127.0.0.1 {stranger.port}" in explained
    for each in sentinels:
        assert ask(each, "SENTINEL", "ADMIT", NAME, "127.0.0.1", stranger.port) == "OK"
    eventually(lambda: follows(stranger, other), 30_000)
    eventually(lambda: "foreign" not in row_of(sentinels[0], stranger.port)["flags"], 30_000)


def test_a_stranger_at_a_former_masters_address(sandbox, cluster, begin):
    """That the master was there does not make whoever is there now a former master."""
    sentinels = begin(cluster)
    settle(sentinels, cluster)
    cluster.master.kill()
    new_master(sentinels, cluster.master)
    stranger = start_stranger(sandbox, cluster.master)
    assert is_left_alone(sentinels, stranger)
    heard_again(sentinels, stranger.port)
    assert is_left_alone(sentinels, stranger)


def test_a_master_names_a_replica_that_is_none(sandbox, cluster, begin):
    """A replica announces an address at which there is somebody else."""
    stranger = sandbox.redis()
    wait_ready([stranger])
    fill(stranger, "own", OWN)
    wrong = cluster.replicas[0]
    ask(wrong, "CONFIG", "SET", "replica-announce-port", stranger.port)
    ask(cluster.master, "CLIENT", "KILL", "TYPE", "replica")
    sentinels = begin(Cluster(cluster.master, cluster.replicas[1:]))
    assert is_left_alone(sentinels, stranger)
    heard_again(sentinels, stranger.port)
    assert is_left_alone(sentinels, stranger)


def test_a_replica_that_was_moved_to_another_group(sandbox, cluster, begin):
    """It is not pulled back; the group that it was in says so."""
    other = sandbox.redis()
    wait_ready([other])
    fill(other, "own", OWN)
    sentinels = begin(cluster)
    settle(sentinels, cluster)
    moved = cluster.replicas[0]
    ask(moved, "REPLICAOF", "127.0.0.1", other.port)
    eventually(lambda: ask(moved, "DBSIZE") == OWN)
    for each in sentinels:
        text = f"+foreign-instance slave 127.0.0.1:{moved.port} "
        eventually(lambda each=each, text=text: text in each.log, 30_000, text)
    heard_again(sentinels, moved.port)
    assert follows(moved, other)


def test_a_server_that_was_away_for_several_failovers(cluster, begin):
    """By the ids that the group had, it is known again, and follows the master."""
    sentinels = begin(cluster)
    settle(sentinels, cluster)
    away = cluster.master
    away.pause()
    first = cluster.at(new_master(sentinels, away))
    [second] = [each for each in cluster.replicas if each is not first]
    eventually(lambda: follows(second, first), 30_000)
    eventually(lambda: ask(sentinels[0], "SENTINEL", "FAILOVER", NAME) == "OK", 30_000)
    eventually(lambda: {master_port(each) for each in sentinels} == {second.port}, 30_000)
    eventually(lambda: follows(first, second), 30_000)
    away.resume()
    eventually(lambda: follows(away, second), 30_000)
    assert not any("+foreign-instance" in each.log for each in sentinels)


def test_a_former_master_with_an_append_only_file(sandbox, begin):
    """Its history has a new name; it is known by how it was started and by what it has."""
    cluster = start_cluster(sandbox, options={"appendonly": "yes", "appendfsync": "always"})
    fill(cluster.master, "key", KEYS)
    for replica in cluster.replicas:
        eventually(lambda replica=replica: ask(replica, "DBSIZE") == KEYS)
    sentinels = begin(cluster)
    settle(sentinels, cluster)
    cluster.master.kill()
    new = cluster.at(new_master(sentinels, cluster.master))
    cluster.master.start()
    eventually(lambda: follows(cluster.master, new), 30_000)


@pytest.mark.parametrize("begin", ["classic"], indirect=True)
@pytest.mark.parametrize("speaker", ["known", "unknown"])
def test_a_client_names_a_stranger_as_the_master(sandbox, cluster, begin, speaker):
    """Whoever may publish can say so; the server that is named has to bear it out."""
    stranger = sandbox.redis()
    wait_ready([stranger])
    fill(stranger, "own", OWN)
    sentinels = begin(cluster)
    settle(sentinels, cluster)
    said_by = ask(sentinels[0], "SENTINEL", "MYID") if speaker == "known" else "7" * 40
    port = sentinels[0].port if speaker == "known" else stranger.port
    hello = f"127.0.0.1,{port},{said_by},7,{NAME},127.0.0.1,{stranger.port},7"
    for _ in range(3):
        ask(cluster.replicas[0], "PUBLISH", "__sentinel__:hello", hello)
        for each in sentinels[1:]:
            eventually(lambda each=each: "not believed" in each.log, 30_000, "a word of disbelief")
    assert {master_port(each) for each in sentinels} == {cluster.master.port}
    assert all(follows(it, cluster.master) for it in cluster.replicas)
    assert ask(stranger, "DBSIZE") == OWN


def test_all_are_started_again_at_once(sandbox, begin):
    """What a server of the group is known by outlives the sentinels."""
    cluster = start_cluster(sandbox, options={"appendonly": "yes", "appendfsync": "always"})
    fill(cluster.master, "key", KEYS)
    sentinels = begin(cluster)
    settle(sentinels, cluster)
    where = f"known-member {NAME} 127.0.0.1 {cluster.master.port} "
    for each in sentinels:
        eventually(lambda each=each: where in config(each), 30_000, where)
    cluster.master.kill()
    new = cluster.at(new_master(sentinels, cluster.master))
    for each in sentinels:
        each.kill()
    cluster.master.start()
    for each in sentinels:
        each.start()
    eventually(lambda: follows(cluster.master, new), 60_000)


def test_addresses_can_be_trusted(sandbox, cluster, begin):
    """`trust-addresses yes`: who is where a replica was is a replica."""
    sentinels = begin(cluster)
    settle(sentinels, cluster)
    for each in sentinels:
        ask(each, "SENTINEL", "SET", NAME, "trust-addresses", "yes")
    stranger = start_stranger(sandbox, cluster.replicas[0])
    eventually(lambda: follows(stranger, cluster.master), 60_000)


# Roles that were switched by hand -----------------------------------------------------------------


@pytest.mark.parametrize("way", ["replicaof", "failover"])
def test_the_operator_switches_the_roles(cluster, begin, way):
    """Whom the master follows, and who says to be the master, is named at once."""
    sentinels = begin(cluster)
    settle(sentinels, cluster)
    old, (new, other) = cluster.master, cluster.replicas
    if way == "failover":
        ask(old, "FAILOVER", "TO", "127.0.0.1", new.port)
    else:
        ask(new, "REPLICAOF", "NO", "ONE")
        ask(old, "REPLICAOF", "127.0.0.1", new.port)
        ask(other, "REPLICAOF", "127.0.0.1", new.port)
    assert new_master(sentinels, old, within_ms=15_000) == new.port
    assert any("+switched-by-hand" in each.log for each in sentinels)
    for each in (old, other):
        eventually(lambda each=each: follows(each, new), 30_000)
    assert not any("+failover-state" in each.log for each in sentinels)


def test_a_replica_is_monitored(sandbox, cluster, begin):
    """Its own master lives, and nobody watches that one: it is said, and nobody is promoted."""
    watched, leaf = cluster.replicas
    ask(leaf, "REPLICAOF", "127.0.0.1", watched.port)
    eventually(lambda: follows(leaf, watched))
    sentinels = begin(Cluster(watched, [leaf]))
    text = f"#is a replica of 127.0.0.1 {cluster.master.port}, which is to be monitored instead"
    for each in sentinels:
        eventually(lambda each=each: text in each.log, 30_000, text)
        assert "upstream" in str(ask(each, "SENTINEL", "EXPLAIN", NAME))
    watched.kill()
    for each in sentinels:
        eventually(lambda each=each: "+odown" in each.log, 30_000, "ODOWN")
    assert not any("+try-failover" in each.log for each in sentinels)
    assert ask(leaf, "ROLE")[0] == "slave"


def test_files_that_name_different_servers_of_a_group(sandbox, cluster):
    """The one that says it is the master is watched by all, whoever comes first."""
    ports = [sandbox.port() for _ in cluster.servers]
    members = [
        sandbox.sentinel([*watch(Cluster(named, []), **QUICK), raft_peers(ports)], port=port)
        for named, port in zip([*cluster.replicas, cluster.master], ports, strict=True)
    ]
    wait_ready(members)
    leader_of(members)
    settle(members, cluster)
    assert {master_port(each) for each in members} == {cluster.master.port}
    assert all(follows(it, cluster.master) for it in cluster.replicas)
    for each in members[:2]:
        assert "the Raft cluster refuses it: it is a replica of 127.0.0.1" in each.log
