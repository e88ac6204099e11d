"""The core as a member of a Raft cluster: what is proposed, and what a committed entry changes.

The Raft leader leads every failover. Each step that another member would have to know of is an
entry: the claim (at once the vote of every member), the choice of the replica, the switch, the end.
Orders that concern all sentinels are entries, too. Applying an entry depends on nothing but the
entry and what earlier entries have made, so all members come to the same state (Raft paper, 5.3).

Two fences keep this safe beside classic sentinels: a vote is never replaced at the same or a lower
epoch, and a member casts no vote that is not in the log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sentinel_py.core import (
    chronicle,
    election,
    entry_checks,
    failover,
    fencing,
    ledger,
    members,
    places,
    shared_orders,
    sharing,
)
from sentinel_py.core.checks import InvalidError
from sentinel_py.core.ledger import (
    Ballot,
    Choice,
    Claim,
    Command,
    Delivered,
    Entry,
    Finish,
    Record,
    Switch,
)
from sentinel_py.core.messages import (
    Committed,
    DownAnswer,
    DownQuestion,
    FailOver,
    Level,
    Note,
    ProposalEnded,
    Propose,
    RaftView,
    Refused,
)
from sentinel_py.core.model import Address, Mandate, Master, Phase, Raft
from sentinel_py.core.turn import Turn

TICKETS_MAX = 10_000
"""Orders under way at once; a commit takes milliseconds, or fails within seconds."""

_NOT_DONE = "No majority of the Raft cluster can be reached, nothing was changed"
_TOO_LONG = f"An order has at most {ledger.ENTRY_MAX_BYTES} bytes in the Raft log"
_NOT_KNOWN = "No majority of the Raft cluster has answered in time, the change may still come"


def _raft(turn: Turn) -> Raft:
    assert turn.state.raft is not None
    return turn.state.raft


def propose(turn: Turn, entry: Entry, ticket: int = 0) -> str:
    """Put an entry on its way into the log; returns its id. ``ticket`` is answered when it ends."""
    raft = _raft(turn)
    raft.proposals += 1
    entry_id = f"{turn.state.myid}:{raft.boot}:{raft.proposals}"
    if ticket:
        if len(raft.tickets) >= TICKETS_MAX:
            turn.answer(ticket, Refused(_NOT_DONE, "NOQUORUM"))
            return entry_id
        if len(ledger.encode(entry_id, entry)) > ledger.ENTRY_MAX_BYTES:
            turn.answer(ticket, Refused(_TOO_LONG))
            return entry_id
        raft.tickets[entry_id] = ticket
    turn.effects.append(Propose(entry_id, entry))
    return entry_id


def propose_step(turn: Turn, master: Master, entry: Entry) -> None:
    """Propose a failover's next step, one at a time; what ends unknown is proposed again."""
    if master.proposed is None:
        master.proposed = propose(turn, entry)


def committed(turn: Turn, event: Committed) -> None:
    """Apply a log entry. Those up to ``applied`` have been, in this run or an earlier one."""
    raft, entry = _raft(turn), event.entry
    if isinstance(entry, Record | Delivered):
        # The file has nothing of it, so it is read again after a restart and is nothing to save.
        if event.index > turn.state.history.applied and (why := entry_checks.why_not(entry)):
            _reject(turn, event, why)
        else:
            chronicle.committed(turn.state, event.index, entry)
        raft.applied = max(raft.applied, event.index)
        return
    if event.index <= raft.applied:
        return
    raft.applied = event.index
    turn.is_from_log = True
    ticket = raft.tickets.pop(event.entry_id, 0)
    ours = [it for it in turn.state.masters.values() if it.adoption == event.entry_id]
    _forget_proposal(turn, event.entry_id)
    why = entry_checks.why_not(entry)
    try:
        if not why:
            if isinstance(entry, Command):
                shared_orders.apply(turn, entry, ticket, event.entry_id)
            else:
                _APPLY[type(entry)](turn, entry, ticket)
    except InvalidError as error:
        why = str(error)
    if why:
        _reject(turn, event, why)
        turn.answer(ticket, Refused(f"The Raft cluster does not take it: {why}"))
        for master in ours:
            sharing.leave_unshared(turn, master, why)
    _confirm_lead(turn, event.entry_id)
    turn.save()


def _reject(turn: Turn, event: Committed, why: str) -> None:
    """Say that an entry is skipped, here as on all members."""
    turn.notice(Level.WARNING, "+rejected-entry", text=f"{event.index} #{why}")


