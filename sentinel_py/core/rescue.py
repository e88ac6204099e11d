"""Rescue: a master that comes back without its data is not followed, but replaced.

One that crashes and is started again before anybody takes it for down is followed by its replicas,
which then have no data either. So the best of them is promoted before it resyncs, and the empty
one is demoted after the switch. The Raft leader alone decides that; in classic mode, whoever is
elected.

Nobody else has to have seen it. That a master does not answer is an opinion, and may be the fault
of whoever asks; this the server says of itself, and replicas that resync within a second wait for
no quorum. The rule guarded: nothing is done once no replica can have the data any more.
"""

from __future__ import annotations

from sentinel_py.core import choice, election, failover, leave, lineage, requests, saving
from sentinel_py.core.messages import Level
from sentinel_py.core.model import Master, Replica, State, Wait
from sentinel_py.core.turn import NEVER, Turn

RECONNECT_MS = 25
"""A master that is to be protected is looked for this often: replicas do so once in a second."""

_RETRY_MS = 100


def is_candidate(state: State, master: Master) -> bool:
    """Whether we ask for votes although the master is not down; members of a log need none."""
    return state.raft is None and master.emptied_at is not None and master.failover is not None


def attend(turn: Turn, master: Master) -> int:
    """Have the data of an emptied master taken over, as long as anybody may have them."""
    if master.emptied_at is None or master.failover or master.proposed:
        return NEVER
    if master.rescue_at < master.emptied_at:
        return _look_closer(turn, master)
    if not lineage.protects(turn.state, master) or not lineage.may_be_saved(master):
        return _give_up(turn, master)
    raft = turn.state.raft
    if raft and (not raft.leads or master.mandate):
        return NEVER
    if not saving.may_vote(turn.state, master):
        return turn.now + _RETRY_MS
    if master.wait in (Wait.LEADER, Wait.NOT_ELECTED) and turn.now < (master.try_at or 0):
        return NEVER
    if turn.now >= master.rescue_at:
        if not leave.is_given(turn, master):
            return leave.again_at(turn, master)
        master.rescue_at = turn.now + _RETRY_MS
        if best := choice.choose(turn, master):
            _keep(turn, best)
            failover.start(turn, master)
    return master.rescue_at


def _keep(turn: Turn, replica: Replica) -> None:
    """Keep a replica from copying the empty master while the log takes note of what is to come.

    Nobody is sent there before the switch, so a second master for that time does no harm. Without a
    log, the vote comes first: another sentinel may keep another replica.
    """
    if turn.state.raft is not None:
        replica.detached_at = turn.now
        requests.follow_nobody(turn, replica)


def _look_closer(turn: Turn, master: Master) -> int:
    """Whether there were any data: what came after the last INFO only the replicas can tell."""
    known, emptied_at = master.lineage, master.emptied_at
    assert known is not None
    assert emptied_at is not None
    keys = lineage.keys_lost(master)
    if keys == 0:
        patience_ends_at = emptied_at + choice.FRESH_INFO_WAIT_MS
        is_told = all((it.info_at or 0) >= emptied_at for it in master.replicas.values())
        is_over = is_told or turn.now >= patience_ends_at
        return _give_up(turn, master) if is_over else patience_ends_at
    turn.notice(Level.WARNING, "+empty-restart", master, f"#keys {keys} offset {known.offset}")
    apart_ms = 0 if turn.state.raft else turn.rng.randint(0, election.DESYNC_MS)
    master.rescue_at = turn.now + apart_ms
    turn.touch(master)
    return master.rescue_at


def _give_up(turn: Turn, master: Master) -> int:
    if master.emptied_at is not None and master.rescue_at >= master.emptied_at:
        turn.notice(Level.WARNING, "-empty-restart", master)
    lineage.accept(turn, master)
    return NEVER
