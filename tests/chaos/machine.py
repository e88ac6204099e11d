"""One host: a Redis and a sentinel inside its namespace, and questions to both.

Questions go over Unix sockets, which no cut of the network reaches, so what is asked here is how a
server sees the world and not how we reach it. The rule it guards: nothing here decides what breaks.
"""

from dataclasses import dataclass

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from sentinel_py.local import Server, redis_server

from .network import address
from .writer import SENTINEL_PORT

REDIS_PORT = 6379
NAME = "mymaster"
PATIENCE = {"socket_timeout": 0.5, "retry": Retry(NoBackoff(), 0), "decode_responses": True}


@dataclass(frozen=True)
class Clock:
    """What makes a process read its wall clock through a file that says how far off it is."""

    library: str
    file: str

    def environment(self):
        return [
            "env",
            f"LD_PRELOAD={self.library}",
            f"FAKETIME_TIMESTAMP_FILE={self.file}",
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        ]


class Host:
    """A machine with its two servers; starting and stopping them is up to the caller."""

    def __init__(self, number, folder, run):
        self.number = number
        self.address = address(number)
        self.folder = folder
        self.state = folder / "sentinel" / "state"  # the disk that a sentinel writes to
        self.state.mkdir(parents=True)
        (folder / "redis").mkdir()
        self.redis = Server(f"redis-{number}", run([]), REDIS_PORT, folder / "redis")
        self.sentinel = Server(f"sentinel-{number}", run([]), SENTINEL_PORT, folder / "sentinel")
        self._run = run

    def configure_redis(self, master, lines):
        """Write its file; a replica of that host unless it is the host itself."""
        conf = self.folder / "redis" / "redis.conf"
        replica_of = [] if master is self else [f"replicaof {master.address} {REDIS_PORT}"]
        head = [
            f"port {REDIS_PORT}",
            f"unixsocket {self.folder}/redis.sock",
            f"dir {conf.parent}",
            "protected-mode no",
            'save ""',
            "repl-diskless-sync yes",
            "repl-diskless-sync-delay 0",
        ]
        conf.write_text("\n".join([*head, *replica_of, *lines, ""]))
        self.redis.argv = tuple(self._run([redis_server(), str(conf)]))

    def configure_sentinel(self, program, lines, clock=None):
        conf = self.state / "sentinel.conf"
        head = [
            f"port {SENTINEL_PORT}",
            f"unixsocket {self.folder}/sentinel.sock",
            f"dir {self.state}",
            "protected-mode no",
        ]
        conf.write_text("\n".join([*head, *lines, ""]))
        environment = clock.environment() if clock else []
        self.sentinel.argv = tuple(self._run([*environment, *program, str(conf)]))

    # Questions

    def redis_client(self):
        return redis.Redis(unix_socket_path=f"{self.folder}/redis.sock", **PATIENCE)

    def sentinel_client(self, **options):
        path = f"{self.folder}/sentinel.sock"
        return redis.Redis(unix_socket_path=path, protocol=2, **{**PATIENCE, **options})

    def ask_redis(self, *words):
        with self.redis_client() as client:
            return client.execute_command(*words)

    def ask_sentinel(self, *words):
        with self.sentinel_client() as client:
            return client.execute_command(*words)

    def role(self):
        """What the Redis is: "master", or "slave" as the wire says; empty when it cannot say."""
        try:
            return self.ask_redis("ROLE")[0]
        except (redis.RedisError, OSError):
            return ""

    def follows(self, master):
        return self.ask_redis("ROLE")[:4] == ["slave", master.address, REDIS_PORT, "connected"]

    def names(self):
        """The address that the sentinel names as the master; empty when it does not name one."""
        try:
            return named(self.ask_sentinel("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME))
        except (redis.RedisError, OSError):
            return ""

    def master_row(self):
        return pairs(self.ask_sentinel("SENTINEL", "MASTER", NAME))

    def rows(self, what):
        return [pairs(row) for row in self.ask_sentinel("SENTINEL", what, NAME)]


def named(reply):
    return reply[0] if reply else ""


def pairs(reply):
    """A reply of fields and values, which some versions of redis-py have made a mapping already."""
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
