"""Identity: whether the server at an address is the one that is meant.

An address is only where a server was last seen. Which process it is, its run id tells, and INFO is
the one way to learn that. So before a server is told to follow another, both have to have said on
their present connection who they are, and they must be two.

Two rows can lead to one server: it has two addresses (IPv4 and IPv6, two networks), it stands
behind a port mapping, or a replica announces an address that is not its own. Then one row is
dropped, and its address is remembered as a second one of that server.
"""

from __future__ import annotations

from sentinel_py.core.model import Address, Alias, DataNode, Dataset, Master, Replica, Role, State
from sentinel_py.core.roster import look_up
from sentinel_py.core.turn import Turn, master_of

ANCESTORS_MAX = 64
"""Replication ids per master that are remembered; each failover makes a new one."""

NO_ID = "0" * 40
_NO_IDS = {"", NO_ID}

ALIAS_LIFE_MS = 3_600_000
"""After so long, an address that led to a server with another one is looked at again."""

ALIASES_MAX = 1_000
"""Second addresses per master that are remembered; as many as there may be replicas."""


# Who is at an address -----------------------------------------------------------------------------


def is_known(node: DataNode) -> bool:
    """Return whether the server has said who it is since we are connected to it.

    One whose connection is away has said so before, and cannot be asked now.
    """
    if node.info_at is None:
        return False
    return not node.command.is_up or node.info_at >= node.command.up_at


def are_one(one: DataNode, other: DataNode) -> bool:
    """Return whether both rows lead to one server, as far as their run ids are known.

    A server that has none says nothing, or zeros.
    """
    return one.run_id == other.run_id and one.run_id.strip("0") != ""


def twins(node: DataNode) -> list[DataNode]:
    """Return the other rows of the group that lead to the same server."""
    group = master_of(node).data_nodes()
    return [other for other in group if other is not node and are_one(node, other)]


def surplus(one: DataNode, other: DataNode) -> Replica:
    """Return which of two rows of one server is to go.

    The master's row stays, and so does that of the replica which is being promoted. Of two others
    the older one stays, unless the server is not reached there any more.
    """
    if isinstance(one, Master) or isinstance(other, Master):
        gone = other if isinstance(one, Master) else one
    elif master_of(one).promoted in (one, other):
        gone = other if master_of(one).promoted is one else one
    else:
        older, newer = (one, other) if one.created_at <= other.created_at else (other, one)
        gone = newer if older.command.is_up else older
    assert isinstance(gone, Replica), "a group has one master"
    return gone


def remember_alias(turn: Turn, master: Master, address: Address, run_id: str) -> None:
    """Note a second address of a server of the group, lest it be taken for another server."""
    aliases = master.aliases
    aliases.pop(_place(address), None)
    if len(aliases) >= ALIASES_MAX:
        del aliases[next(iter(aliases))]
    aliases[_place(address)] = Alias(run_id, turn.now + ALIAS_LIFE_MS)


def _place(address: Address) -> tuple[str, int]:
    return address.ip or address.host.lower(), address.port


def owner_of(master: Master, address: Address, now: int) -> DataNode | None:
    """Return the row of the server that the address leads to, if it is a second one of that.

    It is so for as long as that one lives; what is at the address when it is started again, or
    after a while, is looked at anew.
    """
    alias = master.aliases.get(_place(address))
    if alias is None or now >= alias.ends_at:
        return None
    return next((it for it in master.data_nodes() if it.run_id == alias.run_id), None)


def is_masters(master: Master, address: Address, now: int) -> bool:
    """Return whether the master is meant by an address, maybe by a second one."""
    return master.address.same_as(address) or owner_of(master, address, now) is master


def is_linked(replica: Replica) -> bool:
    """Return whether a replica and its master say of each other that they are connected.

    The replica may name the master by an address that we do not know.
    """
    listed_at = replica.listed_at
    if listed_at is None or listed_at != replica.master.info_at:
        return False
    return replica.master_link_up and listed_at >= replica.config_changed_at


# Whose data it has -------------------------------------------------------------------------------


def known_ids(master: Master) -> set[str]:
    """Return the replication ids of the group, as far as they are remembered or told.

    What a master has that came back without its data is not part of its history.
    """
    ids = history(master)
    if master.dataset is not None and master.emptied_at is None:
        ids |= ids_of(master.dataset)
    return ids