def proposal_ended(turn: Turn, event: ProposalEnded) -> None:
    raft = _raft(turn)
    _forget_proposal(turn, event.entry_id)
    if raft.lead_entry == event.entry_id:
        raft.lead_entry = None
    if raft.floor_entry == event.entry_id:
        raft.floor_entry = None
    if ticket := raft.tickets.pop(event.entry_id, 0):
        text = _NOT_DONE if event.certain else _NOT_KNOWN
        turn.answer(ticket, Refused(text, "NOQUORUM"))


def _forget_proposal(turn: Turn, entry_id: str) -> None:
    for master in turn.state.masters.values():
        if entry_id in (master.proposed, master.ballot, master.adoption):
            master.proposed = None if master.proposed == entry_id else master.proposed
            master.ballot = None if master.ballot == entry_id else master.ballot
            master.adoption = None if master.adoption == entry_id else master.adoption
            turn.touch(master)


def note(turn: Turn, event: Note) -> None:
    """Write something down; what comes while another one leads is that one's to write."""
    raft, state = turn.state.raft, turn.state
    if raft is not None:
        if raft.leads:
            propose(turn, event.entry)
    elif isinstance(event.entry, Record):
        chronicle.write(state, event.entry)


# Who leads ---------------------------------------------------------------------------------------


def view_changed(turn: Turn, view: RaftView) -> None:
    """Take over as leader, or step back.

    A new leader first commits an entry of its own: behind it, nothing is missing that an earlier
    leader has logged (Raft paper, section 8).
    """
    raft = _raft(turn)
    was_leading = raft.leads
    _take_members(turn, raft, view)
    raft.leader, raft.term, raft.trouble = view.leader, view.term, view.trouble
    if raft.has_majority != view.has_majority:
        raft.lost_at = None if view.has_majority else turn.now
    raft.has_majority = view.has_majority
    if view.leads and not raft.has_lease:
        raft.led_at = turn.now
    raft.has_lease = view.leads
    if not view.leads:
        raft.leads, raft.lead_entry = False, None
        if was_leading:
            for master in turn.state.masters.values():
                _lay_down(turn, master)
    elif not raft.leads and raft.lead_entry is None:
        raft.lead_entry = _ask_for_lead(turn)
    for master in turn.state.masters.values():
        _leave_unclaimed(turn, master)
    if view.leader is not None and view.has_majority:
        share_masters(turn)
        _raise_floor(turn, raft)


def _leave_unclaimed(turn: Turn, master: Master) -> None:
    """Leave an attempt that the log knows nothing of: it began before we were a member."""
    attempt, mandate = master.failover, master.mandate
    is_claimed = mandate is not None and attempt is not None and mandate.epoch == attempt.epoch
    if attempt is not None and not is_claimed and attempt.phase is not Phase.RECONF:
        failover.abort(turn, master, "-failover-abort-not-elected")


def _take_members(turn: Turn, raft: Raft, view: RaftView) -> None:
    """Have the members as peers of all masters; who is none any more votes nowhere."""
    gone = tuple(it for it in raft.members if it not in view.members) if view.members else ()
    addresses = {it: Address(host, port, ip) for it, host, port, ip in view.addresses}
    if raft.members == view.members and raft.addresses == addresses:
        return
    was_in_cluster = members.is_in_cluster(turn.state)
    raft.members, raft.addresses = view.members, addresses
    members.changed(turn, gone)
    if members.is_in_cluster(turn.state) and not was_in_cluster:
        places.settle_places(turn)


def _raise_floor(turn: Turn, raft: Raft) -> None:
    """Have the log begin behind the epochs of the time before it, in which we may have voted."""
    if raft.floor_epoch > turn.state.current_epoch and raft.floor_entry is None:
        raft.floor_entry = propose(turn, Command("epoch", (str(raft.floor_epoch),)))


def _ask_for_lead(turn: Turn) -> str:
    return propose(turn, Command("lead", (turn.state.myid,)))


def _confirm_lead(turn: Turn, entry_id: str) -> None:
    raft = _raft(turn)
    if raft.lead_entry == entry_id:
        raft.lead_entry = None
        if raft.has_lease:
            raft.leads = True
            for master in turn.state.masters.values():
                _take_up(turn, master)


def attend(turn: Turn, master: Master) -> None:
    """As leader, see to it that what has ended is logged and what was left is taken up."""
    raft = turn.state.raft
    mandate = master.mandate
    if raft and raft.has_lease and not raft.leads and raft.lead_entry is None:
        raft.lead_entry = _ask_for_lead(turn)  # that before has ended unknown
    if raft is None or not raft.leads or master.proposed or master.failover or mandate is None:
        return
    if mandate.is_over:
        propose_step(turn, master, Finish(master.name, mandate.epoch))
    else:
        _take_up(turn, master)


