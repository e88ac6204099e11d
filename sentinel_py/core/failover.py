"""The failover that this sentinel leads: choice, promotion, switch, reconfiguration.

The phases are the original's (``failover-state``), and so are the events; the order of the last two
is not. The switch comes as soon as the promotion is seen, on the leader as on everybody, and the
other replicas are pointed to the new master after it. Each phase is ended by an answer; a timeout
is only for answers that do not come.
"""

from __future__ import annotations

from sentinel_py.core import (
    catchup,
    choice,
    consensus,
    election,
    fencing,
    identity,
    lineage,
    members,
    own_scripts,
    requests,
    roster,
)
from sentinel_py.core.messages import ErrorReply, FailOver, Level, Refused, Reply
from sentinel_py.core.model import (
    Address,
    DataNode,
    Failover,
    Fence,
    Mandate,
    Master,
    Phase,
    Reconf,
    Replica,
    Role,
    SimulatedFailure,
    Wait,
)
from sentinel_py.core.turn import NEVER, Turn, master_of

_NO_DIGITS = str.maketrans("", "", "0123456789")
_STALE_WAY_OUT = "SENTINEL FAILOVER with FORCE-STALE promotes one all the same"
_STOCK_WAY_OUT = "SENTINEL FAILOVER without COORDINATED does not need it to agree"


def on_order(turn: Turn, order: FailOver) -> None:
    """``SENTINEL FAILOVER``: nobody is asked, the master may be well."""
    master, refusal = check_order(turn, order)
    if master is None or refusal is not None:
        turn.answer(order.ticket, refusal)
        return
    attempt = begin(turn, master, turn.state.current_epoch + 1, forced=True)
    attempt.takes_stale = order.stale
    if order.coordinated:
        attempt.is_coordinated = True
        attempt.ticket = order.ticket
    else:
        turn.answer(order.ticket, is_done=True)


def check_order(turn: Turn, order: FailOver) -> tuple[Master | None, Refused | None]:
    """The master that the order names, or why it cannot be carried out."""
    master = turn.state.masters.get(order.name)
    if master is None:
        return None, Refused("No such master with that name")
    if master.failover is not None:
        return master, Refused("Failover already in progress", "INPROG")
    if choice.choose(turn, master, takes_stale=order.stale) is None:
        return master, Refused(_no_replica_text(turn, master), "NOGOODSLAVE")
    if order.coordinated and (master.is_down or not master.command.is_up):
        return master, Refused(f"The master cannot be asked. {_STOCK_WAY_OUT}")
    return master, None


def _no_replica_text(turn: Turn, master: Master) -> str:
    text = "No suitable replica to promote"
    stale = [f"{replica.name} {reason}" for replica, reason in choice.stale(turn, master)]
    return f"{text}: {', '.join(stale)}. {_STALE_WAY_OUT}" if stale else text


def start(turn: Turn, master: Master) -> None:
    """Try to lead a failover: as a candidate, or by a claim in the Raft log."""
    if turn.state.raft is not None:
        consensus.claim(turn, master, forced=False)
    else:
        begin(turn, master, election.epoch_to_try(turn.state, master), forced=False)


def begin(turn: Turn, master: Master, epoch: int, *, forced: bool) -> Failover:
    """Begin an attempt in a new epoch; a forced one needs nobody's vote."""
    attempt = Failover(epoch, forced, started_at=turn.now, phase_at=turn.now)
    election.raise_epoch(turn, epoch, master)
    turn.notice(Level.WARNING, "+try-failover", master)
    master.failover = attempt
    master.wait = Wait.NOTHING
    master.try_at = turn.now + 2 * master.options.failover_timeout_ms
    turn.touch(master)
    election.give_vote(turn, master, epoch, turn.state.myid)
    election.ask_peers(turn, master, apart_ms=0)
    if forced or not master.is_down:
        requests.refresh_replicas(turn, master)
    if forced or members.is_elected_by_claim(turn.state):
        elected(turn, master, attempt)
    else:
        election.count_votes(turn, master)
    return attempt


