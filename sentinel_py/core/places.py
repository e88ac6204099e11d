"""Where the log has a master: moved when it says so, and once at the end of catching up with it."""

from __future__ import annotations

from sentinel_py.core import failover, members, roster
from sentinel_py.core.messages import Level
from sentinel_py.core.model import Address, Master
from sentinel_py.core.turn import Turn


def place(turn: Turn, master: Master, address: Address, epoch: int) -> None:
    """Have the master where the log says it is since this config epoch.

    Whoever catches up with the log meets all the places that it ever had. Nobody is told of those:
    it moves once, to the last of them, when this sentinel is a member that has all of the log.
    """
    if not members.is_in_cluster(turn.state):
        master.logged = address, epoch
        return
    master.config_epoch = epoch
    if not master.address.same_as(address):
        failover.switch(turn, master, address, as_leader=False)


def settle_places(turn: Turn) -> None:
    """Move the masters where the log has them, now that all of it is applied.

    Those of a log that we have left are gone if this one does not have them.
    """
    for master in list(turn.state.masters.values()):
        if master.is_carried:
            turn.notice(Level.WARNING, "-monitor", master)
            roster.remove_master(turn, master)
            turn.save_soon()
        if master.logged is not None:
            (address, epoch), master.logged = master.logged, None
            place(turn, master, address, epoch)
            turn.save_soon()
