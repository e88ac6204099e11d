"""Who is watched: masters, replicas and peers are made, moved and forgotten here, with their links.

Making an instance needs only the state (the configuration file is loaded through these functions);
forgetting one takes a turn, because connections are closed.
"""

from __future__ import annotations

import re
from ipaddress import ip_address

from sentinel_py.core import own_scripts
from sentinel_py.core.messages import Level, Refused
from sentinel_py.core.model import (
    Address,
    DataNode,
    Failover,
    Instance,
    Link,
    LinkKind,
    LinkState,
    Master,
    Options,
    Peer,
    Replica,
    Role,
    State,
    Wait,
)
from sentinel_py.core.turn import Turn, links_of

REPLICAS_MAX = 1_000
"""Replicas per master; an INFO that names more comes from no sane server."""

NAMES_MAX = 10_000
"""Host names with an ip; hello is not authenticated, so somebody may make them up."""

_IPV4_PARTS_MAX = 4
_C_INTEGER = re.compile(r"0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*")


def numeric_ip(text: str) -> str | None:
    """The normal form of a numeric address, or None; short forms (``127.1``) as inet_aton."""
    try:
        return str(ip_address(text))
    except ValueError:
        return _short_ipv4(text)


def _short_ipv4(text: str) -> str | None:
    parts = text.split(".")
    if len(parts) > _IPV4_PARTS_MAX:
        return None
    try:
        numbers = [_c_integer(part) for part in parts]
    except ValueError:
        return None
    *heads, tail = numbers
    if any(head > 255 for head in heads) or tail >= 256 ** (_IPV4_PARTS_MAX - len(heads)):
        return None
    value = tail + sum(head << (24 - 8 * index) for index, head in enumerate(heads))
    return str(ip_address(value))


def _c_integer(part: str) -> int:
    if not _C_INTEGER.fullmatch(part):
        raise ValueError(part)
    base = 16 if part[:2] in ("0x", "0X") else 8 if part[0] == "0" else 10
    return int(part, base)


def look_up(state: State, host: str, port: int) -> Address | None:
    """The address a host text stands for by what is known now; None when it is not known.

    Names count only with ``resolve-hostnames yes``; the last known good address is used.
    """
    ip = numeric_ip(host)
    if ip is None and state.settings.resolve_hostnames:
        ip = state.names.get(host)
    return Address(host, port, ip) if ip else None


def name_resolved(turn: Turn, host: str, ip: str | None) -> None:
    """Book a name's ip and move the instances that go by it; a failed look-up changes nothing."""
    names = turn.state.names
    if ip is None or names.get(host) == ip or (host not in names and len(names) >= NAMES_MAX):
        return
    names[host] = ip
    for master in turn.state.masters.values():
        for instance in master.instances():
            if instance.address.host == host and instance.address.ip != ip:
                instance.address = Address(host, instance.address.port, ip)
                turn.close_links(instance)


def instance_name(state: State, address: Address) -> str:
    """A replica's row name: ``ip:port``, IPv6 in brackets, the host name when announced."""
    host = state.shown(address)
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"


def add_master(state: State, now: int, name: str, address: Address, options: Options) -> Master:
    assert name not in state.masters
    master = Master(
        address=address,
        command=_new_link(state, now, LinkKind.COMMAND),
        channel=_new_link(state, now, LinkKind.CHANNEL),
        run_id="",
        created_at=now,
        hello_at=now,
        role=Role.MASTER,
        role_at=now,
        name=name,
        options=options,
    )
    own_scripts.name_own(master, options)
    _take_over(master)
    state.masters[name] = master
    return master


def default_options(state: State, quorum: int) -> Options:
    constants = state.constants
    return Options(
        quorum=quorum,
        down_after_ms=constants.default_down_after,
        failover_timeout_ms=constants.default_failover_timeout,
    )


