"""The hello line: peers found and moved, epochs learnt, a switch that another leader has made.

Eight fields, comma-separated: ip, port, id and current epoch of the sender; name, ip, port and
config epoch of the master. It comes through data nodes' hello channel and by direct PUBLISH.
"""

from __future__ import annotations

from sentinel_py.core import consensus, election, members, requests, roster, succession
from sentinel_py.core.messages import Level
from sentinel_py.core.model import MAX_EPOCH, Address, Master, Peer, State
from sentinel_py.core.turn import Turn
from sentinel_py.values import dataclass

CHANGES_PER_S_MAX = 50
"""Peers of a master that appear or move in a second: a flood of forged hellos costs no more than
its reading. Of more sentinels than this, the others are met in the next seconds."""

PEERS_MAX = 1_000
"""Peers per master; hello is not authenticated, so somebody may make them up."""

NAMESAKES_MAX = 16
"""Places where our own id was heard and that are told of; anybody can make more of them up."""

ECHOES_MAX = 4_096
"""Hellos with our id that need no second look; ours are one a master, until something changes."""

_FIELDS = 8
_RUN_ID_LENGTH = 40


@dataclass(frozen=True, slots=True)
class Hello:
    """One hello, its numbers checked; hosts may be names."""

    host: str
    port: int
    run_id: str
    epoch: int
    master: str
    master_host: str
    master_port: int
    config_epoch: int


def parse(payload: str) -> Hello | None:
    """The hello in a payload; None for anything that is not exactly one.

    The original reads junk as 0 and ``-1`` as 2^64-1, by which one forged message uses the epoch up
    for good; no sentinel sends such a thing, so it is dropped here.
    """
    fields = payload.split(",")
    if len(fields) != _FIELDS:
        return None
    numbers = [_number(fields[index]) for index in (1, 3, 6, 7)]
    if any(number is None for number in numbers) or not _is_run_id(fields[2]):
        return None
    port, epoch, master_port, config_epoch = (number or 0 for number in numbers)
    if max(port, master_port) > 65535 or max(epoch, config_epoch) > MAX_EPOCH:
        return None
    return Hello(fields[0], port, fields[2], epoch, fields[4], fields[5], master_port, config_epoch)


def _is_run_id(text: str) -> bool:
    """Ids come into events and the config file, so they must be what sentinels make: 40 digits."""
    return len(text) == _RUN_ID_LENGTH and text.isascii() and text.isalnum()


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 19 else None


def take_echo(turn: Turn, payload: str) -> None:
    """Take a hello with our id in it, as it comes back on each channel: nearly always our own."""
    echoes = turn.state.echoes
    if len(echoes) >= ECHOES_MAX:
        echoes.clear()
    echoes.add(payload)
    receive(turn, payload)


def receive(turn: Turn, payload: str) -> None:
    """Take a hello, whichever way it came."""
    if _is_repeated(turn, payload):
        return
    hello = parse(payload)
    if hello is None:
        return
    if _is_ours(turn.state, hello):
        _compare_places(turn, hello)
        return
    if not turn.state.believes(max(hello.epoch, hello.config_epoch)):
        return
    master = turn.state.masters.get(hello.master)
    if master is None:
        return
    if members.is_in_cluster(turn.state):
        _receive_as_member(turn, master, hello, payload)
        return
    if hello.run_id not in master.peers and not _is_of_our_group(turn, master, hello):
        return
    peer = _peer_of(turn, master, hello)
    election.raise_epoch(turn, hello.epoch, master)
    if peer is None:
        return
    peer.heard_at = turn.now
    peer.last_hello = payload
    if hello.config_epoch > hello.epoch:
        return  # no sentinel is behind its own switch
    if hello.config_epoch > master.config_epoch or _wins_tie(turn, master, hello):
        _adopt_config(turn, master, peer, hello)
    elif hello.config_epoch < master.config_epoch:
        # It has missed a switch: tell it now, not at the next period.
        requests.say_hello(turn, peer)


def _receive_as_member(turn: Turn, master: Master, hello: Hello, payload: str) -> None:
    """Take note of a hello where the log decides: it moves no address, no epoch and no member.

    Anybody can publish one in a member's name. Of an outsider it is kept where he is and, if the
    operator lets outsiders count, which switch he has seen: the leader judges that.
    """
    if members.is_member(turn.state, hello.run_id):
        peer = master.peers.get(hello.run_id)
    else:
        peer = _peer_of(turn, master, hello)
    if peer is None:
        return
    peer.heard_at = turn.now
    peer.last_hello = payload
    peer.told_epoch = hello.epoch
    is_counted_outsider = members.counts(turn.state, peer) and not members.is_member(
        turn.state, hello.run_id
    )
    if is_counted_outsider and hello.config_epoch > master.config_epoch:
        peer.last_hello = ""  # what cannot be taken over now is looked at again when it is repeated
        _hear_of_switch(turn, master, hello)


def _hear_of_switch(turn: Turn, master: Master, hello: Hello) -> None:
    """As leader, have the log take over a switch that an outsider has made."""
    address = roster.look_up(turn.state, hello.master_host, hello.master_port)
    raft = turn.state.raft
    if raft is None or not raft.leads or master.mandate or master.failover or address is None:
        return
    consensus.propose_follow(turn, master, hello.config_epoch, address)


def _is_ours(state: State, hello: Hello) -> bool:
    """Whether we have said this ourselves, maybe long ago and under another id.

    A member that joins a Raft cluster again has a new id. By its address it knows what it said
    before a restart.
    """
    if hello.run_id == state.myid or hello.run_id in state.former_ids:
        return True
    settings = state.settings
    if state.raft is None or hello.port != (settings.announce_port or settings.port):
        return False
    if own := settings.announce_ip or settings.bound_ip:
        return hello.host == own
    return any(link.local_ip == hello.host != "" for link in state.links.values())


