"""The small worlds: three members, a master and two replicas, one failover, and what goes wrong."""

from dataclasses import dataclass, field

from .member import ENDPOINTS, MASTER, MEMBERS, RUN_IDS
from .moment import Fault


@dataclass(frozen=True)
class World:
    """How a world is configured, what begins in it, and what may go wrong so many times."""

    name: str
    left: dict
    is_raft: bool = False
    asks_slowly: bool = False  # INFO takes its time, too, while a failover is on
    hellos_wait: bool = True
    questions_wait: bool = True  # those that ask for no vote
    quorum: int = 2
    has_any_order: bool = False  # whatever is under way may come first, not by a fault only
    mortal: tuple = (0,)  # servers that may die
    opening: tuple = (("die", 0),)
    options: tuple = ()
    calm_ms: int = 6_000
    heal_ms: int = 6_000
    lasts_ms: int = 20_000

    def config_files(self):
        """What each member's file says at first."""
        host, port = ENDPOINTS[0]
        for member in range(MEMBERS):
            yield (
                f"sentinel myid {RUN_IDS[member]}",
                f"sentinel monitor {MASTER} {host} {port} {self.quorum}",
                f"sentinel down-after-milliseconds {MASTER} 1000",
                f"sentinel failover-timeout {MASTER} 2000",
                *(f"sentinel {option}" for option in self.options),
            )


def _raft(name, left, **more):
    return World(name, left, is_raft=True, hellos_wait=False, **more)


L, C, R = Fault.LATE, Fault.CRASH, Fault.RESTART
_WORLDS = (
    World("dies", {}),
    World("dies-late", {L: 1}),
    World("dies-late2", {L: 2}),
    World("dies-crash", {C: 1}),
    World("dies-crash-late", {C: 1, L:1}),
    World("dies-crash-restart", {C: 1, R: 1}),
    World("votes", {Fault.STOP: 1, C: 1, R: 1}, questions_wait=False),
    World("votes-quorum-1", {Fault.STOP: 1}, questions_wait=False, quorum=1),
    World("slow", {}, asks_slowly=True),
    World("slow-late", {L:1}, asks_slowly=True),
    World("slow-late2", {L:2}, asks_slowly=True),
    World("slow-crash-restart", {C: 1, R: 1}, asks_slowly=True),
    World("revive", {Fault.REVIVE: 1}),
    World("revive-late", {Fault.REVIVE: 1, L:1}),
    World("revive-stop", {Fault.REVIVE: 1, Fault.STOP:1}),
    World("loss", {Fault.LOSS: 1}),
    World("stop", {Fault.STOP: 1}),
    World("stop-late", {Fault.STOP: 1, L:1}),
    World("order", {Fault.ORDER: 1}),
    World("order2", {Fault.ORDER: 2}),
    World("order-calm", {Fault.ORDER: 1, Fault.LATE:1}, opening=()),
    World("order2-calm", {Fault.ORDER: 2}, opening=()),
    World("replica-dies", {Fault.DIE: 1, Fault.LATE: 1}, mortal=(1,)),
    World("any", {}, has_any_order=True),
    _raft("raft", {}),
    _raft("raft-late", {L: 1}),
    _raft("raft-late2", {L: 2}),
    _raft("raft-crash", {C: 1}),
    _raft("raft-crash-late", {C: 1, L: 1}),
    _raft("raft-crash-restart", {C: 1, R: 1}),
    _raft("raft-move", {Fault.MOVE: 1}),
    _raft("raft-move2", {Fault.MOVE: 2}),
    _raft("raft-move-late", {Fault.MOVE: 1, L:1}),
    _raft("raft-unknown", {Fault.UNKNOWN: 2}),
    _raft("raft-unknown-move", {Fault.UNKNOWN: 1, Fault.MOVE: 1}),
    _raft("raft-stop", {Fault.STOP: 1}),
    _raft("raft-stop-move", {Fault.STOP: 1, Fault.MOVE: 1}),
    _raft("raft-revive", {Fault.REVIVE: 1}),
    _raft("raft-revive-crash", {Fault.REVIVE: 1, C:1}),
    _raft("raft-order", {Fault.ORDER: 1}),
    _raft("raft-order-calm", {Fault.ORDER: 2, C:1}, opening=()),
    _raft("raft-replica-dies", {Fault.DIE: 1, Fault.LATE: 1}, mortal=(1,)),
    _raft("raft-slow-crash", {C:1, L: 1}, asks_slowly=True),
)
WORLDS = {world.name: world for world in _WORLDS}