def tilt_ended(turn: Turn) -> None:
    """Go on with what was claimed in TILT, if nobody else has the lead."""
    raft = turn.state.raft
    if raft is not None and raft.leads:
        for master in turn.state.masters.values():
            if master.mandate is not None and master.failover is None:
                _take_up(turn, master)


def _take_up(turn: Turn, master: Master) -> None:
    """Go on with a failover that an earlier leader has left unfinished."""
    mandate = master.mandate
    if mandate and master.failover and master.failover.epoch == mandate.epoch:
        return  # it began while our lease was away, and is ours already
    election.check_odown(turn, master)
    turn.touch(master)
    if mandate is None or mandate.is_over:
        return
    if mandate.switched:
        failover.resume_reconfiguration(turn, master, mandate)
    elif not turn.state.is_tilted:
        _go_on(turn, master, mandate)


def _go_on(turn: Turn, master: Master, mandate: Mandate) -> None:
    """Claim the failover anew, or end it if nothing was done yet and the master is well again."""
    if mandate.forced or mandate.chosen or master.is_odown:
        claim(turn, master, forced=mandate.forced)
    else:
        propose_step(turn, master, Finish(master.name, mandate.epoch))


def _lay_down(turn: Turn, master: Master) -> None:
    """Leave a failover to the next leader, who reads in the log how far it has come."""
    if master.failover is not None:
        turn.log(Level.NOTICE, f"The failover of {master.name} is left to the next Raft leader")
        failover.leave(turn, master)
    election.check_odown(turn, master)


def share_masters(turn: Turn) -> None:
    """Bring masters that only this sentinel's file knows into the log."""
    raft = _raft(turn)
    if raft.leader is not None and raft.has_majority:
        for master, entry in sharing.unshared(turn):
            master.adoption = propose(turn, entry)


# Failover ----------------------------------------------------------------------------------------


def claim(turn: Turn, master: Master, *, forced: bool, coordinated: bool = False) -> None:
    """Ask for the lead of a failover in a new epoch.

    Where outsiders vote, it is one that is new to them, too: they refuse any other.
    """
    outside = [peer.told_epoch for peer in members.counted(turn.state, master)]
    epoch = max([turn.state.current_epoch, *outside]) + 1
    propose_step(turn, master, Claim(master.name, epoch, turn.state.myid, forced, coordinated))


def order_failover(turn: Turn, order: FailOver) -> None:
    """``SENTINEL FAILOVER`` on any member: the Raft leader is given the lead."""
    raft = _raft(turn)
    master, refusal = failover.check_order(turn, order)
    if refusal is None and master is not None and master.mandate is not None:
        refusal = Refused("Failover already in progress", "INPROG")
    if refusal is None and raft.leader is None:
        refusal = Refused(_NOT_DONE, "NOQUORUM")
    if refusal is not None:
        turn.answer(order.ticket, refusal)
        return
    assert raft.leader is not None
    epoch = turn.state.current_epoch + 1
    if order.stale:
        propose(turn, Command("force-stale", (order.name, str(epoch))))
    entry = Claim(order.name, epoch, raft.leader, True, order.coordinated)
    propose(turn, entry, order.ticket)


def _apply_claim(turn: Turn, entry: Claim, ticket: int) -> None:
    master = turn.state.masters.get(entry.master)
    if master is None:
        if entry.leader == turn.state.myid:
            # With replicate-config no, others may watch it, and would wait for us.
            propose(turn, Finish(entry.master, entry.epoch))
        turn.answer(ticket, Refused("No such master with that name"))
        return
    if entry.epoch <= master.leader_epoch or not turn.state.believes(entry.epoch):
        turn.answer(ticket, Refused("Failover already in progress", "INPROG"))
        return
    before = master.mandate
    chosen = before.chosen if before and not before.switched else None
    master.mandate = Mandate(entry.epoch, entry.leader, entry.forced, chosen)
    for peer in master.peers.values():
        if peer.run_id in _raft(turn).members:
            peer.leader, peer.leader_epoch = entry.leader, entry.epoch
    if not entry.forced:
        fencing.claimed(turn, master)
    # Without the lead it is read again after a restart, and long over: others have gone on.
    # In TILT the lead is given away, and whoever gets it goes on; or we do, when that is over.
    # What an operator has ordered begins, and its steps wait.
    is_time = entry.forced or not turn.state.is_tilted
    if entry.leader == turn.state.myid and _raft(turn).leads and is_time:
        attempt = failover.begin(turn, master, entry.epoch, forced=entry.forced)
        attempt.is_coordinated = entry.coordinated
        attempt.takes_stale = master.stale_epoch == entry.epoch
    else:
        election.raise_epoch(turn, entry.epoch, master)
        election.give_vote(turn, master, entry.epoch, entry.leader)
    turn.answer(ticket)


