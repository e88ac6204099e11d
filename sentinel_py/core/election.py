"""ODOWN and the leader: peers asked, votes cast and counted, epochs.

Votes are counted as Sentinel counts them: one vote per sentinel, master and epoch, first come first
served; a leader needs the majority of all known sentinels and at least ``quorum`` (Sentinel
documentation, "Quorum" and "Configuration epochs"; the vote is Raft's, section 5.2). A vote is on
disk before the reply that reveals it.

The original lets a failed attempt rest for 2 x failover-timeout. Here the rest is kept where it
protects another leader's work, and cut short where nobody can be at work.
"""

from __future__ import annotations

from collections import Counter
from operator import itemgetter
from zlib import crc32

from sentinel_py.core import (
    choice,
    consensus,
    failover,
    leave,
    members,
    requests,
    rescue,
    saving,
    upstream,
)
from sentinel_py.core.messages import (
    DownAnswer,
    DownQuestion,
    DownReport,
    GiveLead,
    Level,
    Reply,
    Tell,
)
from sentinel_py.core.model import Failover, Master, Peer, Phase, State, Wait
from sentinel_py.core.roster import look_up
from sentinel_py.core.turn import Turn

DESYNC_MS = 20
"""Candidacies for one master start so far apart, so that the first has won when the next is due."""

OUT_OF_REACH_MS = 500
"""So much later a sentinel stands for election that reaches none of the replicas."""

GIVE_LEAD_EVERY_MS = 5_000
"""A member that was to lead and does not is asked again, or another one, after so long."""

NEW_MASTER_MS = 5_000
"""For so long after a switch, a master that answers us is not voted out. A sentinel that has heard
of the switch late judges the new master by what it knew of the old one, and asks for votes a moment
after the failover; redis-sentinel with a short down-after does so in one failover of six."""

_RETRY_MS = 50, 150
"""A split election is repeated after a random time in this range."""

_CROWD = 8  # masters down at once that are handled about as fast as one

_ANSWER_LIFE = 5  # ask periods


def attend(turn: Turn, master: Master) -> int:
    """Ask the peers again in time, forget stale answers, start a failover that is due."""
    _forget_stale_answers(turn, master)
    ask_peers(turn, master, apart_ms=turn.state.constants.ask_period)
    check_odown(turn, master)
    if turn.state.raft is not None and not master.is_replicated:
        consensus.share_masters(turn)
    again_at = turn.now + _ANSWER_LIFE * turn.state.constants.ask_period
    if master.is_down or master.is_odown:
        again_at = turn.now + turn.state.constants.ask_period
    is_replica = upstream.outside(turn.state, master, turn.now) is not None
    if master.is_odown and master.failover is None and not is_replica:
        _give_lead_away(turn, master)
        again_at = min(again_at, _try_failover(turn, master))
    return again_at


def _give_lead_away(turn: Turn, master: Master) -> None:
    """As Raft leader that reaches no replica, let a member lead that has reported one."""
    raft = turn.state.raft
    if raft is None or not raft.leads or choice.is_any_within_reach(master):
        return
    if any(other.failover for other in turn.state.masters.values()):
        return  # what is under way is finished first; the next look is not far
    better = [it.run_id for it in master.peers.values() if _is_better_placed(turn, it)]
    is_new = raft.gave_lead_at is None or turn.now >= raft.gave_lead_at + GIVE_LEAD_EVERY_MS
    if better and is_new:
        raft.gave_lead_at = turn.now
        turn.log(
            Level.NOTICE, f"No replica of {master.name} is reached here: {better[0]} is to lead"
        )
        turn.effects.append(GiveLead(better[0]))


def _is_better_placed(turn: Turn, peer: Peer) -> bool:
    return peer.has_replica and peer.answered_at is not None and _is_member(turn, peer)


def _try_failover(turn: Turn, master: Master) -> int:
    assert master.try_at is not None
    raft = turn.state.raft
    if raft and (not raft.leads or master.proposed or master.mandate):
        return turn.now + turn.state.constants.ask_period
    if not saving.may_vote(turn.state, master):
        return turn.now + turn.state.constants.ask_period
    if turn.now >= master.try_at:
        if not leave.is_given(turn, master):
            return leave.again_at(turn, master)
        failover.start(turn, master)
        return turn.now
    if master.try_at > turn.now + DESYNC_MS and master.delay_logged_for != master.try_at:
        master.delay_logged_for = master.try_at
        turn.log(
            Level.NOTICE,
            f"Next failover delay: I will not start a failover of {master.name} "
            f"in the next {master.try_at - turn.now} ms",
        )
    return master.try_at