def add_replica(state: State, now: int, master: Master, address: Address) -> Replica:
    links = _new_link(state, now, LinkKind.COMMAND), _new_link(state, now, LinkKind.CHANNEL)
    return _enlist(state, now, master, address, links)


def _enlist(
    state: State, now: int, master: Master, address: Address, links: tuple[Link, Link]
) -> Replica:
    replica = Replica(
        address=address,
        command=links[0],
        channel=links[1],
        run_id="",
        created_at=now,
        hello_at=now,
        role=Role.REPLICA,
        role_at=now,
        config_changed_at=now,
        master=master,
        name=instance_name(state, address),
    )
    _take_over(replica)
    master.replicas[replica.name] = replica
    return replica


def add_peer(state: State, now: int, master: Master, run_id: str, address: Address) -> Peer:
    """A new peer of ``master``; its link is shared with the same peer's rows elsewhere."""
    twin = next(
        (
            other.peers[run_id]
            for other in state.masters.values()
            if run_id in other.peers and other.peers[run_id].address.same_as(address)
        ),
        None,
    )
    link = twin.command if twin else _new_link(state, now, LinkKind.COMMAND)
    peer = Peer(
        address=address,
        command=link,
        run_id=run_id,
        created_at=now,
        hello_at=now,
        heard_at=now,
        master=master,
    )
    link.owners.append(peer)
    master.peers[run_id] = peer
    return peer


def remove_master(turn: Turn, master: Master) -> None:
    leave_unconfirmed(turn, master.failover)
    for instance in list(master.instances()):
        _release(turn, instance)
    del turn.state.masters[master.name]


def remove_replica(turn: Turn, replica: Replica) -> None:
    _release(turn, replica)
    del replica.master.replicas[replica.name]


def remove_peer(turn: Turn, peer: Peer) -> None:
    _release(turn, peer)
    del peer.master.peers[peer.run_id]


def drop_what_is_no_peer(state: State) -> None:
    """Forget known sentinels that are this one, or that nobody can reach, as a file was read.

    A file that was copied from another sentinel names us; as our own peer we would count twice.
    Nothing was opened to them yet, so there is nothing to close.
    """
    for master in state.masters.values():
        for peer in list(master.peers.values()):
            if peer.run_id == state.myid or peer.address.port == 0:
                peer.command.owners.remove(peer)
                if not peer.command.owners:
                    del state.links[peer.command.id]
                del master.peers[peer.run_id]


def drop_ourselves(turn: Turn, link: Link) -> bool:
    """Forget a peer whose connection has led back to us, under all masters; whether it was one."""
    peers = [owner for owner in link.owners if isinstance(owner, Peer)]
    settings = turn.state.settings
    own_port = settings.announce_port or settings.port
    if not peers or (peers[0].address.ip, peers[0].address.port) != (link.local_ip, own_port):
        return False
    for peer in peers:
        turn.log(Level.WARNING, f"{peer.run_id} is known at our own address: it is no peer")
        remove_peer(turn, peer)
    turn.save_soon()
    return True


def reset_master(turn: Turn, master: Master) -> None:
    """Forget replicas, peers, flags and a running failover; keep address, epochs and options.

    What the Raft log has begun, its leader ends there: members may be reset one by one.
    """
    for peer in list(master.peers.values()):
        remove_peer(turn, peer)
    for replica in master.replicas.values():
        _release(turn, replica)
    master.replicas.clear()
    master.aliases.clear()
    master.admitted.clear()
    link = master.command
    silent_since = None if link.is_up else (link.ok_at, link.heard_at, link.ping_since)
    forget_reports(turn, master)
    if silent_since is not None:
        # Else one that is reset again and again would never be down.
        link.ok_at, link.heard_at, link.ping_since = silent_since
    if master.mandate is not None:
        master.mandate.is_over = True
    turn.close_links(master)
    # Not found again at once: who ordered it may look whether they are gone.
    for each in master.links():
        each.tried_at = turn.now