def elected(turn: Turn, master: Master, attempt: Failover) -> None:
    turn.notice(Level.WARNING, "+elected-leader", master)
    turn.crash_if_told(SimulatedFailure.AFTER_ELECTION)
    _enter(turn, attempt, Phase.SELECT)
    turn.notice(Level.WARNING, "+failover-state-select-slave", master)
    turn.touch(master)


def abort(turn: Turn, master: Master, event: str) -> None:
    """Leave the attempt; what may start the next one before its rest is over is the caller's."""
    turn.notice(Level.WARNING, event, master)
    _mark_over(master)
    leave(turn, master)


def leave(turn: Turn, master: Master) -> None:
    """Stop leading, without a word to the outside."""
    assert master.failover is not None
    _call_off(turn, master, master.failover)
    master.failover = None
    for replica in master.replicas.values():
        replica.reconf = Reconf.NONE
    turn.touch(master)


def _mark_over(master: Master) -> None:
    """Have the end of the attempt logged, lest the next Raft leader resume it."""
    mandate, attempt = master.mandate, master.failover
    if mandate is not None and attempt is not None and mandate.epoch == attempt.epoch:
        mandate.is_over = True


def step_down(turn: Turn, master: Master) -> None:
    """Leave the field to another sentinel that we vote for."""
    assert master.failover is not None
    if master.failover.phase is Phase.RECONF:
        _end(turn, master)
    else:
        abort(turn, master, "-failover-abort-not-elected")


def attend(turn: Turn, master: Master) -> int:
    """Move the failover on as far as it goes; returns when a timeout is due."""
    attempt = master.failover
    if attempt is None:
        return NEVER
    match attempt.phase:
        case Phase.WAIT_START:
            return _wait_for_votes(turn, master, attempt)
        case Phase.SELECT:
            return _select(turn, master, attempt)
        case Phase.SEND:
            return _promote(turn, master, attempt)
        case Phase.WAIT_PROMOTION:
            return _wait_for_promotion(turn, master, attempt)
        case Phase.RECONF:
            return _reconfigure(turn, master, attempt)


def _enter(turn: Turn, attempt: Failover, phase: Phase) -> None:
    attempt.phase = phase
    attempt.phase_at = turn.now


def _wait_for_votes(turn: Turn, master: Master, attempt: Failover) -> int:
    deadline_at = election.attempt_deadline_at(turn, master, attempt)
    if turn.now >= deadline_at:
        election.time_out(turn, master)
    return deadline_at


# Choice ------------------------------------------------------------------------------------------


def _select(turn: Turn, master: Master, attempt: Failover) -> int:
    mandate = master.mandate
    if mandate is not None and mandate.chosen and mandate.epoch == attempt.epoch:
        resume(turn, master, attempt, mandate.chosen)
        return NEVER
    if master.proposed is not None:
        return NEVER
    patience_ends_at = attempt.phase_at + choice.FRESH_INFO_WAIT_MS
    if turn.now < patience_ends_at and choice.fresh_info_is_coming(master, attempt):
        return patience_ends_at
    chosen = choice.choose(turn, master, takes_stale=attempt.takes_stale)
    if chosen is None:
        _refuse_stale(turn, master)
        _end_own_failover(turn, master)
        abort(turn, master, "-failover-abort-no-good-slave")
        master.wait = Wait.NO_REPLICA
        return NEVER
    if turn.state.raft is not None:
        consensus.propose_choice(turn, master, attempt.epoch, chosen.address)
        return NEVER
    return _send(turn, master, attempt, chosen)


def _refuse_stale(turn: Turn, master: Master) -> None:
    """Say why nobody is promoted. A master that follows others, and alone has its data, is one
    again: otherwise there would be none for good."""
    stale = choice.stale(turn, master)
    for replica, reason in stale:
        kind = reason.translate(_NO_DIGITS)
        if replica.told_refusal != kind:
            replica.told_refusal = kind
            way_out = f"SENTINEL FAILOVER {master.name} FORCE-STALE promotes it all the same"
            turn.notice(Level.WARNING, "-promotion-refused", replica, f"#{reason}. {way_out}")
    if stale and master.role is Role.REPLICA and lineage.has_own_data(master):
        turn.log(Level.WARNING, f"{master.name} alone has its data, and is made a master again")
        requests.follow_nobody(turn, master)


