"""Masters that were removed or reset a moment ago: what was known of them still serves.

A tool that heals a master gives REMOVE and MONITOR to one sentinel after the other. In Raft mode
all members forget it with the first REMOVE; those that no client has told so themselves go on
naming it to clients for ``GAP_MS``, as they would with redis-sentinel. And where a master dies
before it has been read anew, those who were its replicas are the ones that can take its place.
"""

from __future__ import annotations

from sentinel_py.core import roster
from sentinel_py.core.messages import Level
from sentinel_py.core.model import Address, Master
from sentinel_py.core.past import FormerMaster
from sentinel_py.core.turn import Turn
from sentinel_py.core.views import master_row

GAP_MS = 2_000
"""For so long a removed master is named; tools need milliseconds for what follows."""

LIFE_MS = 30_000
"""For so long a master that is watched again has the replicas that it had before."""

FORMER_MAX = 1_000
"""Removed masters that are remembered; the oldest make room."""


def keep(turn: Turn, master: Master, *, is_named: bool) -> None:
    """Remember a master that is about to be removed."""
    former = turn.state.former
    former.pop(master.name, None)
    if len(former) >= FORMER_MAX:
        del former[next(iter(former))]
    row = master_row(turn.state, master, turn.now) if is_named else None
    named_until = turn.now + GAP_MS if is_named else turn.now
    former[master.name] = FormerMaster(
        master.address, _replicas(master), turn.now, named_until, row
    )


def name_no_more(turn: Turn, name: str) -> None:
    """Forget where a removed master was: the client of this member has removed it, too."""
    if known := turn.state.former.get(name):
        known.named_until = turn.now


def take_up(turn: Turn, master: Master) -> None:
    """Give a master that is watched again the replicas that it had, should it be needed."""
    known = turn.state.former.pop(master.name, None)
    if known and known.address.same_as(master.address) and turn.now < known.removed_at + LIFE_MS:
        master.former_replicas = known.replicas


def keep_replicas(master: Master) -> None:
    """Remember the replicas of a master that is about to be reset, or goes on being reset."""
    master.former_replicas = _replicas(master) or master.former_replicas


def bring_back(turn: Turn, master: Master) -> None:
    """Look at the former replicas of a master that is down and was never read since."""
    if master.info_at is None:
        for address in master.former_replicas:
            if master.replica_at(address) is None and not master.address.same_as(address):
                replica = roster.add_replica(turn.state, turn.now, master, address)
                turn.notice(Level.NOTICE, "+slave", replica)
                turn.touch(replica)
                turn.save_soon()
    master.former_replicas = ()


def _replicas(master: Master) -> tuple[Address, ...]:
    return tuple(
        it.address for it in master.replicas.values() if not (it.is_foreign or it.is_hearsay)
    )