def forget_reports(turn: Turn, master: Master) -> None:
    """Start a master's book-keeping afresh, as at its first sight."""
    now = turn.now
    master.run_id = ""
    master.role, master.role_at = Role.MASTER, now
    master.is_down = master.is_odown = False
    master.down_at = master.odown_at = None
    master.info = master.info_at = master.info_asked_at = None
    master.rebooted_at = None
    master.script_killed = False
    leave_unconfirmed(turn, master.failover)
    master.failover = None
    master.leader = None
    master.wait, master.try_at = Wait.NOTHING, None
    for peer in master.peers.values():
        peer.says_down = False
        peer.answered_at = peer.asked_at = None
    link = master.command
    link.ok_at = link.heard_at = now
    link.ping_since = now
    turn.touch(master)


def leave_unconfirmed(turn: Turn, attempt: Failover | None) -> None:
    """Let nobody wait for a coordinated failover that has ended."""
    if attempt and attempt.ticket is not None:
        turn.answer(attempt.ticket, Refused("The failover was aborted, see the log"))
        attempt.ticket = None


def trade_places(turn: Turn, master: Master, replica: Replica) -> None:
    """Make ``replica`` the master's address; connections stay, the old master is now a replica.

    Links, reports and ping books belong to the servers, so they change places with the addresses:
    nothing has to reconnect and what is known to be down stays known.
    """
    state = turn.state
    for other in master.replicas.values():
        other.listed_at = None
    del master.replicas[replica.name]
    old = _enlist(state, turn.now, master, master.address, master.links())
    old.run_id, old.info, old.info_at = master.run_id, master.info, master.info_at
    _copy_membership(master, old)
    old.info_asked_at = master.info_asked_at
    old.hello_at, old.hello_asked_at = master.hello_at, master.hello_asked_at
    old.down_at, old.fence = master.down_at, master.fence
    _copy_obedience(master, old)

    master.address = replica.address
    master.command, master.channel = replica.command, replica.channel
    _take_over(master)
    forget_reports(turn, master)
    master.run_id, master.info, master.info_at = replica.run_id, replica.info, replica.info_at
    _copy_membership(replica, master)
    master.info_asked_at, master.fence = replica.info_asked_at, replica.fence
    master.hello_at, master.hello_asked_at = replica.hello_at, replica.hello_asked_at
    _copy_obedience(replica, master)
    master.command.ping_since = None if replica.command.is_up else turn.now
    replica.due_at = None
    for instance in (master, old):
        turn.touch(instance)


def _copy_membership(source: DataNode, target: DataNode) -> None:
    """What shows that a server is one of the group goes with it."""
    target.member_run_id, target.member_data = source.member_run_id, source.member_data
    target.member_kept, target.data_at = source.member_kept, source.data_at
    target.master_host, target.master_port = source.master_host, source.master_port
    target.master_link_up = source.master_link_up


def _copy_obedience(source: DataNode, target: DataNode) -> None:
    """What a server does of what it is told is the server's, wherever it is listed."""
    target.is_failing_over, target.order = source.is_failing_over, source.order
    target.refusals, target.refused_at = source.refusals, source.refused_at


def _take_over(node: DataNode) -> None:
    for link in node.links():
        link.owners[:] = [node]


def _release(turn: Turn, instance: Instance) -> None:
    instance.due_at = None
    turn.touched.pop(instance, None)
    for link in links_of(instance):
        link.owners.remove(instance)
        if not link.owners:
            turn.close(link)
            del turn.state.links[link.id]


def _new_link(state: State, now: int, kind: LinkKind) -> Link:
    state.last_link_id += 1
    link = Link(
        id=state.last_link_id,
        kind=kind,
        ok_at=now,
        heard_at=now,
        ping_since=now,
        state=LinkState.DOWN,
    )
    state.links[link.id] = link
    return link