def _compare_places(turn: Turn, hello: Hello) -> None:
    """Say, once for each place, that our id is heard from another sentinel's address.

    A copied file does that. Two with one id have one vote, and each drops what the other says.
    """
    state = turn.state
    if hello.run_id != state.myid:
        return
    settings = state.settings
    own = state.raft.addresses.get(state.myid) if state.raft else None
    hosts = [settings.announce_ip, settings.bound_ip, *((own.ip, own.host) if own else ())]
    hosts += [link.local_ip for link in state.links.values()]
    is_here = hello.host in hosts and hello.port == (settings.announce_port or settings.port)
    place = f"{hello.host} {hello.port}"
    if is_here or place in state.namesakes or len(state.namesakes) >= NAMESAKES_MAX:
        return
    state.namesakes.append(place)
    turn.notice(Level.WARNING, "+duplicate-myid", text=f"{state.myid} {place}")


def _is_repeated(turn: Turn, payload: str) -> bool:
    """Book a payload that its sender repeats; nearly all are, and those say nothing new."""
    fields = payload.split(",", 5)
    if len(fields) < 6:
        return False
    master = turn.state.masters.get(fields[4])
    peer = master.peers.get(fields[2]) if master else None
    if peer is None or peer.last_hello != payload:
        return False
    peer.heard_at = turn.now
    return True


def _is_of_our_group(turn: Turn, master: Master, hello: Hello) -> bool:
    """Return whether an unknown sentinel watches what we watch, and not another group so named.

    If it cannot be told yet, the server that it names is asked; the sentinel says it again.
    """
    address = roster.look_up(turn.state, hello.master_host, hello.master_port)
    if address is None:
        if hello.master_host and turn.state.settings.resolve_hostnames:
            turn.resolve(hello.master_host)
        return False
    if succession.is_of_group(turn, master, address):
        return True
    succession.meet(turn, master, hello.run_id, address, hello.config_epoch)
    return False


def _peer_of(turn: Turn, master: Master, hello: Hello) -> Peer | None:
    """The sender's row, made or moved as needed; None if it has no usable address."""
    address = roster.look_up(turn.state, hello.host, hello.port)
    if address is None:
        if hello.host and turn.state.settings.resolve_hostnames:
            turn.resolve(hello.host)
        return None
    known = master.peers.get(hello.run_id)
    if known and known.address.same_as(address):
        return known
    if not _may_change(turn, master):
        return None
    if known:
        return _move_peer(turn, known, address)
    _drop_namesake(turn, master, address)
    if len(master.peers) >= PEERS_MAX:
        return None
    peer = roster.add_peer(turn.state, turn.now, master, hello.run_id, address)
    turn.notice(Level.NOTICE, "+sentinel", peer)
    turn.touch(peer)
    turn.save_soon()
    return peer


def _may_change(turn: Turn, master: Master) -> bool:
    """Return whether a sentinel may appear or move now; true ones say again what they said."""
    if turn.now >= master.peers_changed_at + 1_000:
        master.peers_changed_at, master.peers_changed = turn.now, 0
    master.peers_changed += 1
    return master.peers_changed <= CHANGES_PER_S_MAX


def _drop_namesake(turn: Turn, master: Master, address: Address) -> None:
    """Forget a peer whose address has been taken over by another id, under every master."""
    old = next((peer for peer in master.peers.values() if peer.address.same_as(address)), None)
    if old is None:
        return
    turn.notice(Level.NOTICE, "+sentinel-invalid-addr", old)
    for other in turn.state.masters.values():
        if old.run_id in other.peers:
            roster.remove_peer(turn, other.peers[old.run_id])


def _move_peer(turn: Turn, peer: Peer, address: Address) -> Peer:
    """Follow a peer to its new address, under every master."""
    master = peer.master
    where = f"ip {turn.state.shown(address)} port {address.port} for {peer.run_id}"
    turn.notice(Level.NOTICE, "+sentinel-address-switch", master, where)
    _drop_namesake(turn, master, address)
    rows = [m.peers[peer.run_id] for m in turn.state.masters.values() if peer.run_id in m.peers]
    for row in rows:
        row.address = address
        turn.close_links(row)
    others = len(rows) - 1
    if others:
        text = f"{others} additional matching instances"
        turn.notice(Level.NOTICE, "+sentinel-address-update", peer, text)
    turn.save()
    return peer


def _wins_tie(turn: Turn, master: Master, hello: Hello) -> bool:
    """Whether the sender's switch counts, not ours, where both have the same epoch.

    Two operators who order failovers at once make such switches, and no later hello would end the
    dispute. The greater address holds, whoever brings it, so that all come to the same end.
    """
    if not 0 < hello.config_epoch == master.config_epoch:
        return False
    ours = master.address
    theirs = roster.look_up(turn.state, hello.master_host, hello.master_port)
    if theirs is None or theirs.same_as(ours):
        return False
    return (theirs.ip, theirs.port) > (ours.ip, ours.port)


def _adopt_config(turn: Turn, master: Master, peer: Peer, hello: Hello) -> None:
    """Take over a newer configuration of the master, and switch if its address has changed."""
    address = roster.look_up(turn.state, hello.master_host, hello.master_port)
    if address is None or address.port == 0:
        if turn.state.settings.resolve_hostnames:
            turn.resolve(hello.master_host)
        peer.last_hello = ""
        return
    if not master.address.same_as(address):
        succession.hear(turn, master, peer, address, hello.config_epoch)
        return
    master.config_epoch = hello.config_epoch
    turn.save()