def _end_own_failover(turn: Turn, master: Master) -> None:
    """Free a master that hands over to a replica which never takes over (FAILOVER ... FORCE).

    It takes no writes until then, and says that it is a replica already, so it counts as down. With
    nobody else to promote, it is a master again.
    """
    if master.is_failing_over and master.command.is_up:
        turn.notice(Level.WARNING, "+own-failover-aborted", master)
        requests.call_off(turn, master)
        requests.ask_info(turn, master)


def resume(turn: Turn, master: Master, attempt: Failover, address: Address) -> None:
    """Go on with the replica that the Raft log names; it may be promoted already.

    So it is first asked for its role, and told to be a master only if it says that it is none.
    """
    replica = master.replica_at(address)
    if replica is None:
        abort(turn, master, "-failover-abort-no-good-slave")
        return
    attempt.chosen = replica
    turn.notice(Level.WARNING, "+selected-slave", replica)
    attempt.is_resumed = True
    _enter(turn, attempt, Phase.WAIT_PROMOTION)
    requests.ask_info(turn, replica)


def chosen(turn: Turn, master: Master, attempt: Failover, address: Address) -> None:
    """The choice is in the Raft log: promote; after a TILT, `resume` does."""
    replica = master.replica_at(address)
    if attempt.phase is Phase.SELECT and replica is not None and not turn.state.is_tilted:
        _send(turn, master, attempt, replica)


def _send(turn: Turn, master: Master, attempt: Failover, chosen: Replica) -> int:
    attempt.chosen = chosen
    turn.notice(Level.WARNING, "+selected-slave", chosen)
    _enter(turn, attempt, Phase.SEND)
    turn.notice(Level.NOTICE, "+failover-state-send-slaveof-noone", chosen)
    return _promote(turn, master, attempt)


def replica_reported(turn: Turn, replica: Replica) -> None:
    """A replica's INFO has come: the attempt that found none may find one now."""
    master = replica.master
    if master.failover is not None:
        turn.touch(master)
    elif master.wait is Wait.NO_REPLICA and master.is_odown and choice.is_good(turn, replica):
        election.try_again(turn, master)


# Promotion ---------------------------------------------------------------------------------------


def _promote(turn: Turn, master: Master, attempt: Failover) -> int:
    chosen = attempt.chosen
    assert chosen is not None
    if attempt.is_coordinated and not master.command.is_up:
        abort(turn, master, "-failover-abort-slave-timeout")
        return NEVER
    if not attempt.is_coordinated:
        if _is_held(turn, master, attempt):
            return attempt.held_until
        again_at = catchup.attend(turn, master, attempt)
        if turn.now < again_at:
            return again_at
    if chosen.command.is_up:
        if attempt.is_coordinated:
            if not requests.hand_over(turn, master, chosen):
                abort(turn, master, "-failover-abort-slave-timeout")
                return NEVER
        elif chosen.role is Role.MASTER and chosen.role_at > attempt.phase_at:
            # An order that was long under way has come; if not, this one is given after all.
            attempt.is_resumed = True
            requests.ask_info(turn, chosen)
        elif not requests.follow_nobody(turn, chosen):
            return _refuse_chosen(turn, master, chosen)
        _enter(turn, attempt, Phase.WAIT_PROMOTION)
        turn.notice(Level.NOTICE, "+failover-state-wait-promotion", chosen)
        turn.touch(chosen)
    return _wait_for_promotion(turn, master, attempt)


def _refuse_chosen(turn: Turn, master: Master, chosen: Replica) -> int:
    """End an attempt whose replica turns out to be none of the group's."""
    reason = identity.why_foreign(turn.state, chosen, turn.now)
    turn.notice(Level.WARNING, "-promotion-refused", chosen, f"#{reason}")
    abort(turn, master, "-failover-abort-no-good-slave")
    return NEVER