# Asking ------------------------------------------------------------------------------------------


def ask_peers(turn: Turn, master: Master, *, apart_ms: int) -> None:
    """Ask every connected peer whether it sees the master down, too, and for its vote.

    A peer that was asked less than ``apart_ms`` ago is left alone.
    """
    has_failed = master.is_down or rescue.is_candidate(turn.state, master)
    for peer in members.counted(turn.state, master) if has_failed else ():
        if _is_member(turn, peer):
            if peer.told_at is None or turn.now >= peer.told_at + apart_ms:
                _report(turn, peer)
            continue
        asked_at = peer.asked_at if peer.asked_at is not None else peer.answered_at
        if peer.command.is_up and (asked_at is None or turn.now >= asked_at + apart_ms):
            requests.ask_down(turn, peer)


def _is_member(turn: Turn, peer: Peer) -> bool:
    """Fellow members of the Raft cluster are told what we see; their votes come by the log."""
    return members.is_member(turn.state, peer.run_id)


def tell_members(turn: Turn, master: Master) -> None:
    """Push what we see of the master to the members now, the Raft leader among them."""
    for peer in master.peers.values():
        if _is_member(turn, peer):
            _report(turn, peer)


def _report(turn: Turn, peer: Peer) -> None:
    """Tell a member what we see; the stream of the Raft cluster carries it, or it is lost."""
    master = peer.master
    peer.told_at = turn.now
    told = master.config_epoch, master.is_down, choice.is_any_within_reach(master)
    turn.tell(Tell(peer.run_id, master.name, *told))


def take_report(turn: Turn, report: DownReport) -> None:
    """Book what a member sees of the master, unless a switch has come between."""
    master = turn.state.masters.get(report.master)
    peer = master.peers.get(report.run_id) if master else None
    if master is None or peer is None or not _is_member(turn, peer):
        return
    if report.config_epoch != master.config_epoch:
        return
    peer.says_down = report.down
    peer.has_replica = report.has_replica
    peer.answered_at = turn.now
    check_odown(turn, master)


def _forget_stale_answers(turn: Turn, master: Master) -> None:
    limit_ms = _ANSWER_LIFE * turn.state.constants.ask_period
    for peer in master.peers.values():
        if peer.answered_at is not None and turn.now > peer.answered_at + limit_ms:
            peer.says_down = False
            peer.leader = None
            peer.answered_at = None


def take_answer(turn: Turn, peer: Peer, reply: Reply) -> None:
    """Book a peer's ``[down, leader, epoch]``; anything else says nothing."""
    match reply.value:
        case [int(down), bytes(leader), int(epoch)]:
            pass
        case _:
            return
    master = peer.master
    asked, asking = reply.request.args, requests.down_question(turn.state, master)
    if asked[:4] != asking[:4]:
        return  # the master has moved since
    if asked == asking:
        peer.asked_at = None
    was_mute = peer.answered_at is None
    peer.answered_at = turn.now
    peer.says_down = down == 1
    voted = leader != b"*"
    if voted and epoch != peer.leader_epoch:
        name = leader.decode(errors="replace")
        turn.log(Level.NOTICE, f"{peer.run_id} voted for {name} {epoch}")
    if voted or epoch > peer.leader_epoch:
        peer.leader = leader.decode(errors="replace") if voted else None
        peer.leader_epoch = epoch
    check_odown(turn, master)
    count_votes(turn, master)
    if was_mute and master.wait is Wait.NOT_ELECTED:
        _try_soon(turn, master)


def peer_connected(turn: Turn, peer: Peer) -> None:
    """A peer can be asked that could not: what was impossible without it may work now."""
    master = peer.master
    ask_peers(turn, master, apart_ms=_RETRY_MS[0])
    if master.wait is Wait.NOT_ELECTED:
        _try_soon(turn, master)


def peer_lost(turn: Turn, peer: Peer) -> None:
    """A dead peer leads no failover, and its vote is no longer waited for."""
    master = peer.master
    if master.wait is Wait.LEADER and master.awaited == peer.run_id:
        _try_soon(turn, master)
    count_votes(turn, master)


def _try_soon(turn: Turn, master: Master) -> None:
    master.wait = Wait.NOTHING
    master.try_at = turn.now + _in_turn_ms(turn, master)
    turn.touch(master)


def try_again(turn: Turn, master: Master) -> None:
    """Let the next attempt start after a short random time instead of a long rest."""
    master.wait = Wait.NOTHING
    master.try_at = turn.now + turn.rng.randint(*_RETRY_MS) * _delay_factor(turn.state)
    turn.touch(master)


