"""Nodes that are known by name: the name is watched, announced, and survives a failover."""

import pytest

from sentinel_py.local import HOST, eventually, wait_ready

from .group import (
    FAILOVER_WITHIN_MS,
    NAME,
    TIMING,
    Cluster,
    ask,
    master_row,
    rows,
)

NODE = "localhost"
PROGRAMS = 3


@pytest.fixture
def named(sandbox, program):
    """A master and a replica that call themselves by name, and sentinels that do so, too."""
    options = {"replica-announce-ip": NODE}
    master = sandbox.redis(options=options)
    options["replicaof"] = f"{NODE} {master.port}"
    cluster = Cluster(master, [sandbox.redis(options=options)])
    lines = [
        f"sentinel monitor {NAME} {NODE} {master.port} 2",
        "sentinel resolve-hostnames yes",
        "sentinel announce-hostnames yes",
        *(f"sentinel {option} {NAME} {value}" for option, value in TIMING.items()),
    ]
    sentinels = [sandbox.sentinel(lines, program=program) for _ in range(PROGRAMS)]
    wait_ready([*cluster.servers, *sentinels])
    for sentinel in sentinels:
        eventually(lambda s=sentinel: master_row(s)["num-other-sentinels"] == "2")
        eventually(lambda s=sentinel: [row["flags"] for row in rows(s, "REPLICAS")] == ["slave"])
    return cluster, sentinels


def address_at(sentinel):
    return ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)


def test_a_failover_between_names(named, listen):
    """Clients get the name of the new master, from every sentinel and after a restart."""
    cluster, sentinels = named
    (replica,) = cluster.replicas
    old, new = [NODE, str(cluster.master.port)], [NODE, str(replica.port)]
    assert [address_at(sentinel) for sentinel in sentinels] == [old] * PROGRAMS
    (row,) = rows(sentinels[0], "REPLICAS")
    assert (row["name"], row["ip"]) == (f"{NODE}:{replica.port}", NODE)

    listener = listen(sentinels[0])
    cluster.master.kill()
    for sentinel in sentinels:
        eventually(lambda s=sentinel: address_at(s) == new, FAILOVER_WITHIN_MS)
    assert listener.wait("+switch-master") == " ".join([NAME, *old, *new])

    sentinels[0].kill()
    sentinels[0].start()
    wait_ready(sentinels[:1])
    assert address_at(sentinels[0]) == new


def test_names_are_announced_only_while_that_is_wanted(named):
    """The option takes effect at once, both ways, and the master stays the same."""
    _, (sentinel, *_) = named
    port = address_at(sentinel)[1]
    for word, host in (("no", HOST), ("yes", NODE)):
        assert ask(sentinel, "SENTINEL", "CONFIG", "SET", "announce-hostnames", word) == "OK"
        assert address_at(sentinel) == [host, port]
        assert [row["ip"] for row in rows(sentinel, "REPLICAS")] == [host]
    assert master_row(sentinel)["flags"] == "master"


def test_a_name_that_nobody_knows_yet_is_waited_for(sandbox, program):
    """With `resolve-hostnames` the sentinel starts, and shows the master as down."""
    lines = [
        "sentinel resolve-hostnames yes",
        f"sentinel monitor {NAME} no-such-host.invalid 6379 1",
        f"sentinel down-after-milliseconds {NAME} 500",
    ]
    sentinel = sandbox.sentinel(lines, program=program)
    wait_ready([sentinel])
    eventually(lambda: "s_down" in master_row(sentinel)["flags"])
