"""Why a master is or is not being failed over: the conditions in the order in which they must hold.

A failover goes through them from the top, so the first one that is not met says what it waits for.
Reads the state and changes nothing. The rule guarded: a condition is met here if and only if the
code that decides (``detector``, ``election``, ``choice``) would find so at the same instant.
"""

from __future__ import annotations

from sentinel_py.core import choice, identity, members, own_scripts, saving, upstream
from sentinel_py.core.model import (
    DataNode,
    Failover,
    Master,
    Phase,
    Raft,
    Replica,
    Role,
    State,
    Wait,
)
from sentinel_py.values import dataclass


@dataclass(frozen=True, slots=True)
class Condition:
    """One step of the way to a failover; ``meaning`` is what it comes to that it is met or not."""

    name: str
    value: str
    is_met: bool
    meaning: str


def conditions(state: State, master: Master, now: int) -> list[Condition]:
    """The conditions of a failover of this master, as this sentinel sees them."""
    raft = state.raft
    return [
        _down(master, now),
        _quorum(state, master),
        _tilt(state, now),
        _voters(state, master),
        *([_saved(state, master, now)] if state.save_trouble else []),
        *([_raft_majority(raft), _raft_leader(state, raft)] if raft else []),
        _turn(master, now),
        _replica(state, master, now),
        *([_refused(master)] if any(it.refusals for it in master.data_nodes()) else []),
        *_upstream(state, master, now),
        *_second_addresses(master, now),
        *_strangers(state, master, now),
        *_scripts(state, master),
        *_unshared(master),
        _failover(state, master, now),
    ]


def _down(master: Master, now: int) -> Condition:
    if master.is_down:
        value = f"down for {now - (master.down_at or now)} ms{_why_down(master)}"
        return Condition("down", value, True, "This sentinel finds the master down.")
    if master.emptied_at is not None:
        value = f"came back without its data {now - master.emptied_at} ms ago"
        return Condition("down", value, True, "The master is to be replaced to save its data.")
    limit_ms = master.options.down_after_ms
    value = f"last good reply {now - master.command.ok_at} ms ago, limit {limit_ms} ms"
    return Condition("down", value, False, "This sentinel does not find the master down.")


def _why_down(master: Master) -> str:
    if master.role is Role.REPLICA:
        return ", it says that it is a replica"
    return ", it is loading its data" if master.loading_at is not None else ""


def _quorum(state: State, master: Master) -> Condition:
    seen = master.is_down + sum(it.says_down for it in members.counted(state, master))
    known = members.voters(state, master)
    value = f"{seen} of {known} sentinels, quorum {master.options.quorum}"
    if master.emptied_at is not None and not master.is_odown:
        return Condition("quorum", value, True, "An empty restart needs no quorum.")
    if master.is_odown:
        return Condition("quorum", value, True, "Enough sentinels find the master down.")
    return Condition("quorum", value, False, "Too few sentinels find the master down.")


def _tilt(state: State, now: int) -> Condition:
    if state.tilt_at is None:
        return Condition("tilt", "no", True, "This sentinel trusts its clock.")
    left_ms = max(0, state.tilt_at + state.constants.tilt_period - now)
    meaning = "The clock jumped or the process stood still; until TILT ends it decides nothing."
    return Condition("tilt", f"for another {left_ms} ms", False, meaning)


def _voters(state: State, master: Master) -> Condition:
    usable = sum(not peer.is_down for peer in members.counted(state, master))
    usable += saving.may_vote(state, master)
    needed = max(members.majority(state, master), master.options.quorum)
    value = f"{usable} of {members.voters(state, master)} sentinels usable, {needed} needed"
    if usable >= needed:
        return Condition("voters", value, True, "A failover can be authorized.")
    return Condition("voters", value, False, "Too few sentinels can be reached to authorize one.")


def _saved(state: State, master: Master, now: int) -> Condition:
    """Said while it is not so: what else would say why our own vote is missing?"""
    since_ms = now - (state.unsaved_at or now)
    value = f"not for {since_ms} ms: {state.save_trouble}"
    return Condition("saved", value, saving.may_vote(state, master), saving.remark(state) + ".")


def _raft_majority(raft: Raft) -> Condition:
    value = f"{len(raft.members)} members"
    if raft.has_majority:
        return Condition("raft-majority", value, True, "The Raft cluster can decide.")
    meaning = "This member does not reach a majority of the Raft cluster."
    if raft.trouble:
        value = f"{value}; {raft.trouble}"
    return Condition("raft-majority", value, False, meaning)


def _raft_leader(state: State, raft: Raft) -> Condition:
    if raft.leads:
        return Condition("raft-leader", state.myid, True, "This member leads the failovers.")
    if raft.leader:
        return Condition("raft-leader", raft.leader, True, "That member leads the failovers.")
    return Condition("raft-leader", "nobody", False, "The Raft cluster is electing its leader.")


# When this sentinel may try, and why not before ---------------------------------------------------

_WAITS = {
    Wait.NOTHING: "The next attempt is due then.",
    Wait.LEADER: "Another sentinel leads, or has our vote and the time to lead.",
    Wait.NOT_ELECTED: "Nobody was elected; tried again when another sentinel can be reached.",
    Wait.NO_REPLICA: "No replica was fit; tried again as soon as one is.",
}


def _turn(master: Master, now: int) -> Condition:
    if master.failover is not None or master.mandate is not None:
        return Condition("turn", "now", True, "The attempt has begun.")
    if master.try_at is None or now >= master.try_at:
        return Condition("turn", "now", True, "No earlier attempt has to be waited for.")
    return Condition("turn", f"in {master.try_at - now} ms", False, _WAITS[master.wait])


