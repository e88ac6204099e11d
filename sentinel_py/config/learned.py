"""What a sentinel finds out by itself: the directives that it writes, and reads at the next start.

Its operator has nothing to say there, so a line that is worth nothing any more is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple

from sentinel_py.config.lines import DirectiveError, Line, commented, key_of
from sentinel_py.config.loading import Loading, Rule, epoch_of, number_of
from sentinel_py.config.words import directive, host_and_port, word_of
from sentinel_py.core import identity, lineage, own_scripts, roster
from sentinel_py.core.model import DataNode, Dataset, Lineage, Mandate, Master, State
from sentinel_py.core.turn import master_of


def _known_replica(loading: Loading, args: Sequence[str]) -> None:
    master = loading.master(args[0])
    address = loading.address(*args[1:])
    if master.replica_at(address):
        loading.refuse_twice("Duplicate hostname and port for replica.")
    elif not master.address.same_as(address):
        # Lines that Redis 7.0 left behind may name what has become the master since.
        roster.add_replica(loading.state, loading.now, master, address)


def _known_slave(loading: Loading, args: Sequence[str]) -> None:
    """The old name, applied last: Redis 7.0 leaves such lines beside the new ones it writes."""
    address = loading.address(*args[1:])
    if not loading.master(args[0]).replica_at(address):
        _known_replica(loading, args)


def _known_sentinel(loading: Loading, args: Sequence[str]) -> None:
    master = loading.master(args[0])
    address = loading.address(*args[1:3])
    if args[3] in master.peers:
        loading.refuse_twice("Duplicate runid for sentinel.")
    else:
        roster.add_peer(loading.state, loading.now, master, args[3], address)


def _known_sentinel_without_id(loading: Loading, args: Sequence[str]) -> None:
    """A form of the first versions; the peer will be found again."""


def _config_epoch(loading: Loading, args: Sequence[str]) -> None:
    master = loading.master(args[0])
    master.config_epoch = epoch_of(args[1])
    loading.state.current_epoch = max(loading.state.current_epoch, master.config_epoch)


def _known_lineage(loading: Loading, args: Sequence[str]) -> None:
    """What the master has had: run id, both replication ids, offset and number of keys."""
    name, run_id, replid, replid2, offset, keys = args
    known = Lineage(run_id, replid, replid2, number_of(offset), number_of(keys))
    loading.master(name).lineage = known


def _known_ancestors(loading: Loading, args: Sequence[str]) -> None:
    """The replication ids that the group has had, oldest first."""
    identity.remember_ids(loading.master(args[0]), *args[1].split(","))


def _known_member(loading: Loading, args: Sequence[str]) -> None:
    """By what a server of the group is known again: see `identity.remember_member`."""
    name, host, port, run_id, replid, replid2, offset, keys, has_aof, keeps_ids, started_as = args
    master, address = loading.master(name), loading.address(host, port)
    node = master if master.address.same_as(address) else master.replica_at(address)
    if node is None:
        return  # its other line is missing; it is met anew, as one that nothing is known of
    node.member_run_id = run_id
    node.member_data = node.member_kept = Dataset(
        replid,
        replid2,
        offset=number_of(offset),
        keys=number_of(keys) if keys != "?" else None,
        has_aof=has_aof == "yes",
        keeps_ids=keeps_ids == "yes",
        started_as=started_as,
    )


def _raft_fenced(loading: Loading, args: Sequence[str]) -> None:
    """A member has paused this master, and may have been killed before it could end that."""
    loading.master(args[0]).fence.was_left = True


def _raft_admitted(loading: Loading, args: Sequence[str]) -> None:
    """A foreign instance that an operator has let in: ip, port and run id."""
    name, host, port, run_id = args
    loading.master(name).admitted[identity.admission_key(loading.address(host, port))] = run_id


def _raft_master(loading: Loading, args: Sequence[str]) -> None:
    loading.master(args[0]).is_replicated = True


def _raft_failover(loading: Loading, args: Sequence[str]) -> None:
    """A failover that the log has begun: epoch, leader, forced, switched, and any choice."""
    master = loading.master(args[0])
    epoch, leader, forced, switched = epoch_of(args[1]), args[2], args[3] == "yes", args[4] == "yes"
    chosen = loading.address(args[5], args[6]) if args[5:] else None
    master.mandate = Mandate(epoch, leader, forced, chosen, switched)


def _known_script(loading: Loading, args: Sequence[str]) -> None:
    """The script that the members have in common; whether it runs here, our own lines say."""
    name, option, path = args
    if option not in own_scripts.FIELDS:
        raise DirectiveError(f"{option} is no option that names a script.")
    setattr(loading.master(name).options, own_scripts.FIELDS[option], path or None)


def _leader_epoch(loading: Loading, args: Sequence[str]) -> None:
    loading.master(args[0]).leader_epoch = epoch_of(args[1])


# By name and number of arguments.
RULES: dict[tuple[str, int], Rule] = {
    ("config-epoch", 2): _config_epoch,
    ("known-lineage", 6): _known_lineage,
    ("known-ancestors", 2): _known_ancestors,
    ("raft-fenced", 1): _raft_fenced,
    ("raft-admitted", 4): _raft_admitted,
    ("raft-master", 1): _raft_master,
    ("known-script", 3): _known_script,
    ("raft-failover", 5): _raft_failover,
    ("raft-failover", 7): _raft_failover,
    ("leader-epoch", 2): _leader_epoch,
    ("known-replica", 3): _known_replica,
    ("known-slave", 3): _known_slave,
    ("known-member", 11): _known_member,
    ("known-sentinel", 3): _known_sentinel_without_id,
    ("known-sentinel", 4): _known_sentinel,
}
KEYS = frozenset(
    key_of(("sentinel", name))
    for name in (
        "myid",
        "current-epoch",
        "raft-applied",
        "raft-orders",
        *(name for name, _ in RULES),
    )
)
"""What a sentinel finds out by itself, and then knows better than its operator."""


def history(state: State, master: Master) -> Iterator[Line]:
    """Which epochs and which data a master has had, and what the Raft log says of it."""
    name = master.name
    yield directive("config-epoch", name, master.config_epoch)
    yield directive("leader-epoch", name, master.leader_epoch)
    yield from _scripts(state, master)
    yield from _replicated(state, master)
    if master.lineage and lineage.is_kept(state, master):
        yield directive("known-lineage", name, *astuple(master.lineage))
    if master.ancestors:
        yield _ours(state, directive("known-ancestors", name, ",".join(master.ancestors)))


def instances(state: State, master: Master) -> Iterator[Line]:
    """Which replicas and peers a master has, and by what its servers are known again."""
    name = master.name
    for replica in master.replicas.values():
        yield directive("known-replica", name, *host_and_port(state, replica.address))
    for node in master.data_nodes():
        if kept := node.member_kept:
            yield _ours(state, _member(state, node, kept))
    for peer in master.peers.values():
        yield directive("known-sentinel", name, *host_and_port(state, peer.address), peer.run_id)


def _ours(state: State, line: Line) -> Line:
    """A line that redis-sentinel, if it is put back in our place, is not to stumble over."""
    return commented(line) if state.raft is None else line


def _member(state: State, node: DataNode, kept: Dataset) -> Line:
    where = host_and_port(state, node.address)
    keys = "?" if kept.keys is None else kept.keys
    ways = (word_of(kept.has_aof), word_of(kept.keeps_ids), kept.started_as)
    ids = (node.member_run_id, kept.replid, kept.replid2, kept.offset, keys)
    return directive("known-member", master_of(node).name, *where, *ids, *ways)


def _scripts(state: State, master: Master) -> Iterator[Line]:
    """Which scripts a master has, where the lines of our own file do not say it."""
    is_shared = state.raft is not None and master.is_replicated
    for option, field in own_scripts.FIELDS.items():
        path, own = getattr(master.shared, field) or "", master.own_scripts.get(field, "")
        if path != own or (is_shared and path):
            yield _ours(state, directive("known-script", master.name, option, path))


def _replicated(state: State, master: Master) -> Iterator[Line]:
    """What of a master only the Raft log has: the file stands for the log up to raft-applied."""
    if state.raft is None:
        return
    if master.fence.asked_at is not None or master.fence.was_left:
        yield directive("raft-fenced", master.name)
    if master.is_replicated or master.is_carried:
        yield directive("raft-master", master.name)
    if mandate := master.mandate:
        flags = ("yes" if flag else "no" for flag in (mandate.forced, mandate.switched))
        chosen = host_and_port(state, mandate.chosen) if mandate.chosen else ()
        yield directive(
            "raft-failover", master.name, mandate.epoch, mandate.leader, *flags, *chosen
        )
    for place, run_id in master.admitted.items():
        host, _, port = place.rpartition(":")
        yield directive("raft-admitted", master.name, host, port, run_id)
