"""A new master that a hello names (classic mode): believed when that server itself bears it out.

Anybody who can publish on a watched Redis can say that another server is the master. So the server
is asked first, and taken over when it says that it is a master and has grown out of this group: its
replication ids are kin, or it is a replica that we know and our master is gone. A stranger's server
is neither. Sentinels repeat their hellos, so what is not borne out now is looked at again.

A sentinel that we do not know is no peer before that: it may watch another group under the same
name, which we meet where an address has gone from one group to the other. Its votes, and that they
are missing, would count among ours.
"""

from __future__ import annotations

from sentinel_py.core import failover, identity, requests, roster
from sentinel_py.core.messages import Level
from sentinel_py.core.model import Address, Master, NamedSwitch, Peer, Replica, Role
from sentinel_py.core.turn import Turn

NAMED_MAX = 8
"""Servers that hellos name and that are being asked; true sentinels name one at a time."""

JUDGED_MAX = 64
"""Servers named by sentinels that we do not know, of which is remembered what they are."""

NAMED_LIFE_MS = 3_000
"""A server that has not answered by then is asked again when it is named again."""

JUDGED_MS = 60_000
"""For so long it holds that a server was found to be kin, or not: it makes a peer of who names it,
and is not asked again. Sentinels of one group agree on an address long before."""


def hear(turn: Turn, master: Master, peer: Peer, address: Address, epoch: int) -> None:
    """Ask the server that a hello names as the master since this config epoch."""
    if identity.owner_of(master, address, turn.now) is master:
        _switch(turn, master, peer, address, epoch)  # to another address of the same server
        return
    replica = master.replica_at(address)
    if replica is not None and _is_fresh(turn, replica) and not _why_not(replica):
        _switch(turn, master, peer, replica.address, epoch)
        return
    peer.last_hello = ""
    _ask(turn, master, address, peer.run_id, epoch)


def is_of_group(turn: Turn, master: Master, address: Address) -> bool:
    """Return whether a server that a sentinel names is one of the group that we watch."""
    if identity.is_masters(master, address, turn.now):
        return True
    replica = master.replica_at(address)
    if replica is not None and not replica.is_hearsay and not replica.command.is_up:
        return True  # it cannot be asked
    if replica is not None and identity.is_proven(turn.state, replica, turn.now):
        return True
    is_kin, until = master.judged.get(_place(address), (False, 0))
    return is_kin and turn.now < until


def meet(turn: Turn, master: Master, run_id: str, address: Address, epoch: int) -> None:
    """Ask a server that a sentinel names which we do not know: it may belong to another group."""
    _, until = master.judged.get(_place(address), (False, 0))
    if turn.now >= until and identity.known_ids(master):
        _ask(turn, master, address, run_id, epoch)


def _ask(turn: Turn, master: Master, address: Address, run_id: str, epoch: int) -> None:
    named, replica = master.named, master.replica_at(address)
    for place in [it for it, known in named.items() if turn.now > known.at + NAMED_LIFE_MS]:
        _forget(turn, master, named.pop(place))
    place = _place(address)
    if place in named or len(named) >= NAMED_MAX:
        return
    is_probe = replica is None
    if replica is None:
        if len(master.replicas) >= roster.REPLICAS_MAX:
            return
        replica = roster.add_replica(turn.state, turn.now, master, address)
        replica.is_hearsay, replica.listed_at = True, turn.now
        turn.save_soon()
    named[place] = NamedSwitch(replica.address, epoch, run_id, turn.now, is_probe)
    turn.touch(replica)
    requests.ask_info(turn, replica)


def look(turn: Turn, replica: Replica) -> bool:
    """Judge a server that was named, now that it has answered; False if its row is gone."""
    master = replica.master
    place = _place(replica.address)
    known = master.named.pop(place, None)
    if known is None:
        return True
    peer = master.peers.get(known.run_id)
    is_kin = peer is None and _is_kin(turn, replica)
    if peer is None:
        _judge(turn, master, place, is_kin=is_kin)
    if is_kin:
        return True
    reason = _why_not(replica)
    if not reason and peer is not None and _is_later(master, known):
        _switch(turn, master, peer, replica.address, known.config_epoch)
        return True
    if reason and master.disbelieved != place:
        master.disbelieved = place
        text = f"{place} is named as the master of {master.name}, and {reason}: not believed"
        if peer is None:
            text = f"Sentinel {known.run_id} is of another group named {master.name}: {text}"
        turn.log(Level.WARNING, text)
    if known.is_probe:
        roster.remove_replica(turn, replica)
        turn.save_soon()
        return False
    return True


def _is_later(master: Master, known: NamedSwitch) -> bool:
    """Return whether the switch still counts; of two with one epoch, the greater address does."""
    ours, theirs = master.address, known.address
    places = (ours.ip, ours.port), (theirs.ip, theirs.port)
    return (known.config_epoch, places[1]) > (master.config_epoch, places[0])


def _why_not(replica: Replica) -> str:
    """Return what speaks against a server as the new master; empty if it bears the hello out."""
    master, data = replica.master, replica.dataset
    if replica.role is not Role.MASTER:
        # Where nobody is a master, to agree on one of the group is how the next failover begins.
        is_moot = master.role is Role.REPLICA and not (replica.is_hearsay or replica.is_foreign)
        return "" if is_moot else "says that it is a replica"
    known = identity.known_ids(master)
    if data is not None and identity.ids_of(data) & known:
        return ""
    if data is None or not known:
        return "is unknown" if replica.is_hearsay else ""
    is_gone = master.is_down or master.role is Role.REPLICA or not master.command.is_up
    if not replica.is_hearsay and (is_gone or not identity.is_comparable(master, data)):
        return ""
    return f"has another history, {data.replid}"


def _is_kin(turn: Turn, replica: Replica) -> bool:
    """Return whether a server that an unknown sentinel names is one of the group."""
    data = replica.dataset
    is_one = bool(identity.twins(replica)) or identity.is_proven(turn.state, replica, turn.now)
    kin = data is not None and identity.ids_of(data) & identity.known_ids(replica.master)
    return is_one or bool(kin)


def _judge(turn: Turn, master: Master, place: str, *, is_kin: bool) -> None:
    judged = master.judged
    judged.pop(place, None)
    if len(judged) >= JUDGED_MAX:
        del judged[next(iter(judged))]
    judged[place] = is_kin, turn.now + JUDGED_MS


def _place(address: Address) -> str:
    return f"{address.ip} {address.port}"


def _is_fresh(turn: Turn, replica: Replica) -> bool:
    """Return whether the server has said who it is since its role changed, a moment ago."""
    return (
        identity.is_known(replica)
        and replica.command.is_up
        and replica.info_at is not None
        and turn.now <= replica.info_at + turn.state.constants.ping_period
    )


def _switch(turn: Turn, master: Master, peer: Peer, address: Address, epoch: int) -> None:
    master.config_epoch = epoch
    turn.notice(Level.WARNING, "+config-update-from", peer)
    failover.switch(turn, master, address, as_leader=False)
    turn.save()


def _forget(turn: Turn, master: Master, known: NamedSwitch) -> None:
    """Drop the row that was made to ask a server which never answered."""
    replica = master.replica_at(known.address) if known.is_probe else None
    if replica is not None and replica.info_at is None:
        roster.remove_replica(turn, replica)
        turn.save_soon()