def _is_held(turn: Turn, master: Master, attempt: Failover) -> bool:
    """Whether the promotion has to wait for members that may not have fenced the old master yet."""
    clear_at = fencing.clear_at(turn, master)
    if turn.now >= clear_at:
        return False
    if attempt.held_until != clear_at:
        attempt.held_until = clear_at
        left_ms = clear_at - turn.now
        text = f"The promotion for {master.name} waits {left_ms} ms, until silent members fence"
        turn.log(Level.NOTICE, text)
    return True


def _wait_for_promotion(turn: Turn, master: Master, attempt: Failover) -> int:
    """The chosen one's INFO ends this phase; its death, or failover-timeout, ends the attempt."""
    assert attempt.chosen is not None
    deadline_at = attempt.phase_at + master.options.failover_timeout_ms
    if attempt.chosen.is_down or (attempt.is_coordinated and master.is_down):
        abort(turn, master, "-failover-abort-slave-timeout")
        election.try_again(turn, master)
    elif turn.now >= deadline_at:
        abort(turn, master, "-failover-abort-slave-timeout")
    return deadline_at


def not_promoted(turn: Turn, attempt: Failover) -> None:
    """The chosen one still is a replica: if the order was lost with its connection, repeat it."""
    assert attempt.chosen is not None
    was_lost = attempt.chosen.command.up_at >= attempt.phase_at
    if not (was_lost or attempt.is_resumed) or attempt.is_coordinated:
        return
    attempt.is_resumed = False
    attempt.catch_up = None
    _enter(turn, attempt, Phase.SEND)
    turn.touch(attempt.chosen.master)


def promotion_refused(turn: Turn, node: DataNode) -> None:
    """A server will not be a master: if it was chosen, another replica may be."""
    master = master_of(node)
    attempt = master.failover
    if attempt is None or attempt.phase is not Phase.WAIT_PROMOTION or attempt.is_coordinated:
        return
    if attempt.chosen is not node:
        return
    abort(turn, master, "-failover-abort-slave-timeout")
    if choice.choose(turn, master, takes_stale=attempt.takes_stale) is not None:
        election.try_again(turn, master)
    else:
        master.wait = Wait.NO_REPLICA


def master_agreed(turn: Turn, master: Master, reply: Reply) -> None:
    """The master's answer to the order to hand over; a master that knows no such order refuses."""
    attempt = master.failover
    if attempt is None or attempt.ticket is None:
        return
    if isinstance(reply.value, ErrorReply):
        turn.answer(
            attempt.ticket, Refused(f"The master says: {reply.value.text}. {_STOCK_WAY_OUT}")
        )
        attempt.ticket = None
        abort(turn, master, "-failover-abort-slave-timeout")
    else:
        _confirm(turn, attempt)


def _confirm(turn: Turn, attempt: Failover) -> None:
    if attempt.ticket is not None:
        turn.answer(attempt.ticket, is_done=True)
        attempt.ticket = None


def _call_off(turn: Turn, master: Master, attempt: Failover) -> None:
    if attempt.is_coordinated and attempt.phase is Phase.WAIT_PROMOTION:
        requests.call_off(turn, master)
    catchup.call_off(turn, master, attempt)
    roster.leave_unconfirmed(turn, attempt)


def promoted(turn: Turn, master: Master, attempt: Failover) -> None:
    """The chosen replica says that it is a master: time to switch."""
    assert attempt.chosen is not None
    if lineage.has_lost_data(attempt.chosen) and not attempt.takes_stale:
        turn.notice(Level.WARNING, "-promotion-refused", attempt.chosen, "#has lost its data")
        abort(turn, master, "-failover-abort-no-good-slave")
    elif identity.why_foreign(turn.state, attempt.chosen, turn.now):
        _refuse_chosen(turn, master, attempt.chosen)  # another server came to its address
    elif turn.state.raft is not None:
        consensus.propose_switch(turn, master, attempt.epoch, attempt.chosen.address)
    else:
        complete(turn, master, attempt.epoch, attempt.chosen.address)


