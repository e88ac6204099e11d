"""Which replica to promote: the original's filters and order, on fresh INFO."""

from __future__ import annotations

from sentinel_py.core import detector, identity, lineage
from sentinel_py.core.model import Constants, Failover, Master, Replica, Role, State
from sentinel_py.core.turn import Turn

REFUSED_REST_MS = 10_000
"""A replica that has refused to be a master is asked again after so long, if it is the only one."""

FRESH_INFO_WAIT_MS = 200
"""The longest wait for INFO that replicas were asked for when the master was lost."""


def fresh_info_is_coming(master: Master, attempt: Failover) -> bool:
    """Whether a replica still owes the INFO it was asked for when the master was lost."""
    lost_at = master.down_at if master.is_down and master.down_at else attempt.started_at
    return any(
        replica.info_asked_at is not None
        and not replica.is_down
        and (replica.info_at is None or replica.info_at < lost_at)
        for replica in master.replicas.values()
    )


def is_any_within_reach(master: Master) -> bool:
    """Return whether a replica can be told to be the master, whatever its data are.

    What only one sentinel cannot reach, another one may: it is the better leader.
    """
    return any(
        it.command.is_up and not it.is_down and (it.priority or it.role is Role.MASTER)
        for it in master.replicas.values()
    )


def choose(turn: Turn, master: Master, *, takes_stale: bool = False) -> Replica | None:
    """The best replica to promote: by priority, offset and run id, as the original orders them.

    One that a dead leader has promoted already comes first, and so does one that was kept from
    copying an emptied master. One that was never linked to its master since its start comes behind
    all that were, and one that says for another reason that it is a master comes last.
    """
    state = turn.state
    candidates = [it for it, reason in _judged(turn, master) if takes_stale or not reason]
    return min(candidates, key=lambda it: (lineage.is_at_risk(state, it), _rank(it)), default=None)


def is_stale_alone(state: State, replica: Replica, now: int) -> bool:
    """Return whether nothing but its data keeps a replica from being promoted."""
    return not why_unhealthy(state, replica, now) and bool(why_stale(state, replica, now))


def stale(turn: Turn, master: Master) -> list[tuple[Replica, str]]:
    """The replicas that could be promoted but for their data, and what is wrong with these."""
    return [(it, reason) for it, reason in _judged(turn, master) if reason]


def _judged(turn: Turn, master: Master) -> list[tuple[Replica, str]]:
    """The healthy replicas, each with what its data say against its promotion, or nothing."""
    replicas = master.replicas.values()
    return [(it, why_stale(turn.state, it, turn.now)) for it in replicas if is_healthy(turn, it)]


def _rank(replica: Replica) -> tuple[int, int, int, bool, str]:
    return (
        _standing(replica),
        replica.priority,
        -replica.offset,
        not replica.run_id,
        replica.run_id.lower(),
    )


def _standing(replica: Replica) -> int:
    emptied_at = replica.master.emptied_at
    if emptied_at is not None and (replica.detached_at or 0) >= emptied_at:
        return 0
    if replica.role is Role.REPLICA:
        return 2 if replica.was_never_linked else 1
    lost_at = replica.master.down_at if replica.master.is_down else None
    was_promoted = lost_at is not None and replica.run_id_at < lost_at <= replica.role_at
    return 0 if was_promoted and not replica.demote else 3


def is_good(turn: Turn, replica: Replica) -> bool:
    return is_healthy(turn, replica) and not why_stale(turn.state, replica, turn.now)


def is_healthy(turn: Turn, replica: Replica) -> bool:
    if why_unhealthy(turn.state, replica, turn.now):
        return False
    # If it is due, the connection is given up in this very step, with what is sent on it.
    return turn.now < detector.overdue_at(turn, replica, replica.command)


def why_unhealthy(state: State, replica: Replica, now: int) -> str:
    """What but its data keeps a replica from being promoted; empty if nothing does."""
    if replica.is_down:
        return "is down"
    if not replica.command.is_up:
        return "is not connected"
    if identity.are_one(replica, replica.master):
        return "is the master itself, at another address"
    if reason := identity.why_foreign(state, replica, now):
        return f"is a foreign instance: it {reason}"
    if replica.priority == 0 and replica.role is Role.REPLICA:
        return "has priority 0"  # a master says none, and has been made one against what it said
    if replica.refused_at is not None and now < replica.refused_at + REFUSED_REST_MS:
        return f"has refused to be a master: {replica.refusals.get('slaveof', '')}"
    return _why_unheard(state.constants, replica, now)


def _why_unheard(constants: Constants, replica: Replica, now: int) -> str:
    master = replica.master
    silent_ms = now - replica.command.ok_at
    if silent_ms > 5 * constants.ping_period:
        return f"has not answered for {silent_ms} ms"
    info_age_max_ms = 5 * constants.ping_period if master.is_down else 3 * constants.info_period
    if replica.info_at is None:
        return "has never told its INFO"
    if now - replica.info_at > info_age_max_ms:
        return f"told its INFO {now - replica.info_at} ms ago, limit {info_age_max_ms} ms"
    return ""


# How old its data are -----------------------------------------------------------------------------


def why_stale(state: State, replica: Replica, now: int) -> str:
    """Return why a healthy replica's data forbid its promotion; an operator may order it anyway."""
    return lineage.why_not(state, replica, now) or _why_behind(replica, now)


def _why_behind(replica: Replica, now: int) -> str:
    """Return whether the replica was without its master for longer than that has been away.

    The original counts from its own SDOWN. A sentinel that starts when the master is long dead has
    not seen how long, and would refuse every replica for good. So the one that lost the master last
    says how long ago it was there, however late this sentinel came.
    """
    master = replica.master
    lost_ms = replica.master_link_down_ms
    away_ms = max(_away_for_ms(master, now), _least_lost_ms(master))
    limit_ms = away_ms + 10 * master.options.down_after_ms
    if lost_ms > limit_ms:
        return f"was without its master for {lost_ms} ms, limit {limit_ms} ms"
    return ""


def _least_lost_ms(master: Master) -> int:
    """Return for how long even the replica that was last linked to the master has been without it.

    Zero unless every replica that has spoken is without its master: one that is linked shows that
    the master is there, and one that never was linked says nothing about it.
    """
    told = (it for it in master.replicas.values() if it.info_at is not None and not it.is_down)
    lost = [
        it.master_link_down_ms for it in told if it.role is Role.REPLICA and not it.was_never_linked
    ]
    return min(lost, default=0)


def _away_for_ms(master: Master, now: int) -> int:
    """Return how long the master has been none: since its last good reply, or its change of role.

    Not since SDOWN as in the original: a master that has become a replica is SDOWN so much later
    that with a small down-after its replicas would have been without it for too long by then.
    """
    if not master.is_down:
        return 0
    return now - (master.role_at if master.role is Role.REPLICA else master.command.ok_at)
