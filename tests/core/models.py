"""Models of what a sentinel talks to: a Redis server and another sentinel.

They know commands and replies, and nothing of time, connections or the core under test; transcripts
and the multi-node world put them on their networks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sentinel_py.core.messages import ErrorReply, Value

OK = b"OK"


@dataclass(eq=False)
class RedisModel:
    """A Redis server as a sentinel sees it; ``follows`` is None for a master."""

    name: str
    host: str
    port: int = 6379
    follows: tuple[str, int] | None = None
    priority: int = 100
    offset: int = 0
    announced: bool = True
    ping_reply: Value = b"PONG"
    obeys: bool = True  # no: transactions are refused, as by a server without the rights
    pauses: int = 1  # no: as Redis before 6.2, which cannot pause writes alone
    replid: str = ""  # without one, INFO says nothing of the data
    replid2: str = "0" * 40
    parted: int = -1
    keys: int = 0
    loading: int = 0
    syncing: int = 0
    restarts: int = 0
    synced_at: int = 0  # when the link to the followed master comes up
    sync_ms: int = 0
    linked: int = 1  # no: not yet since its start, and INFO says that in a way of its own
    link_lost_at: int | None = None
    queued: list[tuple[str, ...]] | None = None  # in a transaction
    refuses: str = ""  # rights that the sentinel's user lacks, as ACL rules name them
    is_spoilt: bool = False  # the transaction
    failing_over: int = 0  # 1: it is in a FAILOVER of its own, and follows nobody else
    others: list[tuple[str, int]] = field(default_factory=list)  # more addresses that lead here
    started_as: str = "/etc/redis.conf"
    pause_left_ms: int = -1  # what INFO says of that; -1: nothing, as before Valkey 8.1
    told: tuple[str, int] | None = None  # what it announces to its master

    @property
    def run_id(self) -> str:
        return f"{self.name.lower()}-{self.restarts}".ljust(40, "0")

    @property
    def endpoint(self) -> tuple[str, int]:
        return self.host, self.port

    def is_at(self, endpoint: tuple[str, int] | None) -> bool:
        return endpoint == self.endpoint or endpoint in self.others

    def follow(self, endpoint: tuple[str, int] | None, now: int) -> None:
        if endpoint != self.follows:
            if endpoint is None and self.replid:
                self.replid2, self.parted = self.replid, self.offset + 1
                self.replid = f"{self.name}-history"
            self.follows = endpoint
            self.synced_at = now + self.sync_ms
            self.link_lost_at = now

    def copy(self, master: RedisModel) -> None:
        """Have what the master has."""
        for name in ("replid", "replid2", "parted", "offset", "keys"):
            setattr(self, name, getattr(master, name))

    def info(self, now: int, replicas: list[RedisModel], master_is_up: bool) -> bytes:
        """What INFO says; who follows whom, and whether that works, is the network's knowledge."""
        lines = [f"run_id:{self.run_id}"]
        if self.follows is None:
            lines.append("role:master")
        else:
            lines += self._replica_lines(now, master_is_up and now >= self.synced_at)
        if self.failing_over:
            lines.append("master_failover_state:failover-in-progress")
        if self.pause_left_ms >= 0:
            lines.append(f"paused_reason:{'client_pause' if self.pause_left_ms else 'none'}")
            lines.append(f"paused_timeout_milliseconds:{self.pause_left_ms}")
        if self.replid:
            lines += self._data_lines()
        for number, replica in enumerate(replicas):
            host, port = replica.told or replica.endpoint
            lines.append(f"slave{number}:ip={host},port={port},state=online")
        return "\r\n".join(lines).encode()

    def _data_lines(self) -> list[str]:
        return [
            f"loading:{self.loading}",
            f"config_file:{self.started_as}",
            f"master_replid:{self.replid}",
            f"master_replid2:{self.replid2}",
            f"master_repl_offset:{self.offset}",
            f"second_repl_offset:{self.parted}",
            f"master_sync_in_progress:{self.syncing}",
            "# Keyspace",
            *([f"db0:keys={self.keys},expires=0,avg_ttl=0"] if self.keys else []),
        ]

    def _replica_lines(self, now: int, link_is_up: bool) -> list[str]:
        assert self.follows
        if link_is_up:
            self.link_lost_at = None
            self.linked = 1
        elif self.link_lost_at is None:
            self.link_lost_at = now
        lines = [
            "role:slave",
            f"master_host:{self.follows[0]}",
            f"master_port:{self.follows[1]}",
            f"master_link_status:{'up' if link_is_up else 'down'}",
            f"slave_repl_offset:{self.offset}",
            f"slave_priority:{self.priority}",
            f"replica_announced:{int(self.announced)}",
        ]
        if self.link_lost_at is not None:
            since_s = (now - self.link_lost_at) // 1000 if self.linked else -1
            lines.append(f"master_link_down_since_seconds:{since_s}")
        return lines

    def execute(self, args: tuple[str, ...], now: int) -> tuple[Value, bool]:
        """A command's reply, and whether it closed the connections of clients and subscribers.

        PING and the transactions of failovers mean something here, the rest is agreed to. One
        connection at a time is in a transaction: its commands come in one write.
        """
        if args[0] == "PING":
            return self.ping_reply, False
        if args[0] == "EXEC" and self.is_spoilt:
            self.queued, self.is_spoilt = None, False
            return ErrorReply("EXECABORT Transaction discarded because of previous errors."), False
        if not self.obeys or _right(args) in self.refuses.split(","):
            denial = f"NOPERM no permissions to run '{_right(args)}'"
            if args[0] == "EXEC":
                self.queued = None
                denial = f"EXECABORT Transaction discarded because of: {denial}"
            self.is_spoilt = self.queued is not None
            return ErrorReply(denial), False
        if args[:2] == ("CLIENT", "PAUSE") and not self.pauses:
            return ErrorReply("ERR Unknown subcommand or wrong number of arguments"), False
        if args[:2] in (("CLIENT", "PAUSE"), ("CLIENT", "UNPAUSE")):
            return OK, False
        if args[0] == "MULTI":
            self.queued = []
        elif args[0] == "EXEC" and self.queued is not None:
            results = [self._run(command, now) for command in self.queued]
            kills, self.queued = any(it[:2] == _KILL for it in self.queued), None
            return results, kills
        elif args[0] == "DISCARD":
            self.queued, self.is_spoilt = None, False
        elif args[0] == "EXEC":
            return ErrorReply("ERR EXEC without MULTI"), False
        elif args[0] in ("SLAVEOF", "CONFIG", "CLIENT", "FAILOVER"):
            if self.queued is None:
                return self._run(args, now), args[:2] == _KILL
            self.queued.append(args)
            return b"QUEUED", False
        return (1 if args[0] == "PUBLISH" else OK), False

    def _run(self, command: tuple[str, ...], now: int) -> Value:
        if command == ("FAILOVER", "ABORT"):
            if not self.failing_over:
                return ErrorReply("ERR No failover in progress.")
            self.failing_over = 0
            self.follow(None, now)
        if command[0] == "SLAVEOF":
            if self.failing_over:
                return ErrorReply("ERR REPLICAOF not allowed while failing over.")
            to_nobody = command[1:] == ("NO", "ONE")
            self.follow(None if to_nobody else (command[1], int(command[2])), now)
        return OK