def history(master: Master) -> set[str]:
    """Return the replication ids that the group has had."""
    ids = set(master.ancestors)
    if master.lineage is not None:
        ids |= {master.lineage.replid, master.lineage.replid2}
    return ids - _NO_IDS


def remember_ids(master: Master, *ids: str) -> bool:
    """Note ids of the group's history: who was away for several failovers has old ones.

    Returns whether any is new.
    """
    new = [each for each in ids if each not in _NO_IDS and each not in master.ancestors]
    master.ancestors += new
    del master.ancestors[:-ANCESTORS_MAX]
    return bool(new)


def ids_of(data: Dataset) -> set[str]:
    """Return the ids of a server's history, and of the one that it has grown out of."""
    return {data.replid, data.replid2} - _NO_IDS


def is_comparable(master: Master, data: Dataset) -> bool:
    """Return whether ids that differ mean anything.

    A server that names no earlier history has another id after a promotion, and one that has told
    no id at all cannot be compared.
    """
    told = master.dataset is None or not master.dataset.replid or bool(master.dataset.replid2)
    return told and bool(data.replid and data.replid2) and bool(known_ids(master))


def is_in_group(state: State, replica: Replica, now: int) -> bool:
    """Return whether a replica says that it follows the master, or another one of its replicas."""
    if replica.role is not Role.REPLICA or replica.info_at is None:
        return False
    master, followed = replica.master, followed_by(state, replica)
    if is_masters(master, followed, now) or is_linked(replica):
        return True
    via = master.replica_at(followed) or owner_of(master, followed, now)
    return isinstance(via, Replica) and via is not replica and via.suspect_at is None


def followed_by(state: State, node: DataNode) -> Address:
    """Return the address that a replica follows, by its last report."""
    host, port = node.master_host, node.master_port
    return look_up(state, host, port) or Address(host, port, "")


def why_foreign(state: State, replica: Replica, now: int) -> str:
    """Return why the server at a replica's address is none of the group's; empty if it may be.

    One of the group follows the master, or has data that have grown out of the same history, or has
    none that could be lost. What is unknown speaks against nobody who was seen in the group before.
    """
    data, master = replica.dataset, replica.master
    if data is None or replica.info_at is None or master.shared.trust_addresses:
        return ""
    if _is_proven(state, replica, data, now):
        return ""
    if other := _other_group(state, replica):
        return f"is a replica of {other}"
    if not is_comparable(master, data):
        return "was never seen to follow the master" if _is_new_with_data(replica, data) else ""
    if _is_admitted(replica) or (data.keys == 0 and not _has_another_master(replica)):
        return ""
    keys = "an unknown number of keys" if data.keys is None else f"{data.keys} keys"
    return f"has another history, {data.replid}, and {keys}"


def way_out(replica: Replica) -> str:
    """Return what the operator can do about a foreign instance."""
    where = f"{replica.master.name} {replica.address.ip or replica.address.host}"
    return f"SENTINEL ADMIT {where} {replica.address.port} lets its data be overwritten"


def is_proven(state: State, replica: Replica, now: int) -> bool:
    """Return whether what is known speaks for it that the server is one of the group."""
    data = replica.dataset
    return data is not None and _is_proven(state, replica, data, now)


def _is_proven(state: State, replica: Replica, data: Dataset, now: int) -> bool:
    if is_in_group(state, replica, now):
        return True
    if _other_group(state, replica):
        return False
    if _goes_on(replica, data):
        return True
    if replica.role is Role.MASTER and has_come_back(replica, data, replica.master.dataset):
        return True
    # Without a key it may be anybody's who was given a disk of the group; it is told by its keys.
    is_kin = bool(ids_of(data) & known_ids(replica.master))
    return is_kin and data.keys != 0 and not _began_anew(replica, data)


def _is_new_with_data(replica: Replica, data: Dataset) -> bool:
    return replica.is_hearsay and data.keys != 0


def _has_another_master(replica: Replica) -> bool:
    return replica.role is Role.REPLICA and replica.master_link_up


