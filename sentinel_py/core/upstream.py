"""A master that says it is a replica: somebody switched the roles by hand, or watches a replica.

An operator may use REPLICAOF or Redis' own FAILOVER. When our master follows one of its replicas,
and that one says that it is the master, the switch has been made; what is left is to name the new
master, which is done at once. No sentinel has to be asked: all see the same servers, and the names
of two that do so in one epoch are the same.

When it follows a server that we do not watch, and that lives, the file names a replica. That is
said. Nobody is promoted then: there would be two masters of one history.
"""

from __future__ import annotations

from sentinel_py.core import consensus, election, failover, identity, members, requests
from sentinel_py.core.messages import Level
from sentinel_py.core.model import Address, Master, Replica, Role, State
from sentinel_py.core.turn import Turn


def look(turn: Turn, master: Master) -> None:
    """See whether the roles were switched by hand, now that one of the two has reported."""
    if master.role is not Role.REPLICA or master.is_failing_over or turn.state.is_tilted:
        return
    if master.failover is not None or master.mandate is not None or not master.command.is_up:
        return
    new = _new_master(turn.state, master, turn.now)
    if new is None:
        _say_outside(turn, master)
    elif new.info_at is None or new.info_at < master.role_at or new.role is not Role.MASTER:
        _ask_again(turn, new)
    elif master.master_link_up and not identity.why_foreign(turn.state, new, turn.now):
        _adopt(turn, master, new)


def _ask_again(turn: Turn, new: Replica) -> None:
    """Hear soon whether it has become the master; the two may well follow each other."""
    is_due = new.info_at is None or turn.now >= new.info_at + turn.state.constants.ping_period
    if is_due and new.info_asked_at is None and new.command.is_up:
        requests.ask_info(turn, new)


def outside(state: State, master: Master, now: int) -> Address | None:
    """Return the server that our master is a living replica of, if it is none that we watch."""
    if master.role is not Role.REPLICA or master.info_at is None or not master.master_link_up:
        return None
    if master.is_failing_over or _new_master(state, master, now) is not None:
        return None
    followed = identity.followed_by(state, master)
    return None if identity.is_masters(master, followed, now) else followed


def _new_master(state: State, master: Master, now: int) -> Replica | None:
    followed = identity.followed_by(state, master)
    found = master.replica_at(followed) or identity.owner_of(master, followed, now)
    return found if isinstance(found, Replica) else None


def _adopt(turn: Turn, master: Master, new: Replica) -> None:
    """Name the new master; in Raft mode the leader does, by an entry."""
    state = turn.state
    epoch = state.current_epoch + 1
    if state.raft is None:
        if not _would_have_heard(turn, master):
            return
        turn.notice(Level.WARNING, "+switched-by-hand", new)
        election.raise_epoch(turn, epoch, master)
        master.config_epoch = epoch
        failover.switch(turn, master, new.address, as_leader=False)
    elif state.raft.leads and members.is_in_cluster(state) and master.proposed is None:
        turn.notice(Level.WARNING, "+switched-by-hand", new)
        consensus.propose_follow(turn, master, epoch, new.address)


def _would_have_heard(turn: Turn, master: Master) -> bool:
    """Return whether enough peers have spoken since, who would know of a failover that we missed.

    Then it is theirs to tell in which epoch that was; ours would be taken by another one already.
    """
    since = max(master.role_at, master.command.up_at)
    heard = 1 + sum(it.heard_at > since for it in members.counted(turn.state, master))
    return heard >= members.majority(turn.state, master)


def _say_outside(turn: Turn, master: Master) -> None:
    followed = outside(turn.state, master, turn.now)
    if followed is None:
        return
    where = f"{turn.state.shown(followed) or followed.host} {followed.port}"
    if master.told_upstream != where:
        master.told_upstream = where
        text = f"#is a replica of {where}, which is to be monitored instead"
        turn.notice(Level.WARNING, "+monitored-replica", master, text)
