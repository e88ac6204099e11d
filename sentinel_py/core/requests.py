"""What a sentinel says to data nodes and peers, word for word.

Every first word passes through the master's ``rename-command`` table, except towards peers.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from sentinel_py.core import identity
from sentinel_py.core.messages import Ask, Request
from sentinel_py.core.model import (
    DataNode,
    FollowOrder,
    Instance,
    Link,
    LinkKind,
    Master,
    Peer,
    Replica,
    State,
)
from sentinel_py.core.turn import Turn, master_of

HELLO_CHANNEL = "__sentinel__:hello"

TO_NOBODY = ("NO", "ONE")

_PING = Request(("PING",), Ask.PING)


def greeting(turn: Turn, link: Link) -> list[Request]:
    """The first words on a new connection: log in, say who we are, ask what is to be asked."""
    instance = link.owners[0]
    name = f"sentinel-{turn.state.myid[:8]}-{link.kind.value}"
    words = [*_login(turn.state, instance), _command(instance, "CLIENT", "SETNAME", name)]
    if link.kind is LinkKind.CHANNEL:
        words.append(_command(instance, "SUBSCRIBE", HELLO_CHANNEL))
    return words


def _login(state: State, instance: Instance) -> list[Request]:
    settings = state.settings
    options = master_of(instance).options
    if not isinstance(instance, Peer):
        user, password = options.auth_user, options.auth_pass
    elif settings.sentinel_pass:
        user, password = settings.sentinel_user, settings.sentinel_pass
    else:
        user, password = None, settings.own_pass
    if not password:
        return []
    return [_command(instance, "AUTH", *([user] if user else []), password, ask=Ask.LOGIN)]


def ping(turn: Turn, instance: Instance) -> None:
    link = instance.command
    link.pinged_at = turn.now
    if link.ping_since is None:
        link.ping_since = turn.now
    is_renamed = "ping" in master_of(instance).options.renamed
    turn.send(link, _command(instance, "PING", ask=Ask.PING) if is_renamed else _PING)


def ask_info(turn: Turn, node: DataNode) -> None:
    """Ask for INFO now, unless the link is not there to ask on."""
    if node.command.is_up:
        node.info_asked_at = turn.now
        turn.send(node.command, _command(node, "INFO", ask=Ask.INFO))


def refresh_replicas(turn: Turn, master: Master) -> None:
    """Have a fresh INFO of each replica on its way before one has to be chosen."""
    for replica in master.replicas.values():
        ask_info(turn, replica)


def say_hello(turn: Turn, instance: Instance) -> None:
    """Publish our hello through the instance now, unless the link is not there to publish on."""
    if instance.command.is_up:
        instance.hello_asked_at = turn.now
        payload = hello_payload(turn.state, master_of(instance), instance.command.local_ip)
        turn.send(
            instance.command,
            _command(instance, "PUBLISH", HELLO_CHANNEL, payload, ask=Ask.HELLO),
        )


def hello_payload(state: State, master: Master, local_ip: str) -> str:
    """Our hello about ``master``: who and where we are, and what we hold to be its address.

    Where we listen on one address alone, nobody could reach us at that of the link, which the
    original announces. A member is found where the other members find it.
    """
    settings = state.settings
    own = state.raft.addresses.get(state.myid) if state.raft else None
    fields = (
        settings.announce_ip or (own.ip if own else "") or settings.bound_ip or local_ip,
        settings.announce_port or settings.port,
        state.myid,
        state.current_epoch,
        master.name,
        state.shown(master.address),
        master.address.port,
        master.config_epoch,
    )
    return ",".join(map(str, fields))


def follow(turn: Turn, replica: Replica) -> bool:
    """Make a replica follow its master, and ask in the same write what came of it.

    Every such order is made here, and the guard is here. Returns whether it left. If not, because
    one of the two has not yet said who it is, that one is asked; its answer brings its row up
    again, and with it the order.
    """
    master = replica.master
    if not replica.command.is_up:
        return False
    if not identity.may_follow(turn.state, replica, turn.now):
        for node in (replica, master):
            if not identity.is_known(node) and node.info_asked_at is None:
                ask_info(turn, node)
        return False
    _slaveof(turn, replica, turn.state.shown(master.address), str(master.address.port))
    return True


def follow_nobody(turn: Turn, node: DataNode) -> bool:
    """Make a node a master, and ask in the same write what came of it; returns whether it left.

    A foreign instance is no more promoted than it is made to follow.
    """
    is_foreign = isinstance(node, Replica) and identity.why_foreign(turn.state, node, turn.now)
    if is_foreign or not node.command.is_up:
        return False
    _slaveof(turn, node, *TO_NOBODY)
    return True


def _slaveof(turn: Turn, node: DataNode, *target: str) -> None:
    """The kills make the node's clients ask again who is master; they spare our own link.

    What the server answers is read in `refusals`. While it is in a FAILOVER of its own it follows
    nobody else: that is ended first.
    """
    if node.is_failing_over:
        turn.send(node.command, _command(node, "FAILOVER", "ABORT"))
    steps = [_step(node, "SLAVEOF", *target), *_what_comes_with_it(node)]
    rights = tuple(step.right for step in steps)
    steps = [_step(node, "MULTI"), *steps, _step(node, "EXEC")]
    node.order = FollowOrder(target, deque(steps), rights)
    turn.send(node.command, *steps)
    ask_info(turn, node)


def follow_plainly(turn: Turn, node: DataNode, order: FollowOrder) -> None:
    """Give an order again that was undone for what is refused of it: without that, step by step.

    What has changed since the order left is looked at as if it were a new one.
    """
    if "exec" in order.refused:
        turn.send(node.command, _command(node, "DISCARD"))
    order.awaited.clear()
    master = master_of(node)
    followed = (turn.state.shown(master.address), str(master.address.port))
    if order.change != TO_NOBODY:
        if not isinstance(node, Replica) or order.change != followed:
            return
        if not identity.may_follow(turn.state, node, turn.now):
            return
    steps = [_step(node, "SLAVEOF", *order.change), *_what_comes_with_it(node)]
    order.awaited.extend(step for step in steps if step.right not in order.refused)
    turn.send(node.command, *order.awaited)
    ask_info(turn, node)


def _what_comes_with_it(node: DataNode) -> list[Request]:
    return [
        _step(node, "CONFIG", "REWRITE"),
        _step(node, "CLIENT", "KILL", "TYPE", "normal"),
        _step(node, "CLIENT", "KILL", "TYPE", "pubsub"),
    ]


def _step(node: DataNode, name: str, *args: str) -> Request:
    """A part of an order to follow somebody, with the right that it takes."""
    has_subcommands = name in ("CONFIG", "CLIENT")
    right = f"{name}|{args[0]}" if has_subcommands else name
    return replace(_command(node, name, *args, ask=Ask.FOLLOW), right=right.lower())


def hand_over(turn: Turn, master: Master, successor: Replica) -> bool:
    """Have the master make a replica its successor: it stops writes until that has caught up.

    The master follows it then, so the guard is the same as in ``follow``.
    """
    if not identity.are_two(master, successor):
        return False
    turn.send(
        master.command,
        _command(
            master,
            "FAILOVER",
            "TO",
            turn.state.shown(successor.address),
            str(successor.address.port),
            "TIMEOUT",
            str(master.options.failover_timeout_ms),
            ask=Ask.HAND_OVER,
        ),
    )
    return True


def call_off(turn: Turn, master: Master) -> None:
    if master.command.is_up:
        turn.send(master.command, _command(master, "FAILOVER", "ABORT"))


def pause_writes(turn: Turn, master: Master, pause_ms: int) -> None:
    """Have the master take no writes for a while, and say how far its history goes then."""
    words = ("PAUSE", str(pause_ms), "WRITE")
    turn.send(
        master.command,
        _command(master, "CLIENT", *words, ask=Ask.PAUSE),
        _command(master, "INFO", "replication", ask=Ask.OFFSET),
    )


def ask_offset(turn: Turn, node: DataNode) -> None:
    if node.command.is_up:
        turn.send(node.command, _command(node, "INFO", "replication", ask=Ask.OFFSET))


def kill_script(turn: Turn, node: DataNode) -> None:
    turn.send(node.command, _command(node, "SCRIPT", "KILL"))


def ask_down(turn: Turn, peer: Peer) -> None:
    peer.asked_at = turn.now
    question = down_question(turn.state, peer.master)
    turn.send(peer.command, Request(question, Ask.DOWN, peer.master.name))


def down_question(state: State, master: Master) -> tuple[str, ...]:
    """Is the master down; and, when we are a candidate, the request for a vote in that epoch."""
    attempt = master.failover
    return (
        "SENTINEL",
        "is-master-down-by-addr",
        state.shown(master.address),
        str(master.address.port),
        str(attempt.epoch if attempt else state.current_epoch),
        state.myid if attempt else "*",
    )


def _command(instance: Instance, name: str, *args: str, ask: Ask = Ask.FORGET) -> Request:
    master = master_of(instance)
    if not isinstance(instance, Peer):
        name = master.options.renamed.get(name.lower(), name)
    return Request((name, *args), ask, master.name)
