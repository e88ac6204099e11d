"""SENTINEL FAILOVER while clients write: those that stay with the old master lose nothing."""

import threading
from itertools import count

import pytest
import redis

from sentinel_py.local import HOST, eventually

from .group import (
    FAILOVER_WITHIN_MS,
    NAME,
    ask,
    follows,
    new_master,
    settle,
    start_cluster,
    start_sentinels,
    watch,
)
from .members import start_members

WRITERS = 4
ENOUGH = 1_000  # acknowledged writes of each, when the order is given
REPLICAS = 2


class Writer:
    """Writes to one server until that is a replica, and knows what was acknowledged."""

    def __init__(self, server, number):
        self.acknowledged = []
        self._keys = f"writer:{number}:"
        self._client = redis.Redis(HOST, server.port, socket_timeout=5)
        self._is_told_to_end = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self):
        with self._client:
            for number in count():
                if self._is_told_to_end.is_set():
                    return
                try:
                    self._client.set(f"{self._keys}{number}", number)
                except redis.ReadOnlyError:
                    return
                except redis.RedisError:
                    continue
                self.acknowledged.append(f"{self._keys}{number}")

    def has_ended(self):
        return not self._thread.is_alive()

    def end(self):
        self._is_told_to_end.set()
        self._thread.join()


@pytest.fixture(params=["classic", "raft"])
def watched(request, sandbox, program):
    """A cluster, and sentinels of either mode."""
    cluster = start_cluster(sandbox, REPLICAS)
    lines = watch(cluster)
    if request.param == "raft":
        members = start_members(sandbox, lines=lines)
    else:
        members = start_sentinels(sandbox, lines, program)
    settle(members, cluster)
    return cluster, members


@pytest.fixture
def writers(watched):
    """Clients of the master that know of no sentinel."""
    cluster, _ = watched
    started = [Writer(cluster.master, number) for number in range(WRITERS)]
    yield started
    for writer in started:
        writer.end()


def all_follow(cluster, new):
    for server in cluster.servers:
        if server is not new:
            eventually(lambda server=server: follows(server, new), FAILOVER_WITHIN_MS)


def test_no_acknowledged_write_is_lost(watched, writers):
    """Whatever the old master has acknowledged, until it refuses writes, is on the new one."""
    cluster, members = watched
    old = cluster.master
    eventually(lambda: all(len(writer.acknowledged) >= ENOUGH for writer in writers))
    assert ask(members[0], "SENTINEL", "FAILOVER", NAME) == "OK"
    new = cluster.at(new_master(members, old))
    eventually(lambda: all(writer.has_ended() for writer in writers), FAILOVER_WITHIN_MS)
    keys = [key for writer in writers for key in writer.acknowledged]
    assert len(keys) >= WRITERS * ENOUGH
    values = ask(new, "MGET", *keys)
    assert [key for key, value in zip(keys, values, strict=True) if value is None] == []
    all_follow(cluster, new)


def test_a_master_that_may_not_be_paused_is_replaced_all_the_same(watched):
    """Without that right a failover on order does what it can, and a line in the log says so."""
    cluster, members = watched
    assert ask(cluster.master, "ACL", "SETUSER", "default", "-client|pause") == "OK"
    assert ask(members[0], "SENTINEL", "FAILOVER", NAME) == "OK"
    all_follow(cluster, cluster.at(new_master(members, cluster.master)))
    assert any("are not stopped for its failover: NOPERM" in member.log for member in members)