def complete(turn: Turn, master: Master, epoch: int, address: Address) -> None:
    """Switch; who leads the failover then points everybody else to the new master."""
    attempt = master.failover
    if attempt is not None and attempt.epoch != epoch:
        step_down(turn, master)
        attempt = None
    master.config_epoch = epoch
    turn.save()
    if attempt is not None and attempt.chosen is not None:
        _confirm(turn, attempt)
        turn.notice(Level.WARNING, "+promoted-slave", attempt.chosen)
        turn.crash_if_told(SimulatedFailure.AFTER_PROMOTION)
        turn.notice(Level.WARNING, "+failover-state-reconf-slaves", master)
    if not master.address.same_as(address):
        switch(turn, master, address, as_leader=attempt is not None)
    if attempt is not None:
        _reconfigure_others(turn, master, attempt)
    for instance in master.instances():
        if not fencing.is_mute(instance):
            requests.say_hello(turn, instance)


def _reconfigure_others(turn: Turn, master: Master, attempt: Failover) -> None:
    master.failover = attempt
    attempt.chosen = None
    _enter(turn, attempt, Phase.RECONF)
    turn.touch(master)


def resume_reconfiguration(turn: Turn, master: Master, mandate: Mandate) -> None:
    """Point the other replicas to the new master, as the leader that is gone would have.

    They are first asked whom they follow: being told again costs their clients the connection.
    """
    attempt = Failover(mandate.epoch, mandate.forced, started_at=turn.now, is_resumed=True)
    turn.notice(Level.WARNING, "+failover-state-reconf-slaves", master)
    requests.refresh_replicas(turn, master)
    _reconfigure_others(turn, master, attempt)


def switch(turn: Turn, master: Master, address: Address, *, as_leader: bool) -> None:
    """Make ``address`` the master's; any failover of our own is forgotten."""
    state = turn.state
    old = master.address
    text = f"{master.name} {state.shown(old)} {old.port} {state.shown(address)} {address.port}"
    turn.notice(Level.WARNING, "+switch-master", text=text, cause=master)
    _run_reconfig_script(turn, master, address, as_leader=as_leader)
    successor = master.replica_at(address) or roster.add_replica(state, turn.now, master, address)
    data = master.dataset
    is_paused = catchup.is_on(turn, master.failover)
    roster.trade_places(turn, master, successor)
    master.switched_at = turn.now
    if master.mandate is not None:
        # By the log, or by a hello that was faster; a switch in another epoch has forestalled it.
        master.mandate.switched = master.mandate.epoch == master.config_epoch
        master.mandate.is_over = not master.mandate.switched
    for replica in master.replicas.values():
        replica.reconf = Reconf.NONE
        replica.is_down = False
        replica.config_changed_at = turn.now
        replica.corrected_at = None
        replica.told_refusal = ""
        turn.notice(Level.NOTICE, "+slave", replica)
        turn.touch(replica)
    former = master.replica_at(old)
    assert former is not None
    former.demote = True
    lineage.pass_on(turn, master, former, data, successor)
    if (as_leader or is_paused) and not turn.state.is_tilted:
        is_told = demote_at_once(turn, former, is_paused=is_paused)
        if as_leader and is_told:
            former.reconf, former.reconf_at = Reconf.SENT, turn.now
    turn.save()


def _run_reconfig_script(turn: Turn, master: Master, address: Address, *, as_leader: bool) -> None:
    script = own_scripts.to_run(turn.state, master, "client_reconfig_script")
    if script is None:
        return
    old = master.address
    turn.run_script(
        script,
        master.name,
        "leader" if as_leader else "observer",
        "start",
        turn.state.shown(old),
        str(old.port),
        turn.state.shown(address),
        str(address.port),
    )


def demote_at_once(turn: Turn, former: Replica, *, is_paused: bool = False) -> bool:
    """Tell a former master whose connection stands; one that hangs reads it when it wakes up."""
    is_told = demote(turn, former, is_paused=is_paused)
    if is_told and former.command.ping_since is None:
        turn.notice(Level.NOTICE, "+convert-to-slave", former)
    return is_told