# Whom to promote ---------------------------------------------------------------------------------


def _replica(state: State, master: Master, now: int) -> Condition:
    faults = {it.name: why_unfit(state, it, now) for it in master.replicas.values()}
    value = ", ".join(f"{name} {fault or 'is fit'}" for name, fault in faults.items()) or "none"
    if "" in faults.values():
        return Condition("replica", value, True, "There is a replica to promote.")
    meaning = "No replica is fit to be promoted."
    if any(choice.is_stale_alone(state, it, now) for it in master.replicas.values()):
        meaning += f" SENTINEL FAILOVER {master.name} FORCE-STALE promotes one all the same."
    return Condition("replica", value, False, meaning)


def _upstream(state: State, master: Master, now: int) -> list[Condition]:
    followed = upstream.outside(state, master, now)
    if followed is None:
        return []
    value = f"a replica of {state.shown(followed) or followed.host} {followed.port}"
    meaning = (
        "While that one lives nobody is promoted. Monitor that one instead, or promote a replica"
        f" all the same: SENTINEL FAILOVER {master.name}."
    )
    return [Condition("upstream", value, False, meaning)]


def _second_addresses(master: Master, now: int) -> list[Condition]:
    found = [
        f"{place} {port} leads to {owner.address.host} {owner.address.port}"
        for (place, port), alias in master.aliases.items()
        if now < alias.ends_at
        for owner in master.data_nodes()
        if owner.run_id == alias.run_id
    ]
    if not found:
        return []
    meaning = "One server has one row. Have it announce one address, and name that one everywhere."
    return [Condition("addresses", ", ".join(found), True, meaning)]


def _strangers(state: State, master: Master, now: int) -> list[Condition]:
    """Said while there are any: no failover waits for it, and the operator may have to."""
    foreign = [it for it in master.replicas.values() if it.is_foreign]
    if not foreign:
        return []
    reasons = ((it.name, identity.why_foreign(state, it, now)) for it in foreign)
    value = ", ".join(f"{name} {reason}" for name, reason in reasons)
    meaning = f"Told nothing, not promoted. If it belongs here: {identity.way_out(foreign[0])}."
    return [Condition("foreign", value, True, meaning)]


def _scripts(state: State, master: Master) -> list[Condition]:
    denied = own_scripts.denied(state, master)
    if not denied:
        return []
    value = ", ".join(f"{name} {path}" for name, path in denied.items())
    meaning = (
        "Not run here: name it in this sentinel's own file, or set deny-scripts-reconfig no there."
    )
    return [Condition("scripts", value, True, meaning)]


def _unshared(master: Master) -> list[Condition]:
    why = master.unshared[1]
    if not why or master.is_replicated:
        return []
    meaning = "The Raft cluster refuses this master, so this Sentinel alone watches it."
    return [Condition("shared", why, False, meaning)]


def why_unfit(state: State, replica: Replica, now: int) -> str:
    """What keeps a replica from being promoted; empty when nothing does."""
    return choice.why_unhealthy(state, replica, now) or choice.why_stale(state, replica, now)


_ESSENTIAL = {"slaveof", "info", "ping", "auth"}
"""Without these there is no promotion; whatever else is refused is left out of it."""


def _refused(master: Master) -> Condition:
    """Said where servers have refused us anything; what they would refuse is for doctor to find."""
    told = [
        f"{_name(node)} refuses {right} ({text})"
        for node in master.data_nodes()
        for right, text in node.refusals.items()
    ]
    rights = dict.fromkeys(right for node in master.data_nodes() for right in node.refusals)
    replicas = master.replicas.values()
    is_met = not replicas or any(_ESSENTIAL.isdisjoint(it.refusals) for it in replicas)
    gist = "A failover goes without that" if is_met else "No replica can be told to be a master"
    lacking = " ".join(f"+{right}" for right in rights if right != "auth")
    ways = ["set auth-user and auth-pass right"] if "auth" in rights else []
    if lacking:
        ways.append(f"give the sentinel's user there {lacking}, or see sentinel rename-command")
    meaning = f"{gist}: {' and '.join(ways)}."
    return Condition("refused", ", ".join(told), is_met, meaning)


def _name(node: DataNode) -> str:
    return f"{node.address.host}:{node.address.port}"


# The failover itself -----------------------------------------------------------------------------


def _failover(state: State, master: Master, now: int) -> Condition:
    attempt, mandate = master.failover, master.mandate
    if attempt is not None:
        value = f"{attempt.phase.value} for {now - attempt.phase_at} ms, epoch {attempt.epoch}"
        return Condition("failover", value, True, _PHASES[attempt.phase] + _hold(attempt, now))
    if mandate is not None and mandate.leader != state.myid and not mandate.is_over:
        value = f"led by {mandate.leader}, epoch {mandate.epoch}"
        return Condition("failover", value, True, "Another member leads a failover.")
    return Condition("failover", "none", False, "No failover is under way.")


_PHASES = {
    Phase.WAIT_START: "This sentinel asks the others for their votes.",
    Phase.SELECT: "The replica to promote is being chosen.",
    Phase.SEND: "The chosen replica is about to be promoted.",
    Phase.WAIT_PROMOTION: "The chosen replica was told to be a master, and has not said so yet.",
    Phase.RECONF: "The other replicas are being pointed to the new master.",
}


def _hold(attempt: Failover, now: int) -> str:
    """What a promotion that is about to come still waits for."""
    if attempt.phase is not Phase.SEND:
        return ""
    if now < attempt.held_until:
        return f" It waits {attempt.held_until - now} ms, until silent members fence."
    if attempt.catch_up is not None and now < attempt.catch_up.ends_at:
        return " It waits until the replica has all that the master acknowledged."
    return ""
