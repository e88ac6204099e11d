"""Read-only projections of the state: rows, INFO, and the answers of the SENTINEL queries.

Nothing here changes the state. The order of fields and flags is what clients see, and some of them
read rows by position: a field that is not always there appears in the stated condition only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict

from sentinel_py.core import identity, members, saving
from sentinel_py.core.glob import glob_match
from sentinel_py.core.messages import Refused
from sentinel_py.core.model import (
    DataNode,
    Instance,
    Master,
    Peer,
    Raft,
    Reconf,
    Replica,
    SimulatedFailure,
    State,
)
from sentinel_py.core.overrides import overridden
from sentinel_py.core.past import FormerMaster

RAFT_LEASE_MS = 300
"""Until a majority can have elected another Raft leader, what we know is still the latest."""

Row = list[tuple[str, str]]

_FAILURE_BITS = {SimulatedFailure.AFTER_ELECTION: 1, SimulatedFailure.AFTER_PROMOTION: 2}


def master_named(state: State, name: str) -> Master:
    """The master with this name, or the refusal that all of SENTINEL's subcommands share."""
    master = state.masters.get(name)
    if master is None:
        raise Refused("No such master with that name")
    return master


def masters(state: State, now: int) -> list[Row]:
    return [
        *(master_row(state, master, now) for master in state.masters.values()),
        *(it.row for it in state.former.values() if it.row and now < it.named_until),
    ]


def master(state: State, name: str, now: int) -> Row:
    """The row of one master; that of one which is removed and still named is as it was."""
    known = _former(state, name, now)
    if known is not None and known.row:
        return known.row
    return master_row(state, master_named(state, name), now)


def _former(state: State, name: str, now: int) -> FormerMaster | None:
    known = state.former.get(name) if name not in state.masters else None
    return known if known is not None and now < known.named_until else None


def replicas(state: State, name: str, now: int) -> list[Row]:
    """The replicas that want to be shown: ``replica-announced no`` hides one from clients."""
    found = master_named(state, name).replicas.values()
    return [replica_row(state, replica, now) for replica in found if replica.announced]


def peers(state: State, name: str, now: int) -> list[Row]:
    return [peer_row(state, peer, now) for peer in master_named(state, name).peers.values()]


def master_row(state: State, master: Master, now: int) -> Row:
    options = master.options
    row = _head(state, master, master.name, _master_flags(master))
    if master.failover:
        row.append(("failover-state", master.failover.phase.value))
    row += _pings(master, now)
    if master.is_odown:
        row.append(("o-down-time", _age(master.odown_at, now)))
    row += [
        ("down-after-milliseconds", str(options.down_after_ms)),
        *_report(master, now),
        ("config-epoch", str(master.config_epoch)),
        ("num-slaves", str(len(master.replicas))),
        ("num-other-sentinels", str(members.voters(state, master) - 1)),
        ("quorum", str(options.quorum)),
        ("failover-timeout", str(options.failover_timeout_ms)),
        ("parallel-syncs", str(options.parallel_syncs)),
    ]
    if options.notification_script:
        row.append(("notification-script", options.notification_script))
    if options.client_reconfig_script:
        row.append(("client-reconfig-script", options.client_reconfig_script))
    if options.fence_isolated_master:
        row.append(("fence-isolated-master", "yes"))
    if master.overrides:
        row.append(("local-overrides", ",".join(overridden(master))))
    return row


def replica_row(state: State, replica: Replica, now: int) -> Row:
    return [
        *_head(state, replica, replica.name, _replica_flags(replica)),
        *_pings(replica, now),
        ("down-after-milliseconds", str(replica.master.options.down_after_ms)),
        *_report(replica, now),
        ("master-link-down-time", str(replica.master_link_down_ms)),
        ("master-link-status", "ok" if replica.master_link_up else "err"),
        ("master-host", replica.master_host),
        ("master-port", str(replica.master_port)),
        ("slave-priority", str(replica.priority)),
        ("slave-repl-offset", str(replica.offset)),
        ("replica-announced", "1" if replica.announced else "0"),
        *([("foreign", identity.why_foreign(state, replica, now))] if replica.is_foreign else []),
    ]


