"""A master is lost, in every way in which it can be, and a stock client writes on."""

import asyncio

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from sentinel_py.local import HOST, eventually, eventually_async, wait_ready

from .group import (
    FAILOVER_WITHIN_MS,
    NAME,
    ask,
    follows,
    master_port,
    new_master,
    settle,
    start_cluster,
    start_sentinels,
    stock_client,
    watch,
)


def all_follow(cluster, new):
    for server in cluster.servers:
        if server is not new:
            eventually(lambda server=server: follows(server, new), FAILOVER_WITHIN_MS)


def test_a_killed_master_is_replaced_and_returns_as_a_replica(redis_cluster, sentinels):
    """A sync client writes on, the sentinels agree, and the old master follows the new one."""
    old = redis_cluster.master
    with stock_client(sentinels) as writer:
        writer.set("before", "1")
        writer.wait(len(redis_cluster.replicas), 5000)
        old.kill()
        new = redis_cluster.at(new_master(sentinels, old))
        eventually(lambda: writer.set("after", "2"))
    assert (ask(new, "GET", "before"), ask(new, "GET", "after")) == ("1", "2")

    old.start()
    all_follow(redis_cluster, new)
    assert {master_port(sentinel) for sentinel in sentinels} == {new.port}


async def test_an_asyncio_client_writes_on(redis_cluster, sentinels):
    """A writer that does nothing but try again comes to the new master by itself."""
    patience = {"socket_timeout": 2, "retry": Retry(NoBackoff(), 0)}
    places = [(HOST, sentinel.port) for sentinel in sentinels]
    entry = redis.asyncio.Sentinel(places, sentinel_kwargs=patience, **patience)
    async with entry, entry.master_for(NAME) as writer:
        await writer.set("key", "old")
        redis_cluster.master.kill()
        await eventually_async(lambda: writer.set("key", "new"), FAILOVER_WITHIN_MS)
    new = await asyncio.to_thread(new_master, sentinels, redis_cluster.master)
    assert ask(redis_cluster.at(new), "GET", "key") == "new"


def test_a_frozen_master_is_replaced_and_turned_into_a_replica(redis_cluster, sentinels):
    """A master that hangs with open sockets is down too; when it wakes up it must follow."""
    old = redis_cluster.master
    with stock_client(sentinels) as writer:
        writer.set("key", "1")
        old.pause()
        new = redis_cluster.at(new_master(sentinels, old))
        eventually(lambda: writer.set("key", "2"), FAILOVER_WITHIN_MS)
    old.resume()
    all_follow(redis_cluster, new)
    assert ask(old, "GET", "key") == "2"


def test_the_failover_survives_its_leader(redis_cluster, sentinels, listen):
    """The sentinel that leads is killed when it has been elected; the other two finish."""
    listeners = [listen(sentinel) for sentinel in sentinels]

    def leader():
        elected = (
            sentinel
            for sentinel, listener in zip(sentinels, listeners, strict=True)
            if "+elected-leader" in listener.names()
        )
        return next(elected, None)

    redis_cluster.master.kill()
    first = eventually(leader, FAILOVER_WITHIN_MS)
    first.kill()
    others = [sentinel for sentinel in sentinels if sentinel is not first]
    new = redis_cluster.at(new_master(others, redis_cluster.master))
    with stock_client(others) as writer:
        eventually(lambda: writer.set("key", "value"), FAILOVER_WITHIN_MS)
    assert ask(new, "GET", "key") == "value"


def test_a_failover_on_order(redis_cluster, sentinels):
    """SENTINEL FAILOVER moves a healthy master; a second order meanwhile is refused."""
    old = redis_cluster.master
    assert ask(sentinels[0], "SENTINEL", "FAILOVER", NAME) == "OK"
    with pytest.raises(redis.ResponseError, match=r"^INPROG Failover already in progress$"):
        ask(sentinels[0], "SENTINEL", "FAILOVER", NAME)
    new = redis_cluster.at(new_master(sentinels, old))
    all_follow(redis_cluster, new)


@pytest.mark.parametrize("redis_cluster", [1], indirect=True)
def test_without_a_good_replica_the_attempt_ends_and_a_later_one_succeeds(
    redis_cluster, sentinels, listen
):
    """A replica of priority 0 is never promoted; once that is changed, it is."""
    (replica,) = redis_cluster.replicas
    ask(replica, "CONFIG", "SET", "replica-priority", "0")
    for sentinel in sentinels:
        eventually(lambda sentinel=sentinel: priority(sentinel) == "0", FAILOVER_WITHIN_MS)
    with pytest.raises(redis.ResponseError, match=r"^NOGOODSLAVE No suitable replica to promote$"):
        ask(sentinels[0], "SENTINEL", "FAILOVER", NAME)

    listeners = [listen(sentinel) for sentinel in sentinels]
    redis_cluster.master.kill()
    abort = "-failover-abort-no-good-slave"
    eventually(
        lambda: any(abort in listener.names() for listener in listeners), FAILOVER_WITHIN_MS, abort
    )
    assert {master_port(sentinel) for sentinel in sentinels} == {redis_cluster.master.port}

    ask(replica, "CONFIG", "SET", "replica-priority", "100")
    assert new_master(sentinels, redis_cluster.master) == replica.port


def priority(sentinel):
    return ask(sentinel, "SENTINEL", "REPLICAS", NAME)[0][-5]


@pytest.mark.parametrize("redis_cluster", [3], indirect=True)
def test_parallel_syncs_one_reconfigures_one_replica_after_the_other(
    redis_cluster, sentinels, listen
):
    """The leader sends the second replica to the new master only when the first has synced."""
    listeners = [listen(sentinel) for sentinel in sentinels]
    redis_cluster.master.kill()
    new = redis_cluster.at(new_master(sentinels, redis_cluster.master))
    (leader,) = [one for one in listeners if "+elected-leader" in one.names()]
    leader.wait("+failover-end", f"master {NAME} ")
    steps = [
        (event, payload.split()[1])
        for event, payload in leader.heard()
        if event in ("+slave-reconf-sent", "+slave-reconf-done")
    ]
    others = [server for server in redis_cluster.replicas if server is not new]
    first, second = dict.fromkeys(replica for _, replica in steps)
    assert {first, second} == {server.address for server in others}
    assert steps == [
        (event, replica)
        for replica in (first, second)
        for event in ("+slave-reconf-sent", "+slave-reconf-done")
    ]
    for server in others:
        assert follows(server, new)


def test_two_masters_are_watched_apart(sandbox, program):
    """The loss of one master moves that one only."""
    one, two = start_cluster(sandbox, replicas=1), start_cluster(sandbox, replicas=1)
    lines = [*watch(one, "one"), *watch(two, "two")]
    sentinels = start_sentinels(sandbox, lines, program)
    for name, cluster in (("one", one), ("two", two)):
        settle(sentinels, cluster, name)

    two.master.kill()
    assert new_master(sentinels, two.master, "two") == two.replicas[0].port
    assert {master_port(sentinel, "one") for sentinel in sentinels} == {one.master.port}
    assert ask(one.master, "ROLE")[0] == "master"
    two.master.start()
    wait_ready([two.master])
    eventually(lambda: follows(two.master, two.replicas[0]), FAILOVER_WITHIN_MS)
