"""A world as one value: where all members, servers and messages are at one moment.

Everything in it is a number or a tuple of numbers, so that a world can be looked up among millions.
What may happen next is said by `events`; what it makes is the business of `change`.
"""

from enum import IntEnum
from typing import NamedTuple

from . import raft
from .member import MEMBERS, SERVERS, endpoint_of
from .redis import ANSWERS, IS_SILENT, REFUSES


class Left(IntEnum):
    """What may still go wrong, by its place in ``World.left``."""

    LATE = 0  # messages on one way wait
    LOSS = 1  # a connection breaks, with what is on it
    CRASH = 2  # a member dies
    RESTART = 3  # and comes back
    STOP = 4  # a member stands still for a while
    DIE = 5  # a server dies
    REVIVE = 6  # and comes back
    MOVE = 7  # a Raft leader is replaced though it lives
    UNKNOWN = 8  # a proposal ends without an answer
    ORDER = 9  # an operator orders a failover
    ISLAND = 10  # a member and a server are cut off from the others


class Kind(IntEnum):
    """What is on its way; the first in a packet's key. What comes first is delivered first."""

    LINK = 0  # requests of a member on a link, and the replies to them
    TELL = 1  # between members, over the Raft stream
    PROPOSAL = 2  # to the Raft leader
    ENDED = 3  # a proposal has failed
    HELLO = 4
    KICK = 5  # a server has closed a member's connections
    ORPHAN = 6  # requests of a member that has died


class World(NamedTuple):
    """One moment. ``packets`` are pairs of key and content, whose last part is: is it late."""

    now: int
    cores: tuple  # by member; 0 is dead
    disks: tuple
    save_at: tuple  # when what waits to be saved is; 0 if nothing does
    servers: int
    packets: tuple
    told: tuple  # by member, the last hello that each other one got from it
    stopped: int  # members, by bit
    island: int  # endpoints that are cut off from the others, by bit
    log: raft.Log | None
    past: int  # what rules have to remember
    left: tuple


def reach(world, servers, member, endpoint):
    """How an endpoint meets a member that connects to it."""
    own = SERVERS + member
    if (world.island >> own ^ world.island >> endpoint) & 1:
        return IS_SILENT
    if endpoint < SERVERS:
        return servers[endpoint].state
    other = endpoint - SERVERS
    if world.stopped >> other & 1:
        return IS_SILENT
    return ANSWERS if world.cores[other] else REFUSES


def can_act(world, member):
    return bool(world.cores[member]) and not world.stopped >> member & 1


def _can_be_taken(world, servers, key, content):
    """Whether whoever a packet is for can take it now."""
    match key[0]:
        case Kind.LINK:
            requests, replies, _ = content
            member = key[1]
            reaches = reach(world, servers, member, endpoint_of(key[2])) == ANSWERS
            is_awaited = can_act(world, member) if replies else bool(requests)
            return reaches and is_awaited
        case Kind.TELL | Kind.HELLO:
            to, frm = key[1], key[2]
            return can_act(world, to) and not _is_cut(world, to, frm)
        case Kind.PROPOSAL:
            leader = world.log.leader
            if leader == raft.NOBODY:
                return True
            return can_act(world, leader) and not _is_cut(world, leader, key[1])
        case Kind.ORPHAN:
            return servers[endpoint_of(key[2])].state == ANSWERS
        case _:
            return can_act(world, key[1])


def _is_cut(world, one, other):
    return bool((world.island >> SERVERS + one ^ world.island >> SERVERS + other) & 1)


def running(world, servers, wake_at):
    """What happens without any fault, in the order of haste; time goes on when there is none."""
    found = [
        ("deliver", key)
        for key, content in world.packets
        if not content[-1] and _can_be_taken(world, servers, key, content)
    ]
    if world.log is not None:
        found += _log_events(world)
    found += [
        ("wake", member)
        for member in range(MEMBERS)
        if can_act(world, member) and wake_at[world.cores[member]] <= world.now
    ]
    return found


def _log_events(world):
    log = world.log
    for member in range(MEMBERS):
        if can_act(world, member) and log.seen[member] != raft.view(log, member):
            yield "view", member
    leader = log.leader
    is_led = leader != raft.NOBODY and log.has_lease and can_act(world, leader)
    is_level = is_led and log.applied[leader] == log.commit
    if is_level and log.tail and _has_majority(world, leader):
        yield ("commit",)
    for member in range(MEMBERS):
        if can_act(world, member) and log.applied[member] < log.commit:
            yield "apply", member
    if leader == raft.NOBODY or not (log.has_lease or log.seen[leader][1]):
        yield from _elections(world)


def _has_majority(world, leader):
    near = [it for it in range(MEMBERS) if can_act(world, it) and not _is_cut(world, it, leader)]
    return 2 * len(near) > MEMBERS


def _elections(world):
    """Any member with a majority can be elected, once nobody else may still have the lease."""
    log = world.log
    for member in range(MEMBERS):
        if can_act(world, member) and _has_majority(world, member):
            for kept in range(len(log.tail), -1, -1):
                yield "elect", member, kept


def faults(world, servers):
    """What may go wrong now, as far as there is anything left."""
    left = world.left
    for key, content in world.packets:
        if content[-1]:
            if _can_be_taken(world, servers, key, content):
                yield "release", key
        elif left[Left.LATE]:
            yield "late", key
        if left[Left.LOSS] and key[0] in (Kind.LINK, Kind.HELLO):
            yield "lose", key
    for member in range(MEMBERS):
        if not world.cores[member]:
            if left[Left.RESTART]:
                yield "restart", member
        elif world.stopped >> member & 1:
            yield "continue", member
        else:
            yield from _member_faults(world, member)
    for place in range(SERVERS):
        if servers[place].state == ANSWERS and left[Left.DIE]:
            yield "die", place
        elif servers[place].state != ANSWERS and left[Left.REVIVE]:
            yield "revive", place
    if world.island:
        yield ("heal",)


def _member_faults(world, member):
    left = world.left
    if left[Left.CRASH]:
        yield "crash", member
        sent = [key for key, _ in world.packets if key[:2] == (Kind.LINK, member)]
        if any(endpoint_of(key[2]) < SERVERS for key in sent):
            yield "crash, orders under way", member
    if left[Left.STOP]:
        yield "stop", member
    if left[Left.ORDER]:
        yield "order", member
    if left[Left.ISLAND] and not world.island:
        for place in range(SERVERS):
            yield "island", member, place
    log = world.log
    if log is None:
        return
    if left[Left.MOVE] and log.leader == member and log.has_lease:
        yield "depose", member
    if left[Left.UNKNOWN]:
        yield from (("unknown", member, entry) for entry in _open_proposals(world, member))


def _open_proposals(world, member):
    log = world.log
    for entry in log.entries[log.applied[member] :]:
        yield entry
    for key, content in world.packets:
        if key == (Kind.PROPOSAL, member):
            yield from content[0]