def peer_row(state: State, peer: Peer, now: int) -> Row:
    return [
        *_head(state, peer, peer.run_id, _peer_flags(peer)),
        *_pings(peer, now),
        ("down-after-milliseconds", str(peer.master.options.down_after_ms)),
        ("last-hello-message", _age(peer.heard_at, now)),
        ("voted-leader", peer.leader or "?"),
        ("voted-leader-epoch", str(peer.leader_epoch)),
        *([] if members.counts(state, peer) else [("outsider", "yes")]),
    ]


def _head(state: State, instance: Instance, name: str, flags: str) -> Row:
    return [
        ("name", name),
        ("ip", state.shown(instance.address)),
        ("port", str(instance.address.port)),
        ("runid", instance.run_id),
        ("flags", flags),
        ("link-pending-commands", str(instance.command.pending)),
        ("link-refcount", str(len(instance.command.owners))),
    ]


def _pings(instance: Instance, now: int) -> Row:
    link = instance.command
    row = [
        ("last-ping-sent", _age(link.ping_since, now)),
        ("last-ok-ping-reply", _age(link.ok_at, now)),
        ("last-ping-reply", _age(link.heard_at, now)),
    ]
    if instance.is_down:
        row.append(("s-down-time", _age(instance.down_at, now)))
    return row


def _report(node: DataNode, now: int) -> Row:
    return [
        ("info-refresh", _age(node.info_at, now)),
        ("role-reported", node.role.value),
        ("role-reported-time", _age(node.role_at, now)),
    ]


def _age(at: int | None, now: int) -> str:
    return "0" if at is None else str(now - at)


def _flags(*flags: tuple[str, bool]) -> str:
    return ",".join(flag for flag, is_set in flags if is_set)


def _master_flags(master: Master) -> str:
    return _flags(
        ("s_down", master.is_down),
        ("o_down", master.is_odown),
        ("master", True),
        ("disconnected", master.is_disconnected),
        ("failover_in_progress", master.failover is not None),
        ("force_failover", master.failover is not None and master.failover.forced),
        ("script_kill_sent", master.script_killed),
        ("master_reboot", master.rebooted_at is not None),
    )


def _replica_flags(replica: Replica) -> str:
    """A foreign instance is shown as down, too: clients that look for replicas leave it alone."""
    return _flags(
        ("s_down", replica.is_down or replica.is_foreign),
        ("slave", True),
        ("foreign", replica.is_foreign),
        ("disconnected", replica.is_disconnected),
        ("promoted", replica.master.promoted is replica),
        (replica.reconf.value, replica.reconf is not Reconf.NONE),
        ("script_kill_sent", replica.script_killed),
    )


def _peer_flags(peer: Peer) -> str:
    return _flags(
        ("s_down", peer.is_down),
        ("sentinel", True),
        ("disconnected", peer.is_disconnected),
        ("master_down", peer.says_down),
    )


def address_of(state: State, name: str, now: int) -> tuple[str, str] | None:
    """Where clients find the master: it answers whatever the master's health."""
    found = state.masters.get(name) or _former(state, name, now)
    return (state.shown(found.address), str(found.address.port)) if found else None


def check_vouched(state: State, now: int) -> None:
    """Refused with ``minority-reads no`` when a majority may have switched without us."""
    raft = state.raft
    if raft is None or state.settings.minority_reads or raft.has_majority:
        return
    if raft.lost_at is None or now > raft.lost_at + RAFT_LEASE_MS:
        raise Refused("This Sentinel has no majority of its Raft cluster", "NOQUORUM")


def ckquorum(state: State, name: str) -> tuple[bool, str]:
    """Whether a failover could be agreed on and authorized now, and the words for it.

    One that cannot vote itself does not say that all is well: what keeps it from saving its state,
    a disk or the way it is deployed, is mostly the same for its peers.
    """
    master = master_named(state, name)
    usable = 1 + sum(not peer.is_down for peer in members.counted(state, master))
    may_vote = saving.may_vote(state, master)
    lacks = []
    if usable < master.options.quorum:
        lacks.append("reach the specified quorum for this master")
    if usable - (not may_vote) < members.majority(state, master):
        lacks.append("reach the majority and authorize a failover")
    trouble = raft_trouble(state)
    is_reachable = may_vote and not lacks and not trouble
    texts = [f"{'OK' if is_reachable else 'NOQUORUM'} {usable} usable Sentinels"]
    if is_reachable:
        texts.append("Quorum and failover authorization can be reached")
    texts += [f"Not enough available Sentinels to {lack}" for lack in lacks]
    texts += [text for text in (trouble, saving.remark(state)) if text]
    return is_reachable, ". ".join(texts)


