"""A moment of a small world as one value: where all members, servers and messages are.

Everything in it is a number or a tuple of numbers, so that it can be looked up among millions. What
may happen next is said here; what comes of it is the business of `events`.
"""

from enum import IntEnum
from typing import NamedTuple

from . import raft
from .member import CONTACT_EVERY_MS, MEMBERS, SERVERS, endpoint_of
from .redis import ANSWERS, IS_SILENT, REFUSES


class Fault(IntEnum):
    """What can go wrong so many times, by its place in ``Moment.left``."""

    LATE = 0  # messages on one way wait, for as long as it takes to do harm
    LOSS = 1  # a connection breaks, with what is on it; a hello is lost
    CRASH = 2  # a member dies
    RESTART = 3  # and comes back with what its disk has
    STOP = 4  # a member stands still for a while
    DIE = 5  # a server dies
    REVIVE = 6  # and comes back
    MOVE = 7  # a Raft leader is replaced though it lives
    UNKNOWN = 8  # a proposal ends without an answer
    ORDER = 9  # an operator orders a failover
    ISLAND = 10  # a member and a server are cut off from all others
    BLIND = 11  # one member alone reaches a server


class Kind(IntEnum):
    """What is on its way, as a packet's key begins; what comes first is delivered first."""

    LINK = 0  # a member's requests on a link, and the replies to them, each in order
    TELL = 1  # between members of a log, in order
    PROPOSAL = 2  # entries for the Raft leader, in order
    ENDED = 3  # a proposal has failed
    HELLO = 4
    GONE = 5  # connections of a member were closed at their other end
    ORPHAN = 6  # requests of a member that has died since


class Moment(NamedTuple):
    """One moment. ``packets`` are pairs of key and content, whose last part says: it is late."""

    now: int
    cores: tuple  # by member; 0 is dead
    disks: tuple
    save_at: tuple  # when what can wait is saved; 0 if nothing waits
    servers: int
    packets: tuple
    told: tuple  # by member, the last hello that each other one got from it
    stopped: int  # members, by bit
    cuts: int  # pairs of endpoints that cannot reach one another, by bit
    ticked: int  # members that have done what is due in this instant for their contact, by bit
    log: raft.Log | None
    past: int  # what rules have to remember
    left: tuple


Event = tuple
"""What happens, as a word and what it is about."""


# Who reaches whom --------------------------------------------------------------------------------


def reach(moment, servers, member, endpoint):
    """How an endpoint meets a member that connects to it."""
    if is_cut(moment.cuts, SERVERS + member, endpoint):
        return IS_SILENT
    if endpoint < SERVERS:
        return servers[endpoint].state
    other = endpoint - SERVERS
    if moment.stopped >> other & 1:
        return IS_SILENT
    return ANSWERS if moment.cores[other] else REFUSES


def is_cut(cuts, one, other):
    """Whether nothing gets from one endpoint to another."""
    return bool(cuts & pair(one, other))


def pair(one, other):
    """The bit of two endpoints."""
    return 1 << (8 * min(one, other) + max(one, other))


def can_act(moment, member):
    return bool(moment.cores[member]) and not moment.stopped >> member & 1


def hears(moment, member, other):
    """Whether what another member says can be taken in by this one, now."""
    return can_act(moment, member) and not is_cut(moment.cuts, SERVERS + member, SERVERS + other)


# What goes on by itself --------------------------------------------------------------------------


def going_on(moment, servers, members, *, fences):
    """What happens without any fault, in the order of haste; time goes on when nothing does."""
    found = [
        ("deliver", key)
        for key, content in moment.packets
        if not content[-1] and _can_arrive(moment, servers, key, content)
    ]
    if moment.log is not None:
        found += _log_events(moment)
    if fences:
        found += [("contact", it) for it in range(MEMBERS) if is_contact_due(moment, members, it)]
    found += [("wake", it) for it in range(MEMBERS) if is_wake_due(moment, members, it)]
    return found


def is_wake_due(moment, members, member):
    core = moment.cores[member]
    return can_act(moment, member) and members.wake_at[core] <= moment.now


def is_contact_due(moment, members, member):
    """Whether a member is to hear of its contact in this instant, and has not yet."""
    is_time = not moment.now % CONTACT_EVERY_MS and not moment.ticked >> member & 1
    is_here = is_time and can_act(moment, member)
    return is_here and contact(moment, member, members.facts) is not None


def _can_arrive(moment, servers, key, content):
    """Whether whoever a packet is for can take it now."""
    match key[0]:
        case Kind.LINK:
            requests, replies, _ = content
            _, member, link = key
            reaches = reach(moment, servers, member, endpoint_of(link)) == ANSWERS
            return reaches and (can_act(moment, member) if replies else bool(requests))
        case Kind.HELLO | Kind.TELL:
            return hears(moment, key[1], key[2])
        case Kind.PROPOSAL:
            leader = moment.log.leader
            return leader == raft.NOBODY or hears(moment, leader, key[1])
        case Kind.ORPHAN:
            endpoint = endpoint_of(key[2])
            if endpoint < SERVERS:
                return servers[endpoint].state == ANSWERS
            return can_act(moment, endpoint - SERVERS)
        case _:
            return can_act(moment, key[1])


