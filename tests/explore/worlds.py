"""The small worlds: three members, a master and two replicas, one failover, and what goes wrong."""

from dataclasses import dataclass

from .member import ENDPOINTS, MASTER, MEMBERS, RUN_IDS
from .moment import Fault


@dataclass(frozen=True)
class World:
    """How a world is configured, what begins in it, and what may go wrong so many times."""

    name: str
    left: dict
    is_raft: bool = False
    hellos_wait: bool = True
    questions_wait: bool = True  # those that ask for no vote
    quorum: int = 2
    has_any_order: bool = False  # whatever is under way may come first, not by a fault only
    mortal: tuple = (0,)  # servers that may die
    opening: tuple = (("die", 0),)
    fences: bool = False
    has_one_writer: bool = False  # no promotion while another master takes writes
    calm_ms: int = 6_000
    strikes_ms: int = 6_000  # so long may things go wrong
    stops_ms: tuple = ()  # when, too, though nothing happens then
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
                *([f"sentinel fence-isolated-master {MASTER} yes"] if self.fences else []),
            )


def _raft(name, left, **more):
    return World(f"raft-{name}", left, is_raft=True, hellos_wait=False, **more)


_WORLDS = (
    # The master dies, and all goes well.
    World("well", {}),
    _raft("well", {}),
    # Messages come late, or not at all.
    World("late", {Fault.LATE: 2}),
    World("loss", {Fault.LOSS: 2}),
    _raft("late", {Fault.LATE: 2}),
    _raft("loss", {Fault.LOSS: 1, Fault.LATE: 1}),
    # A member dies, too; and returns.
    World("crash", {Fault.CRASH: 1, Fault.LATE: 1}),
    World("return", {Fault.CRASH: 1, Fault.RESTART: 1}),
    World(
        "votes", {Fault.STOP: 1, Fault.CRASH: 1, Fault.RESTART: 1}, questions_wait=False, quorum=1
    ),
    _raft("crash", {Fault.CRASH: 1, Fault.LATE: 1}),
    _raft("return", {Fault.CRASH: 1, Fault.RESTART: 1}),
    # A member stands still for a while.
    World("stop", {Fault.STOP: 1}),
    _raft("stop", {Fault.STOP: 1, Fault.MOVE: 1}),
    # Another one leads the Raft cluster; a proposal's end is not known.
    _raft("move", {Fault.MOVE: 2}),
    _raft("unknown", {Fault.UNKNOWN: 2, Fault.MOVE: 1}),
    # A replica dies, maybe after it was chosen.
    World("replica", {Fault.DIE: 1, Fault.LATE: 1}, mortal=(1,)),
    _raft("replica", {Fault.DIE: 1, Fault.LATE: 1}, mortal=(1,)),
    # The former master returns while others still lead.
    World("former", {Fault.REVIVE: 1, Fault.LATE: 1}),
    World("former-stop", {Fault.REVIVE: 1, Fault.STOP: 1}),
    _raft("former", {Fault.REVIVE: 1, Fault.CRASH: 1}),
    _raft("former-move", {Fault.REVIVE: 1, Fault.MOVE: 1, Fault.LATE: 1}),
    # An operator orders a failover: of a dead master, and of one that is well.
    World("order", {Fault.ORDER: 2}),
    World("order-well", {Fault.ORDER: 2, Fault.LATE: 1}, opening=()),
    _raft("order", {Fault.ORDER: 1, Fault.CRASH: 1}),
    _raft("order-well", {Fault.ORDER: 2, Fault.CRASH: 1}, opening=()),
    # A member is cut off together with the master, which it fences.
    _raft("fence", {Fault.ISLAND: 1}, opening=(), fences=True),
    _raft("fence-move", {Fault.ISLAND: 1, Fault.MOVE: 1}, opening=(), fences=True),
    _raft("fence-crash", {Fault.ISLAND: 1, Fault.CRASH: 1}, opening=(), fences=True),
    _raft(
        "fence-late",
        {Fault.ISLAND: 1, Fault.CRASH: 1},
        opening=(("blind", 1, 0),),
        fences=True,
        strikes_ms=740,
        stops_ms=(710, 735),
    ),
    # Whatever is under way may come first.
    World("any-order", {}, has_any_order=True),
    _raft("any-order", {}, has_any_order=True),
)
WORLDS = {world.name: world for world in _WORLDS}
