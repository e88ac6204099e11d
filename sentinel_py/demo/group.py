"""The processes of the demo, and what they answer: a Redis master, its replicas, three sentinels.

In Raft mode only the first sentinel is told what to watch; the others get it from the Raft log. In
classic mode each has it in its own file.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from sentinel_py.local import (
    HOST,
    Sandbox,
    Server,
    eventually_async,
    monitor,
    raft_peers,
    wait_ready_async,
)

NAME = "demo"
QUORUM = 2
FAILOVER_TIMEOUT_MS = 5_000
REDIS_PORTS = (7001, 7002, 7003)
SENTINEL_PORTS = (26379, 26380, 26381)
SETTLED_WITHIN_MS = 30_000
CLIENT_TIMEOUT_S = 1.0
# Without redis-py's own pauses between attempts, which would count as outage; and without its
# socket_timeout, which on Python 3.11 (asyncio.wait_for) can swallow the cancellation of a task.
PATIENCE: dict[str, Any] = {"retry": Retry(NoBackoff(), 0), "socket_timeout": None}


@dataclass(frozen=True, slots=True)
class Options:
    """What the user wants to see."""

    program: tuple[str, ...]
    is_raft: bool
    down_after_ms: int
    once: bool


class Group:
    """The servers, in the order of their ports; the first Redis begins as the master."""

    def __init__(self, box: Sandbox, options: Options) -> None:
        self.box = box
        self.options = options
        self.redises: list[Server] = []
        self.sentinels: list[Server] = []

    async def start(self) -> None:
        ports = [self.box.port(wanted) for wanted in REDIS_PORTS]
        master = self.box.redis(port=ports[0])
        self.redises = [master]
        self.redises += [self.box.redis(port=port, replica_of=master) for port in ports[1:]]
        await wait_ready_async(self.redises)
        # A replica that a sentinel misses at its first look is found ten seconds later.
        await eventually_async(self._linked, SETTLED_WITHIN_MS, "link of the replicas")
        self._start_sentinels(master)
        await wait_ready_async(self.sentinels)

    def _start_sentinels(self, master: Server) -> None:
        ports = [self.box.port(wanted) for wanted in SENTINEL_PORTS]
        settings = {
            "down-after-milliseconds": self.options.down_after_ms,
            "failover-timeout": FAILOVER_TIMEOUT_MS,
        }
        watch = monitor(NAME, master, quorum=QUORUM, options=settings)
        peers = [raft_peers(ports)] if self.options.is_raft else []
        for port in ports:
            lines = peers if peers and self.sentinels else [*peers, *watch]
            server = self.box.sentinel(lines, port=port, program=self.options.program)
            self.sentinels.append(server)

    @property
    def moved(self) -> list[tuple[int, int]]:
        """The ports that were taken, each with the one in its place."""
        wanted = (*REDIS_PORTS, *SENTINEL_PORTS)
        ports = [server.port for server in (*self.redises, *self.sentinels)]
        return [pair for pair in zip(wanted, ports, strict=True) if pair[0] != pair[1]]

    async def _linked(self) -> bool:
        report = await ask(self.redises[0], "INFO", "replication")
        return bool(report["connected_slaves"] == len(self.redises) - 1)

    async def settled(self) -> bool:
        """Whether the group can fail over."""
        rows = [await ask(server, "SENTINEL", "MASTER", NAME) for server in self.sentinels]
        replicas, peers = str(len(self.redises) - 1), str(len(self.sentinels) - 1)
        return all(
            (row["flags"], row["num-slaves"], row["num-other-sentinels"])
            == ("master", replicas, peers)
            for row in rows
        )

    async def agreed_master(self, other_than: Server | None = None) -> Server | None:
        """The Redis that all sentinels name, when they name the same and it is not this one."""
        answers = {
            tuple(await ask(server, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME))
            for server in self.sentinels
        }
        candidates = {
            (HOST, str(server.port)): server for server in self.redises if server is not other_than
        }
        return candidates.get(answers.pop()) if len(answers) == 1 else None


async def replicates(replica: Server, master: Server) -> bool:
    role = await ask(replica, "ROLE")
    return bool(role[:4] == ["slave", HOST, master.port, "connected"])


async def ask(server: Server, *command: str) -> Any:
    async with asyncio.timeout(CLIENT_TIMEOUT_S), client_of(server) as client:
        return await client.execute_command(*command)


def client_of(server: Server) -> Any:
    return Redis(host=HOST, port=server.port, decode_responses=True, **PATIENCE)