def _log_events(moment):
    log = moment.log
    actors = [it for it in range(MEMBERS) if can_act(moment, it) and not log.slow >> it & 1]
    for member in actors:
        if log.seen[member] != raft.view(log, member, is_alone(moment, member)):
            yield "view", member
    leader = log.leader
    can_commit = log.has_lease and leader in actors and log.applied[leader] == log.commit
    if can_commit and log.tail and _has_majority(moment, leader):
        yield ("commit",)
    for member in actors:
        if log.applied[member] < log.commit and _has_majority(moment, member):
            yield "apply", member
    if leader == raft.NOBODY or not (log.has_lease or raft.leads(log.seen[leader])):
        yield from _elections(moment)


def contact(moment, member, facts):
    """What tells a member of contact now: nobody, itself as the leader, or the leader.

    As leader, with the members that it gives proof of contact; from the leader, with whether
    anything that is committed is missing here.
    """
    log, leader = moment.log, moment.log.leader
    if leader == raft.NOBODY or not log.has_lease or not can_act(moment, leader):
        return None
    gives_proof = facts[moment.cores[leader]].leads
    if member == leader:
        others = [it for it in range(MEMBERS) if it != leader and hears(moment, it, leader)]
        return "leads", tuple(others) if gives_proof else ()
    if not gives_proof or not hears(moment, member, leader):
        return None
    return "follows", log.applied[member] == log.commit


def is_alone(moment, member):
    """Whether a member cannot reach the leader of its log."""
    leader = moment.log.leader
    return leader != raft.NOBODY and is_cut(moment.cuts, SERVERS + leader, SERVERS + member)


def _has_majority(moment, member):
    return 2 * sum(hears(moment, other, member) for other in range(MEMBERS)) > MEMBERS


def _elections(moment):
    """Any member with a majority can be elected, once nobody else may still have the lease."""
    for member in range(MEMBERS):
        if can_act(moment, member) and _has_majority(moment, member):
            for kept in range(len(moment.log.tail), -1, -1):
                yield "elect", member, kept


def reliefs(moment, servers):
    """What may end of that which has gone wrong."""
    for key, content in moment.packets:
        if content[-1] and _can_arrive(moment, servers, key, content):
            yield "release", key
    for member in range(MEMBERS):
        if moment.stopped >> member & 1:
            yield "continue", member
        if moment.log is not None and moment.log.slow >> member & 1:
            yield "catch-up", member
    if moment.cuts:
        yield ("heal",)


# What may go wrong -------------------------------------------------------------------------------


def faults(moment, servers, world):
    """What may go wrong now, as far as there is anything left."""
    left = moment.left
    if left[Fault.LATE] or left[Fault.LOSS]:
        yield from _packet_faults(moment)
    for member in range(MEMBERS):
        if can_act(moment, member):
            yield from _member_faults(moment, member, world)
        elif left[Fault.RESTART] and not moment.cores[member]:
            yield "restart", member
    for place in world.mortal:
        if servers[place].state == ANSWERS and left[Fault.DIE]:
            yield "die", place
        elif servers[place].state != ANSWERS and left[Fault.REVIVE]:
            yield "revive", place
    if moment.log is not None:
        yield from _log_faults(moment)


def _packet_faults(moment):
    left = moment.left
    for key, content in moment.packets:
        if left[Fault.LATE] and not content[-1]:
            yield "late", key
        if left[Fault.LOSS] and key[0] in (Kind.LINK, Kind.HELLO):
            yield "lose", key


def _member_faults(moment, member, world):
    left = moment.left
    if left[Fault.CRASH]:
        yield "crash", member
        if any(it[0] for key, it in moment.packets if key[:2] == (Kind.LINK, member)):
            yield "crash-sending", member
    if left[Fault.STOP]:
        yield "stop", member
    if left[Fault.ORDER]:
        yield "order", member
    for place in world.mortal:
        if left[Fault.ISLAND]:
            yield "island", member, place
        if left[Fault.BLIND]:
            yield "blind", member, place


def _log_faults(moment):
    log, left = moment.log, moment.left
    if left[Fault.LATE]:
        for member in range(MEMBERS):
            is_on_time = can_act(moment, member) and not log.slow >> member & 1
            if is_on_time and _awaits_the_log(log, member):
                yield "lag", member
    leader = log.leader
    if leader == raft.NOBODY:
        return
    if left[Fault.MOVE] and log.has_lease and can_act(moment, leader):
        yield "depose", leader
    if left[Fault.UNKNOWN]:
        under_way = [*log.tail, *log.entries[min(log.applied) : log.commit]]
        under_way += [
            entry
            for key, content in moment.packets
            if key[0] == Kind.PROPOSAL
            for entry in content[0]
        ]
        yield from (("unknown", entry) for entry in under_way)


def _awaits_the_log(log, member):
    return log.applied[member] < log.commit or (log.leader == member and bool(log.tail))