_KILL = ("CLIENT", "KILL")


def _right(args: tuple[str, ...]) -> str:
    has_subcommands = args[0] in ("CONFIG", "CLIENT")
    return "|".join(args[:2] if has_subcommands else args[:1]).lower()


@dataclass(eq=False)
class PeerModel:
    """Another sentinel: it votes once per epoch, first come first served, unless told otherwise."""

    name: str
    id: str
    host: str
    port: int = 26379
    epoch: int = 0
    sees_down: bool = False
    leader: str | None = None
    leader_epoch: int = 0
    vote: Callable[[str, int], tuple[str | None, int]] | None = None
    ping_reply: Value = b"PONG"

    @property
    def endpoint(self) -> tuple[str, int]:
        return self.host, self.port

    def execute(self, args: tuple[str, ...]) -> Value:
        if args[:2] == ("SENTINEL", "RAFT"):
            return OK
        if args[0] == "SENTINEL":
            return self._answer(int(args[4]), args[5])
        if args[0] == "PING":
            return self.ping_reply
        return 1 if args[0] == "PUBLISH" else OK

    def _answer(self, epoch: int, candidate: str) -> Value:
        leader, leader_epoch = (None, 0) if candidate == "*" else self._cast(candidate, epoch)
        return [int(self.sees_down), (leader or "*").encode(), leader_epoch]

    def _cast(self, candidate: str, epoch: int) -> tuple[str | None, int]:
        if self.vote is not None:
            return self.vote(candidate, epoch)
        if epoch > self.leader_epoch and epoch >= self.epoch:
            self.leader, self.leader_epoch = candidate, epoch
        self.epoch = max(self.epoch, epoch)
        return self.leader, self.leader_epoch