def demote(turn: Turn, former: Replica, *, is_paused: bool = False) -> bool:
    """Make a former master follow its successor; a pause has no use any more."""
    if not requests.follow(turn, former):
        return False
    former.fence = Fence()
    if is_paused or former.master.shared.fence_isolated_master:
        fencing.release(turn, former)
    return True


# Reconfiguration ---------------------------------------------------------------------------------


def _reconfigure(turn: Turn, master: Master, attempt: Failover) -> int:
    deadline_at = attempt.phase_at + master.options.failover_timeout_ms
    others = [
        replica
        for replica in master.replicas.values()
        if not replica.demote and not identity.why_foreign(turn.state, replica, turn.now)
    ]
    if attempt.is_resumed:
        _recognise(turn, others)
    _give_up_on_silent(turn, others)
    waiting = [r for r in others if r.reconf is not Reconf.DONE and not r.is_down]
    if not waiting or master.is_odown:
        _end(turn, master)
        return NEVER
    untold = [r for r in waiting if r.reconf is Reconf.NONE and r.command.is_up]
    if turn.now >= deadline_at:
        turn.notice(Level.WARNING, "+failover-end-for-timeout", master)
        _end(turn, master)
        for replica in untold:
            _tell(turn, replica, "+slave-reconf-sent-be")
        return NEVER
    patience_ends_at = attempt.phase_at + choice.FRESH_INFO_WAIT_MS
    is_asking = attempt.is_resumed and choice.fresh_info_is_coming(master, attempt)
    if is_asking and untold and turn.now < patience_ends_at:
        return patience_ends_at
    busy = sum(r.reconf in (Reconf.SENT, Reconf.IN_PROGRESS) for r in others)
    free = max(0, max(1, master.options.parallel_syncs) - busy)
    for replica in untold[:free]:
        if _tell(turn, replica, "+slave-reconf-sent"):
            replica.reconf, replica.reconf_at = Reconf.SENT, turn.now
    return min(deadline_at, turn.now + turn.state.constants.slave_reconf_timeout)


def _recognise(turn: Turn, replicas: list[Replica]) -> None:
    """Find those that the leader before us has told already."""
    for replica in replicas:
        if replica.reconf is Reconf.NONE and _follows(replica):
            replica.reconf, replica.reconf_at = Reconf.SENT, turn.now
            follow_progress(turn, replica)


def _tell(turn: Turn, replica: Replica, event: str) -> bool:
    is_told = requests.follow(turn, replica)
    if is_told:
        turn.notice(Level.NOTICE, event, replica)
    return is_told


def _give_up_on_silent(turn: Turn, replicas: list[Replica]) -> None:
    limit_ms = turn.state.constants.slave_reconf_timeout
    for replica in replicas:
        if replica.reconf is Reconf.SENT and turn.now > replica.reconf_at + limit_ms:
            replica.reconf = Reconf.DONE
            turn.notice(Level.NOTICE, "-slave-reconf-sent-timeout", replica)


def _follows(replica: Replica) -> bool:
    """Whether its last report names the master."""
    ip = roster.numeric_ip(replica.master_host)
    return replica.master.address.is_named(replica.master_host, replica.master_port, ip)


def follow_progress(turn: Turn, replica: Replica) -> None:
    """Read from a replica's report how far it has come towards the new master."""
    if replica.reconf is Reconf.SENT and _follows(replica):
        replica.reconf = Reconf.IN_PROGRESS
        turn.notice(Level.NOTICE, "+slave-reconf-inprog", replica)
    if replica.reconf is Reconf.IN_PROGRESS and replica.master_link_up:
        replica.reconf = Reconf.DONE
        turn.notice(Level.NOTICE, "+slave-reconf-done", replica)
        turn.touch(replica.master)


def _end(turn: Turn, master: Master) -> None:
    turn.notice(Level.WARNING, "+failover-end", master)
    _mark_over(master)
    master.failover = None
    turn.touch(master)
    for replica in master.replicas.values():
        replica.reconf = Reconf.NONE
