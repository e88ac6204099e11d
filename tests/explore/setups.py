"""The small worlds."""

from dataclasses import dataclass, field

from .member import ENDPOINTS, MASTER, MEMBERS, PORT, RUN_IDS
from .world import Left

@dataclass(frozen=True)
class Setup:
    """A small world: how it is configured, and what may go wrong in it."""

    name: str
    left: dict
    is_raft: bool = False
    asks_slowly: bool = False
    hellos_wait: bool = True
    any_order: bool = False
    servers: tuple = (0,)  # those that die
    opening: tuple = (("die", 0),)
    calm_ms: int = 6_000
    heal_ms: int = 6_000
    lasts_ms: int = 20_000

    def concerns(self, _what, place):
        return place in self.servers

    def config_files(self):
        host, port = ENDPOINTS[0]
        for member in range(MEMBERS):
            lines = [
                f"sentinel myid {RUN_IDS[member]}",
                f"sentinel monitor {MASTER} {host} {port} 2",
                f"sentinel down-after-milliseconds {MASTER} 1000",
                f"sentinel failover-timeout {MASTER} 2000",
            ]
            yield tuple(lines)

SETUPS = {it.name: it for it in (
    Setup("dies", {}),
    Setup("dies-late", {Left.LATE: 1}),
    Setup("dies-late2", {Left.LATE: 2}),
    Setup("dies-crash", {Left.CRASH: 1}),
    Setup("dies-crash-restart", {Left.CRASH: 1, Left.RESTART: 1}),
    Setup("any", {}, any_order=True),
    Setup("raft", {}, is_raft=True, hellos_wait=False),
    Setup("raft-late", {Left.LATE:1}, is_raft=True, hellos_wait=False),
    Setup("raft-crash", {Left.CRASH:1}, is_raft=True, hellos_wait=False),
    Setup("raft-crash-late", {Left.CRASH:1, Left.LATE:1}, is_raft=True, hellos_wait=False),
)}
