"""What is watched, as values for JSON: masters with their nodes, this sentinel, past failovers.

Reads, and changes nothing. The rule it guards: no password gets into it, and numbers are numbers.
"""

from __future__ import annotations

from typing import TypeAlias

from sentinel_py import __version__
from sentinel_py.core import identity, views
from sentinel_py.core.model import DataNode, Instance, Master, Peer, Replica, State
from sentinel_py.raft import report
from sentinel_py.raft.member import Member
from sentinel_py.web.timeline import Failover

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"
Object: TypeAlias = dict[str, Json]


def master(state: State, watched: Master, now: int) -> Object:
    """A master with all that belongs to it."""
    options = watched.options
    can_fail_over, words = views.ckquorum(state, watched.name)
    return {
        "name": watched.name,
        **_node(state, watched, now),
        "status": status_of(watched),
        "quorum": options.quorum,
        "can_fail_over": can_fail_over,
        "quorum_text": words,
        "config_epoch": watched.config_epoch,
        "down_after_ms": options.down_after_ms,
        "failover_timeout_ms": options.failover_timeout_ms,
        "parallel_syncs": options.parallel_syncs,
        "offset": watched.dataset.offset if watched.dataset else None,
        "failover": _failover(watched, now),
        "replicas": [replica(state, each, now) for each in watched.replicas.values()],
        "sentinels": [_peer(state, each, now) for each in watched.peers.values()],
    }


def replica(state: State, node: Replica, now: int) -> Object:
    return {
        **_node(state, node, now),
        "link": "up" if node.master_link_up else "down",
        "offset": node.offset,
        "lag": lag_of(node),
        "priority": node.priority,
        "foreign": identity.why_foreign(state, node, now) if node.is_foreign else None,
        "is_chosen": node.master.promoted is node,
    }


def lag_of(node: Replica) -> int | None:
    """Bytes that a replica is behind its master, as of the last INFO of both; None if unknown."""
    data = node.master.dataset
    return None if data is None or node.info_at is None else max(0, data.offset - node.offset)


def status_of(node: Instance) -> str:
    if isinstance(node, Master) and node.is_odown:
        return "odown"
    if isinstance(node, Replica) and node.is_foreign and not node.is_down:
        return "foreign"
    return "sdown" if node.is_down else "ok"


def _peer(state: State, peer: Peer, now: int) -> Object:
    return {"id": peer.run_id, **_instance(state, peer, now), "says_down": peer.says_down}


def _node(state: State, node: DataNode, now: int) -> Object:
    return {**_instance(state, node, now), "role": node.role.value.replace("slave", "replica")}


def _instance(state: State, node: Instance, now: int) -> Object:
    return {
        "host": state.shown(node.address),
        "port": node.address.port,
        "status": status_of(node),
        "is_connected": node.command.is_up,
        "answered_ms_ago": now - node.command.heard_at,
    }


def _failover(watched: Master, now: int) -> Object | None:
    attempt = watched.failover
    if attempt is None:
        return None
    return {
        "phase": attempt.phase.value.replace("slave", "replica"),
        "epoch": attempt.epoch,
        "is_coordinated": attempt.is_coordinated,
        "for_ms": now - attempt.started_at,
    }


def sentinel(state: State, member: Member, *, can_write: bool) -> Object:
    """This sentinel, and its Raft cluster if it has one."""
    return {
        "id": state.myid,
        "version": __version__,
        "port": state.settings.port,
        "epoch": state.current_epoch,
        "is_tilted": state.is_tilted,
        "can_write": can_write,
        "raft": _raft(member),
    }


def _raft(member: Member) -> Object | None:
    place = {name: value for name, value in report.info(member) if "member" not in name}
    if not place:
        return None
    kept: Object = {
        name.removeprefix("raft_"): value if isinstance(value, int) else str(value)
        for name, value in place.items()
    }
    return kept | {"members": [dict(row) for row in report.members(member)]}


def failover(told: Failover) -> Object:
    return {
        "master": told.master,
        "started_at": told.started_at,
        "outcome": told.outcome,
        "from": told.old,
        "to": told.new,
        "took_ms": told.took_ms,
        "phases": [
            {"name": phase.name, "from_ms": phase.from_ms, "till_ms": phase.till_ms}
            for phase in told.phases
        ],
        "marks": [{"name": name, "at_ms": at_ms} for name, at_ms in told.marks],
    }
