"""Identity: whether the server at an address is the one that is meant.

An address is only where a server was last seen. Which process it is, its run id tells, and INFO is
the one way to learn that. So before a server is told to follow another, both have to have said on
their present connection who they are, and they must be two.

Two rows can lead to one server: it has two addresses (IPv4 and IPv6, two networks), it stands
behind a port mapping, or a replica announces an address that is not its own. Then one row is
dropped, and its address is remembered as a second one of that server.
"""

from __future__ import annotations

from sentinel_py.core.model import Address, Alias, DataNode, Master, Replica
from sentinel_py.core.turn import Turn, master_of

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


def owner_of(turn: Turn, master: Master, address: Address) -> DataNode | None:
    """Return the row of the server that the address leads to, if it is a second one of that.

    It is so for as long as that one lives; what is at the address when it is started again, or
    after a while, is looked at anew.
    """
    alias = master.aliases.get(_place(address))
    if alias is None:
        return None
    owner = next((it for it in master.data_nodes() if it.run_id == alias.run_id), None)
    if owner is None or turn.now >= alias.ends_at:
        del master.aliases[_place(address)]
        return None
    return owner


def is_masters(turn: Turn, master: Master, address: Address) -> bool:
    """Return whether the master is meant by an address, maybe by a second one."""
    return master.address.same_as(address) or owner_of(turn, master, address) is master


def is_linked(replica: Replica) -> bool:
    """Return whether a replica and its master say of each other that they are connected.

    The replica may name the master by an address that we do not know.
    """
    listed_at = replica.listed_at
    if listed_at is None or listed_at != replica.master.info_at:
        return False
    return replica.master_link_up and listed_at >= replica.config_changed_at


# Who may be told to follow whom -------------------------------------------------------------------


def may_follow(node: DataNode, target: DataNode) -> bool:
    """Return whether a server may be told to follow another one: never itself."""
    if not (is_known(node) and is_known(target)):
        return False
    return not are_one(node, target) and not node.address.same_as(target.address)