def _in_turn_ms(turn: Turn, master: Master) -> int:
    """How long to leave the candidacy to the sentinels that come before us for this master.

    All know the same order without a word, a different one for each master. When half of 300
    masters died, three sentinels that started at random times met in nine attempts of ten.
    """
    within_reach = [peer.run_id for peer in master.peers.values() if _is_within_reach(peer)]
    ours = _place(turn.state.myid, master)
    before_us = sum(_place(run_id, master) < ours for run_id in within_reach)
    turn_ms = before_us * DESYNC_MS * _delay_factor(turn.state)
    # Who reaches no replica comes behind all others, lest it be elected for nothing: its voters
    # would wait for it as long as for a leader at work.
    return turn_ms + (0 if choice.is_any_within_reach(master) else OUT_OF_REACH_MS)


def _place(run_id: str, master: Master) -> int:
    return crc32(f"{run_id} {master.name}".encode())


def _delay_factor(state: State) -> int:
    """Longer in a crowd, where answers take longer: candidates that have not heard meet."""
    return 1 + sum(master.is_down for master in state.masters.values()) // _CROWD


# ODOWN -------------------------------------------------------------------------------------------


def check_odown(turn: Turn, master: Master) -> None:
    """Whether enough sentinels see the master down.

    A classic sentinel has to be one of them; the Raft leader acts for the others, too.
    """
    quorum = master.options.quorum
    raft = turn.state.raft
    seen = master.is_down + sum(it.says_down for it in members.counted(turn.state, master))
    is_odown = seen >= quorum and (master.is_down or (raft is not None and raft.leads))
    if is_odown == master.is_odown or turn.state.is_tilted:
        return
    master.is_odown = is_odown
    if is_odown:
        master.odown_at = turn.now
        turn.notice(Level.WARNING, "+odown", master, f"#quorum {seen}/{quorum}")
        earliest = turn.now + (0 if raft else _in_turn_ms(turn, master))
        master.try_at = max(earliest, master.try_at or 0)
    else:
        turn.notice(Level.WARNING, "-odown", master)
    turn.touch(master)


# Votes -------------------------------------------------------------------------------------------


def answer(turn: Turn, question: DownQuestion) -> None:
    """Answer a peer's IS-MASTER-DOWN-BY-ADDR, with our vote if it is a candidate."""
    master = _find(turn, question)
    if master is None:
        turn.answer(question.ticket, DownAnswer(False, None, 0))
        return
    down = master.is_down and not turn.state.is_tilted
    if not _is_candidate(master, question.candidate) or _is_new_and_well(turn, master):
        turn.answer(question.ticket, DownAnswer(down, None, 0))
    elif turn.state.raft is not None:
        consensus.vote(turn, master, question)
    else:
        cast_vote(turn, master, question.epoch, question.candidate)
        turn.answer(question.ticket, DownAnswer(down, master.leader, master.leader_epoch))


def _is_candidate(master: Master, run_id: str) -> bool:
    """Return whether this is the id of a sentinel that may stand for election; ``*`` is nobody's.

    A vote binds us for twice the failover-timeout. Anybody can ask for one; it is given to peers
    that we know and are connected to, which a sentinel that watches this master is.
    """
    peer = master.peers.get(run_id)
    return peer is not None and peer.command.is_up


def _find(turn: Turn, question: DownQuestion) -> Master | None:
    known = look_up(turn.state, question.host, question.port)
    ip = known.ip if known else None
    return next(
        (
            master
            for master in turn.state.masters.values()
            if master.address.port == question.port  # few have both, and to look at one is cheap
            and master.address.is_named(question.host, question.port, ip)
        ),
        None,
    )


def cast_vote(turn: Turn, master: Master, epoch: int, candidate: str) -> None:
    """Vote for ``candidate`` unless this epoch's vote for this master is already cast.

    The original refuses whenever its current epoch is later, though that may be due to another
    master; when many died at once, each candidacy spoilt those before it.
    """
    state = turn.state
    if not state.believes(epoch) or not saving.may_vote(state, master):
        return
    raise_epoch(turn, epoch, master)
    if max(master.leader_epoch, master.config_epoch) < epoch and not _is_leading(master):
        give_vote(turn, master, epoch, candidate)
    elif state.current_epoch > epoch and candidate in master.peers:
        # It cannot win in an epoch that is over: tell it which one we are in.
        requests.say_hello(turn, master.peers[candidate])


