"""SENTINEL FAILOVER name COORDINATED: the roles change, no acknowledged write is lost."""

import threading

import pytest
import redis

from sentinel_py.local import HOST, eventually

from .group import (
    FAILOVER_WITHIN_MS,
    NAME,
    ask,
    follows,
    master_row,
    new_master,
    settle,
    start_sentinels,
    watch,
)


class Counter:
    """Increments a counter on one server, straight, until that refuses; knows its last answer."""

    def __init__(self, server):
        self.acknowledged = 0
        self._client = redis.Redis(HOST, server.port, socket_timeout=5)
        self._thread = threading.Thread(target=self._count)
        self._thread.start()

    def _count(self):
        with self._client:
            while True:
                try:
                    self.acknowledged = self._client.incr("counter")
                except redis.RedisError:
                    return

    def ended(self):
        return not self._thread.is_alive()


def test_no_acknowledged_write_is_lost(redis_cluster, sentinels):
    """A client that writes to the old master as fast as it can finds all of it on the new one."""
    old = redis_cluster.master
    counter = Counter(old)
    eventually(lambda: counter.acknowledged > 100)
    assert ask(sentinels[0], "SENTINEL", "FAILOVER", NAME, "COORDINATED") == "OK"
    new = redis_cluster.at(new_master(sentinels, old))
    eventually(counter.ended, FAILOVER_WITHIN_MS, "end of the writer")
    assert int(ask(new, "GET", "counter")) >= counter.acknowledged
    for server in redis_cluster.servers:
        if server is not new:
            eventually(lambda server=server: follows(server, new), FAILOVER_WITHIN_MS)


def test_a_master_that_cannot_be_asked_is_told(sandbox, redis_cluster, program):
    """While the master hangs, the order is refused in one line that names the way out."""
    [alone] = start_sentinels(sandbox, watch(redis_cluster, quorum=2), program, count=1)
    settle([alone], redis_cluster)
    redis_cluster.master.pause()
    eventually(lambda: "s_down" in master_row(alone)["flags"], FAILOVER_WITHIN_MS)
    with pytest.raises(redis.ResponseError, match="without COORDINATED"):
        ask(alone, "SENTINEL", "FAILOVER", NAME, "COORDINATED")
    redis_cluster.master.resume()
