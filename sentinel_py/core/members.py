"""The members of the Raft cluster, as the peers of every master.

Who votes in a Raft cluster is told by its log, and by nobody else. Each member has a row under
each master, at its raft-peers address, whether a hello of it was ever heard or not. Rows of others
are outsiders: sentinels that watch the same master and are in no cluster with us. They are shown as
what they are and count for nothing, unless the operator says, for the days of a replacement,
``sentinel raft-count-outsiders yes``.

The rule guarded: in Raft mode, voters, majority and quorum are counted from what the log has made.
"""

from __future__ import annotations

from sentinel_py.core import roster
from sentinel_py.core.messages import Level
from sentinel_py.core.model import Address, Master, Peer, State
from sentinel_py.core.turn import Turn


def is_in_cluster(state: State) -> bool:
    """Return whether this sentinel is a member, so that the log decides for it."""
    return state.raft is not None and state.myid in state.raft.members


def is_member(state: State, run_id: str) -> bool:
    return state.raft is not None and run_id in state.raft.members


def counts(state: State, peer: Peer) -> bool:
    """Return whether what this peer says, and its vote, count for its master."""
    if not is_in_cluster(state) or is_member(state, peer.run_id):
        return True
    return state.settings.raft_count_outsiders


def counted(state: State, master: Master) -> list[Peer]:
    """Return the peers whose word counts."""
    return [peer for peer in master.peers.values() if counts(state, peer)]


def voters(state: State, master: Master) -> int:
    """Return how many sentinels decide about this master; members count, known or not."""
    if not is_in_cluster(state):
        return 1 + len(master.peers)
    assert state.raft is not None
    outsiders = [it for it in counted(state, master) if not is_member(state, it.run_id)]
    return len(state.raft.members) + len(outsiders)


def is_elected_by_claim(state: State) -> bool:
    """Return whether a committed claim is the election: nobody but members votes."""
    return is_in_cluster(state) and not state.settings.raft_count_outsiders


def majority(state: State, master: Master) -> int:
    return voters(state, master) // 2 + 1


def leave_log(state: State, *, is_founder: bool) -> None:
    """Take the masters out of the log that we have left: another one is to tell of them.

    A founder brings them into it. Anybody else keeps them until it tells: they are none of its own
    before that, and are not brought into it, since it may have removed them.
    """
    for master in state.masters.values():
        if is_founder:
            master.mandate = None
        elif master.is_replicated or master.is_carried:
            master.is_carried = True
        master.is_replicated = False


# Their rows --------------------------------------------------------------------------------------


def changed(turn: Turn, gone: tuple[str, ...]) -> None:
    """Bring the rows of all masters in line with the members; ``gone`` are members no more."""
    for master in turn.state.masters.values():
        for run_id in gone:
            if run_id in master.peers:
                roster.remove_peer(turn, master.peers[run_id])
        list_all(turn, master)


def place_by_log(master: Master) -> tuple[Address, int]:
    """Return where the master is, and since which config epoch, as the log has made it so far."""
    return master.logged or (master.address, master.config_epoch)


def list_all(turn: Turn, master: Master) -> None:
    """See to it that a master has a row for each other member, where that can be reached."""
    if not is_in_cluster(turn.state):
        return
    assert turn.state.raft is not None
    for run_id, address in turn.state.raft.addresses.items():
        if run_id != turn.state.myid:
            _list(turn, master, run_id, address)


def _list(turn: Turn, master: Master, run_id: str, address: Address) -> None:
    peer = master.peers.get(run_id)
    if peer is None or peer.address != address:
        _drop_namesakes(turn, master, run_id, address)
    if peer is None:
        peer = roster.add_peer(turn.state, turn.now, master, run_id, address)
        turn.notice(Level.NOTICE, "+sentinel", peer)
        turn.save_soon()
    elif peer.address != address:
        peer.address = address
        turn.close_links(peer)
        turn.save_soon()
    turn.touch(peer)


def _drop_namesakes(turn: Turn, master: Master, run_id: str, address: Address) -> None:
    """Forget who was known at a member's address: the member itself, under an earlier id."""
    for other in list(master.peers.values()):
        if other.run_id != run_id and other.address.same_as(address):
            roster.remove_peer(turn, other)