def _other_group(state: State, replica: Replica) -> str:
    """Return the name of the other watched master that a replica is connected to."""
    if not _has_another_master(replica):
        return ""
    followed = followed_by(state, replica)
    for other in state.masters.values():
        if other is not replica.master and other.address.same_as(followed):
            return other.name
    return ""


def _is_admitted(replica: Replica) -> bool:
    key = admission_key(replica.address)
    return replica.run_id != "" and replica.master.admitted.get(key) == replica.run_id


def admission_key(address: Address) -> str:
    return f"{address.ip or address.host}:{address.port}"


def is_member(node: DataNode) -> bool:
    """Return whether it is the process that was last seen to be one of the group."""
    return node.run_id != "" and node.run_id == node.member_run_id


def remember_member(turn: Turn, node: DataNode) -> None:
    """Note that the server at an address is one of the group now, by what it may be known again.

    It is kept in the file, since server and sentinels may be started again at once. Its number of
    keys changes all the time; it is written down anew when it has changed by half.
    """
    is_new = node.member_run_id != node.run_id
    node.member_run_id, node.member_data = node.run_id, node.dataset
    kept, data = node.member_kept, node.dataset
    if is_new or kept is None or data is None or not _is_told_alike(kept, data):
        node.member_kept = data
        turn.save_soon()


def _is_told_alike(kept: Dataset, data: Dataset) -> bool:
    before, now = kept.keys or 0, data.keys or 0
    ways = [(it.replid, it.has_aof, it.keeps_ids, it.started_as) for it in (kept, data)]
    return ways[0] == ways[1] and 2 * abs(now - before) <= before


def _goes_on(replica: Replica, data: Dataset) -> bool:
    """Return whether it is the process that was in the group, with what it has made of its data.

    A master takes a new id, and names no other, when it gets its first replica or has had none for
    an hour. One that has followed somebody else since then names that one's history.
    """
    before = replica.member_data
    if before is None or not before.replid or not is_member(replica):
        return False
    is_alone = replica.role is Role.MASTER and data.replid2 == NO_ID
    return is_alone or bool(ids_of(data) & ids_of(before))


def _began_anew(replica: Replica, data: Dataset) -> bool:
    """Return whether all its keys were written to it since it was started, as to a master.

    The disk of a server of the group may be the one of another now. A file from when the group had
    no keys makes nobody a relative.
    """
    before = replica.member_data
    if before is None or is_member(replica) or not data.keys:
        return False
    return replica.role is Role.MASTER and data.is_all_new and data.parted_offset <= before.offset


def has_come_back(node: DataNode, data: Dataset, *others: Dataset | None) -> bool:
    """Return whether it is a server of the group that was started again, by all but its ids.

    From an append-only file, and before Redis 7 from any, a master comes back with a new id that
    is related to none. What is left to know it by: it is started in the same way, and has about as
    many keys as it had, or as others of the group have.
    """
    before = node.member_data
    if before is None or data.replid2 != NO_ID or data.keys is None or data.is_loading:
        return False
    if data.is_all_new or (data.keeps_ids and not data.has_aof) or not is_started_alike(node, data):
        return False
    counts = [it.keys for it in (before, *others) if it is not None and it.keys is not None]
    return bool(counts) and min(counts) // 2 <= data.keys <= 2 * max(counts)


def is_started_alike(node: DataNode, data: Dataset) -> bool:
    """Return whether a server is started as the one of the group was that was there before."""
    before = node.member_data
    if before is None:
        return True
    return (data.started_as, data.has_aof) == (before.started_as, before.has_aof)


# Who may be told to follow whom -------------------------------------------------------------------


def may_follow(state: State, replica: Replica, now: int) -> bool:
    """Return whether a replica may be told to follow its master.

    Never itself, and never one whose own data would be lost by it.
    """
    data = replica.dataset
    is_loading = data is not None and data.is_loading and replica.role is Role.MASTER
    if is_loading or not are_two(replica, replica.master):
        return False
    return not why_foreign(state, replica, now)


def are_two(node: DataNode, target: DataNode) -> bool:
    """Return whether two rows are known to lead to two servers."""
    if not (is_known(node) and is_known(target)):
        return False
    return not are_one(node, target) and not node.address.same_as(target.address)
