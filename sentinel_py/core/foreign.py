"""Foreign instances: servers at a replica's address that are none of the group's, with keys.

The address was given to somebody else, a master lists a replica that is not there, a replica was
moved to another group. Such a server is told nothing and is not promoted, which ``requests`` and
``choice`` see to. Here it is said, once for each server run, and the operator may let it in.
"""

from __future__ import annotations

from sentinel_py.core import identity, requests
from sentinel_py.core.messages import Admit, Level, Refused
from sentinel_py.core.model import Address, DataNode, Master, Replica
from sentinel_py.core.roster import look_up
from sentinel_py.core.turn import Turn

ADMITTED_MAX = 100
"""Servers per master that an operator has let in and that have not been forgotten yet."""


def look(turn: Turn, node: DataNode) -> None:
    """See whether a server that has reported is one of the group."""
    if isinstance(node, Replica):
        _look_at(turn, node)
        return
    assert isinstance(node, Master)
    for replica in node.replicas.values():
        if replica.suspect_at is not None:
            _look_at(turn, replica)


def _look_at(turn: Turn, replica: Replica) -> None:
    reason = identity.why_foreign(turn.state, replica, turn.now)
    if not reason:
        _take_in(turn, replica)
        return
    if replica.suspect_at is None:
        replica.suspect_at = turn.now
    if replica.told_foreign != replica.run_id and not _is_news_coming(turn, replica):
        replica.told_foreign = replica.run_id
        text = f"#{reason}. {identity.way_out(replica)}"
        turn.notice(Level.WARNING, "+foreign-instance", replica, text)


def _is_news_coming(turn: Turn, replica: Replica) -> bool:
    """Have the master say what its history is now, before a server is called foreign to it."""
    master, since = replica.master, replica.suspect_at
    assert since is not None
    is_heard = master.info_at is not None and master.info_at >= since
    if is_heard or not master.command.is_up or master.is_down:
        return False
    if master.info_asked_at is None:
        requests.ask_info(turn, master)
    return True


def _take_in(turn: Turn, replica: Replica) -> None:
    """Note that the server is one of the group, as far as is known."""
    was_foreign = replica.told_foreign == replica.run_id != ""
    replica.suspect_at, replica.told_foreign = None, ""
    if was_foreign:
        turn.notice(Level.WARNING, "-foreign-instance", replica)
    if identity.is_proven(turn.state, replica, turn.now):
        replica.is_hearsay = False
        identity.remember_member(turn, replica)


# Orders ------------------------------------------------------------------------------------------


def check(turn: Turn, order: Admit) -> Replica:
    """Return the row that an order to admit names; Refused if there is nothing to let in."""
    master = turn.state.masters.get(order.name)
    if master is None:
        raise Refused("No such master with that name")
    port = int(order.port) if order.port.isascii() and order.port.isdigit() else 0
    address = look_up(turn.state, order.host, port) if port < 65536 else None
    replica = master.replica_at(address) if address else None
    if replica is None:
        raise Refused("No such replica, see SENTINEL REPLICAS")
    if not replica.run_id:
        raise Refused("It has not said yet which server it is, try again later")
    return replica


def admit(turn: Turn, master: Master, address: Address, run_id: str) -> None:
    """Let this run of the server at an address be told to follow the master."""
    admitted = master.admitted
    admitted.pop(identity.admission_key(address), None)
    if len(admitted) >= ADMITTED_MAX:
        del admitted[next(iter(admitted))]
    admitted[identity.admission_key(address)] = run_id
    replica = master.replica_at(address)
    if replica is not None:
        turn.notice(Level.WARNING, "+admitted", replica)
        requests.ask_info(turn, replica)