def _apply_choice(turn: Turn, entry: Choice, _ticket: int) -> None:
    master = turn.state.masters.get(entry.master)
    mandate = master.mandate if master else None
    if master is None or mandate is None or mandate.epoch != entry.epoch or mandate.chosen:
        return
    mandate.chosen = Address(entry.host, entry.port, entry.ip)
    if master.failover and master.failover.epoch == entry.epoch:
        failover.chosen(turn, master, master.failover, mandate.chosen)


def _apply_switch(turn: Turn, entry: Switch, _ticket: int) -> None:
    """Switch; a leader that stood still may propose it when others have gone on long ago."""
    master = turn.state.masters.get(entry.master)
    mandate = master.mandate if master else None
    if master is None or mandate is None or mandate.epoch != entry.epoch:
        return
    if mandate.switched:
        return
    election.raise_epoch(turn, entry.epoch, master)
    address = Address(entry.host, entry.port, entry.ip)
    if members.is_in_cluster(turn.state):
        failover.complete(turn, master, entry.epoch, address)
    else:
        places.place(turn, master, address, entry.epoch)
    mandate.switched, mandate.is_over = True, False


def _apply_finish(turn: Turn, entry: Finish, _ticket: int) -> None:
    master = turn.state.masters.get(entry.master)
    if master and master.mandate and master.mandate.epoch <= entry.epoch:
        master.mandate = None


def propose_choice(turn: Turn, master: Master, epoch: int, address: Address) -> None:
    propose_step(turn, master, Choice(master.name, epoch, address.host, address.port, address.ip))


def propose_switch(turn: Turn, master: Master, epoch: int, address: Address) -> None:
    propose_step(turn, master, Switch(master.name, epoch, address.host, address.port, address.ip))


def propose_follow(turn: Turn, master: Master, epoch: int, address: Address) -> None:
    """Have all members take over a switch that was made outside of the log."""
    words = master.name, str(epoch), address.host, str(address.port), address.ip
    propose_step(turn, master, Command("follow", words))


# Votes for sentinels outside ---------------------------------------------------------------------


def vote(turn: Turn, master: Master, question: DownQuestion) -> None:
    """Cast the members' vote for an outside candidate through the log, then answer.

    An outsider that counts for nothing gets none, and nobody does in an epoch of the time before
    the log, in which this member may have voted for somebody else.
    """
    raft = _raft(turn)
    fresh = question.epoch > max(master.leader_epoch, raft.floor_epoch)
    fresh = fresh and turn.state.believes(question.epoch)
    may_vote = members.is_in_cluster(turn.state) and turn.state.settings.raft_count_outsiders
    if not (fresh and may_vote and raft.has_majority) or master.ballot is not None:
        turn.answer(question.ticket, _answer_as_of_now(turn, master))
        return
    ballot = Ballot(master.name, question.epoch, question.candidate)
    master.ballot = propose(turn, ballot, question.ticket)


def _apply_ballot(turn: Turn, entry: Ballot, ticket: int) -> None:
    master = turn.state.masters.get(entry.master)
    if master is None:
        turn.answer(ticket, DownAnswer(False, None, 0))
        return
    mandate = master.mandate
    spent_epoch = max(master.leader_epoch, members.place_by_log(master)[1])
    is_free = mandate is None or mandate.switched
    if is_free and entry.epoch > spent_epoch and turn.state.believes(entry.epoch):
        election.raise_epoch(turn, entry.epoch, master)
        election.give_vote(turn, master, entry.epoch, entry.candidate)
    turn.answer(ticket, _answer_as_of_now(turn, master))


def _answer_as_of_now(turn: Turn, master: Master) -> DownAnswer:
    down = master.is_down and not turn.state.is_tilted
    return DownAnswer(down, master.leader, master.leader_epoch)


_APPLY: dict[type, Callable[[Turn, Any, int], None]] = {
    Claim: _apply_claim,
    Choice: _apply_choice,
    Switch: _apply_switch,
    Finish: _apply_finish,
    Ballot: _apply_ballot,
}