def give_vote(turn: Turn, master: Master, epoch: int, candidate: str) -> None:
    """Book and save our vote; it is never replaced at the same or a lower epoch."""
    assert epoch > master.leader_epoch
    master.leader, master.leader_epoch = candidate, epoch
    turn.save()
    turn.notice(Level.WARNING, "+vote-for-leader", text=f"{candidate} {epoch}", cause=master)
    if candidate != turn.state.myid:
        if master.failover:
            failover.step_down(turn, master)
        _wait_for(turn, master, candidate)


def _is_leading(master: Master) -> bool:
    """A leader at work gives its vote to nobody: the switch is near, and one is enough."""
    return master.failover is not None and master.failover.phase in (
        Phase.SELECT,
        Phase.SEND,
        Phase.WAIT_PROMOTION,
    )


def _is_new_and_well(turn: Turn, master: Master) -> bool:
    """Return whether the master has just been made one, and has answered since."""
    at = master.switched_at
    is_new = at is not None and turn.now < at + NEW_MASTER_MS
    return is_new and not master.is_down and master.command.is_up


def _wait_for(turn: Turn, master: Master, leader: str) -> None:
    """Leave the leader the time it may need; its death ends the wait."""
    master.wait = Wait.LEADER
    master.awaited = leader
    rest_ms = 2 * master.options.failover_timeout_ms
    master.try_at = turn.now + turn.rng.randint(0, 999) + rest_ms


def epoch_to_try(state: State, master: Master) -> int:
    """A new epoch, unless that of another attempt of ours will do.

    Votes are per master, but an epoch overtakes all that are earlier: when many masters die at once
    and each candidacy has an epoch of its own, each spoils the one before it.
    """
    epoch = state.current_epoch
    attempts = (other.failover for other in state.masters.values() if other.failover)
    is_ours = any(attempt.epoch == epoch for attempt in attempts)
    is_usable = is_ours and master.leader_epoch < epoch and master.config_epoch < epoch
    return epoch if is_usable else epoch + 1


def raise_epoch(turn: Turn, epoch: int, cause: Master | None = None) -> None:
    if epoch > turn.state.current_epoch:
        turn.state.current_epoch = epoch
        turn.save()
        turn.notice(Level.WARNING, "+new-epoch", text=str(epoch), cause=cause)
        for master in turn.state.masters.values():
            count_votes(turn, master)


def count_votes(turn: Turn, master: Master) -> None:
    """See whether our candidacy has won, is lost, or still hangs on votes to come."""
    attempt = master.failover
    if attempt is None or attempt.phase is not Phase.WAIT_START or turn.state.is_tilted:
        return
    votes = _tally(turn.state, master, attempt)
    needed = max(members.majority(turn.state, master), master.options.quorum)
    favourite, count = max(votes.items(), key=itemgetter(1), default=("", 0))
    if count >= needed and favourite == turn.state.myid:
        failover.elected(turn, master, attempt)
    elif count >= needed:
        _give_up(turn, master)
        _wait_for(turn, master, favourite)
    elif _is_over(turn, master, attempt):
        _give_up(turn, master)
        try_again(turn, master)


def _tally(state: State, master: Master, attempt: Failover) -> Counter[str]:
    voters: list[Master | Peer] = [master, *members.counted(state, master)]
    return Counter(v.leader for v in voters if v.leader and v.leader_epoch == attempt.epoch)


def _is_over(turn: Turn, master: Master, attempt: Failover) -> bool:
    """Whether all within reach have answered, and some refused us in this epoch only.

    Their votes are spent on another or on nobody they remember, or their epoch is later than the
    attempt's. While only votes from out of reach are missing, another epoch would not help.
    """
    within_reach = [
        peer
        for peer in members.counted(turn.state, master)
        if _is_within_reach(peer) and not _is_member(turn, peer)
    ]
    if any(peer.asked_at is not None or peer.answered_at is None for peer in within_reach):
        return False
    ours = turn.state.myid, attempt.epoch
    spent = [p.leader_epoch for p in within_reach if (p.leader, p.leader_epoch) != ours]
    return any(max(epoch, turn.state.current_epoch - 1) >= attempt.epoch for epoch in spent)


def _is_within_reach(peer: Peer) -> bool:
    return peer.command.is_up and not peer.is_down


def attempt_deadline_at(turn: Turn, master: Master, attempt: Failover) -> int:
    limit_ms = min(turn.state.constants.election_timeout, master.options.failover_timeout_ms)
    return attempt.started_at + limit_ms


def time_out(turn: Turn, master: Master) -> None:
    """Nobody was elected in time; without a change of who can be reached, nobody will be."""
    _give_up(turn, master)
    master.wait = Wait.NOT_ELECTED


def _give_up(turn: Turn, master: Master) -> None:
    failover.abort(turn, master, "-failover-abort-not-elected")