def raft_trouble(state: State) -> str:
    """Return why this member can take no part in a decision of its Raft cluster; empty if it can.

    Peers that answer their pings say nothing of that: with another secret, or a journal that cannot
    be written, a sentinel looks well to everybody.
    """
    raft = state.raft
    if raft is None or raft.has_majority:
        return ""
    if not members.is_in_cluster(state):
        return f"This Sentinel is no member of its Raft cluster yet{_because(raft)}"
    return f"This Sentinel has no majority of its Raft cluster{_because(raft)}"


def _because(raft: Raft) -> str:
    return f": {raft.trouble}" if raft.trouble else ""


def info_cache(
    state: State, names: Iterable[str], now: int
) -> list[tuple[str, list[tuple[int, bytes | None]]]]:
    """Per known master: age and text of the last INFO of the master, then of each replica."""
    known = (state.masters[name] for name in dict.fromkeys(names) if name in state.masters)
    return [(m.name, [_cached_info(node, now) for node in m.data_nodes()]) for m in known]


def _cached_info(node: DataNode, now: int) -> tuple[int, bytes | None]:
    return (0 if node.info_at is None else now - node.info_at), node.info


def config_get(state: State, patterns: Iterable[str]) -> dict[str, str]:
    """The global options that any of the patterns names, each once."""
    settings = state.settings
    options = {
        "resolve-hostnames": _yes_no(settings.resolve_hostnames),
        "announce-hostnames": _yes_no(settings.announce_hostnames),
        "announce-ip": settings.announce_ip,
        "announce-port": str(settings.announce_port),
        "sentinel-user": settings.sentinel_user,
        "sentinel-pass": settings.sentinel_pass,
        "loglevel": settings.loglevel,
    }
    if state.raft is not None:
        options["raft-count-outsiders"] = _yes_no(settings.raft_count_outsiders)
    return {
        option: options[option]
        for pattern in patterns
        for option in options
        if glob_match(_bytes(pattern), _bytes(option), ignore_case=True)
    }


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"


def debug_values(state: State) -> dict[str, str]:
    """The time constants under the names that SENTINEL DEBUG gives them."""
    constants: dict[str, int] = asdict(state.constants)
    return {name.upper().replace("_", "-"): str(value) for name, value in constants.items()}


def matching(state: State, pattern: str) -> list[Master]:
    """The masters whose name matches a glob pattern."""
    masters = state.masters.values()
    return [m for m in masters if glob_match(_bytes(pattern), _bytes(m.name))]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def sentinel_info(
    state: State, now: int, scripts_running: int, scripts_queued: int
) -> list[tuple[str, object]]:
    """INFO's section ``Sentinel``."""
    return [
        ("sentinel_masters", len(state.masters)),
        ("sentinel_tilt", int(state.is_tilted)),
        ("sentinel_tilt_since_seconds", _since_s(state.tilt_at, now)),
        ("sentinel_running_scripts", scripts_running),
        ("sentinel_scripts_queue_length", scripts_queued),
        (
            "sentinel_simulate_failure_flags",
            sum(_FAILURE_BITS[f] for f in state.simulated_failures),
        ),
        *_info_masters(state),
        ("sentinel_unsaved_since_seconds", _since_s(state.unsaved_at, now)),
        ("sentinel_save_error", state.save_trouble),
    ]


def _since_s(at: int | None, now: int) -> int:
    return -1 if at is None else (now - at) // 1000


def _info_masters(state: State) -> Iterator[tuple[str, str]]:
    for number, master in enumerate(state.masters.values()):
        status = "odown" if master.is_odown else "sdown" if master.is_down else "ok"
        yield (
            f"master{number}",
            f"name={master.name},status={status},"
            f"address={state.shown(master.address)}:{master.address.port},"
            f"slaves={len(master.replicas)},sentinels={members.voters(state, master)}",
        )
