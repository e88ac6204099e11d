"""What scenarios share: a watched Redis cluster, questions to a server, notices of a sentinel."""

from contextlib import contextmanager
from dataclasses import dataclass

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from sentinel_py.local import HOST, Server, eventually, monitor, wait_ready

NAME = "mymaster"
SENTINELS = 3
# Quick, but no quicker than the pings of the original, which go out once in a second; and a second
# election soon enough when the votes of the first are split.
TIMING = {"down-after-milliseconds": 1000, "failover-timeout": 3000}
SETTLED_WITHIN_MS = 30_000
# Past the ten seconds in which the original notices that an old master has returned.
FAILOVER_WITHIN_MS = 40_000
# One attempt, and no pause of redis-py's own: the tests do the waiting.
PATIENCE = {"socket_timeout": 2, "retry": Retry(NoBackoff(), 0)}


@dataclass(frozen=True)
class Cluster:
    """One master and its replicas as they were started."""

    master: Server
    replicas: list[Server]

    @property
    def servers(self):
        return [self.master, *self.replicas]

    def at(self, port):
        return next(server for server in self.servers if server.port == port)


@contextmanager
def client(server, **options):
    """A RESP2 client of one server, which shows the reply as it was on the wire."""
    with redis.Redis(
        host=HOST, port=server.port, protocol=2, decode_responses=True, **PATIENCE, **options
    ) as connected:
        yield connected


def ask(server, *command, **options):
    with client(server, **options) as connected:
        return connected.execute_command(*command)


def pairs(flat):
    return dict(zip(flat[::2], flat[1::2], strict=True))


def master_row(sentinel, name=NAME):
    return pairs(ask(sentinel, "SENTINEL", "MASTER", name))


def rows(sentinel, what, name=NAME):
    return [pairs(row) for row in ask(sentinel, "SENTINEL", what, name)]


def master_port(sentinel, name=NAME):
    return int(ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)[1])


def start_cluster(box, replicas=2, options=None, password=None):
    """Start a master with replicas and wait until all of them follow it."""
    master = box.redis(options=options)
    cluster = Cluster(
        master, [box.redis(replica_of=master, options=options) for _ in range(replicas)]
    )
    wait_ready(cluster.servers)
    for replica in cluster.replicas:
        eventually(lambda replica=replica: follows(replica, master, password=password))
    return cluster


def follows(server, master, **options):
    """Whether this Redis is a connected replica of that one."""
    return ask(server, "ROLE", **options)[:4] == ["slave", HOST, master.port, "connected"]


def is_linked(server):
    """Whether this Redis is a connected replica of anybody."""
    return ask(server, "ROLE")[3:4] == ["connected"]


def watch(cluster, name=NAME, quorum=2, **options):
    """The lines that make a sentinel watch this cluster; options may be any `sentinel` option."""
    extra = {option.replace("_", "-"): value for option, value in options.items()}
    return monitor(name, cluster.master, quorum=quorum, options={**TIMING, **extra})


def start_sentinels(box, lines, program, count=SENTINELS):
    sentinels = [box.sentinel(lines, program=program) for _ in range(count)]
    wait_ready(sentinels)
    return sentinels


def settle(sentinels, cluster, name=NAME):
    """Wait until every sentinel knows everybody, so that any of them could fail over now."""
    for sentinel in sentinels:
        eventually(
            lambda sentinel=sentinel: knows(sentinel, cluster, len(sentinels) - 1, name),
            SETTLED_WITHIN_MS,
            f"acquaintance of {sentinel}",
        )


def knows(sentinel, cluster, peers, name=NAME):
    row = master_row(sentinel, name)
    replicas = rows(sentinel, "REPLICAS", name)
    others = rows(sentinel, "SENTINELS", name)
    return (
        row["flags"] == "master"
        and sorted(int(replica["port"]) for replica in replicas)
        == sorted(server.port for server in cluster.replicas)
        and all(one["flags"] == "slave" and one["runid"] for one in replicas)
        and [one["flags"] for one in others] == ["sentinel"] * peers
        and has_majority(sentinel)
    )


def has_majority(sentinel):
    """Whether a member of a Raft cluster has a leader; members know each other before that."""
    info = ask(sentinel, "INFO", "raft")
    return info.get("raft_has_majority", 1) == 1 if isinstance(info, dict) else True


def new_master(sentinels, old, name=NAME, within_ms=FAILOVER_WITHIN_MS):
    """Wait until all sentinels name the same master and it is not the old one; its port."""

    def agreed():
        named = {master_port(sentinel, name) for sentinel in sentinels}
        rows = {int(master_row(sentinel, name)["port"]) for sentinel in sentinels}
        return named.pop() if len(named) == 1 and rows == named and old.port not in named else None

    return eventually(agreed, within_ms, f"new master that {len(sentinels)} sentinels name")


@contextmanager
def stock_client(sentinels, name=NAME, **options):
    """redis-py's own Sentinel client of the master."""
    entry = redis.Sentinel(
        [(HOST, server.port) for server in sentinels], sentinel_kwargs=PATIENCE, **PATIENCE
    )
    with entry.master_for(name, **options) as master:
        try:
            yield master
        finally:
            for sentinel in entry.sentinels:
                sentinel.close()


class Listener:
    """Everything that one sentinel publishes from now on, as (channel, payload)."""

    def __init__(self, sentinel):
        self._client = redis.Redis(
            host=HOST, port=sentinel.port, protocol=2, decode_responses=True, **PATIENCE
        )
        self._subscription = self._client.pubsub(ignore_subscribe_messages=False)
        self._subscription.psubscribe("*")
        eventually(lambda: self._subscription.get_message(timeout=1))
        self._heard = []

    def heard(self):
        while message := self._subscription.get_message():
            self._heard.append((message["channel"], message["data"]))
        return list(self._heard)

    def names(self):
        return [channel for channel, _ in self.heard()]

    def payloads(self, channel):
        return [payload for heard, payload in self.heard() if heard == channel]

    def wait(self, channel, begins="", within_ms=FAILOVER_WITHIN_MS):
        """Wait for such a notice; its payload."""
        return eventually(
            lambda: next((text for text in self.payloads(channel) if text.startswith(begins)), ""),
            within_ms,
            f"{channel} {begins}",
        )

    def close(self):
        self._subscription.close()
        self._client.close()
