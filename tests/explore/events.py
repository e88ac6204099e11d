"""What comes of each event: time that passes, messages that arrive, and all that goes wrong."""

from sentinel_py.core.messages import Committed, DirectHello, FailOver
from sentinel_py.raft import reports

from . import raft, redis, rules
from .member import ENDPOINTS, MASTER, MEMBERS, RUN_IDS, SERVERS, endpoint_of
from .moment import Fault, Kind, is_alone, is_contact_due, is_wake_due, pair

HELLO_AGAIN_MS = 2_000
"""Hellos that say nothing new are heard so often: they tell who lives."""

_CHUNK_MS = 250  # members that do nothing are looked at for so long, then for twice as long


def happen(change, event):
    """Carry an event out."""
    _EVENTS[event[0]](change, *event[1:])


def start(change, member):
    """Begin a process with what its disk has."""
    log, boot = change.log, ""
    if log is not None:
        boot = f"b{log.lives[member]}"
    change.cores[member] = 0
    change.told[member] = ("",) * MEMBERS
    change.moved()
    if log is not None:
        rules.begin_life(change, member)
    change.feed(member, "start", change.disks[member], boot)
    if log is not None:
        _read_again(change, member)
        applied = change.members.facts[change.cores[member]].applied
        change.log = change.log._replace(
            lives=raft.replaced(log.lives, member, log.lives[member] + 1),
            applied=raft.replaced(log.applied, member, applied),
            seen=raft.replaced(log.seen, member, ()),
        )


def _read_again(change, member):
    """Hand a member what of the log its config file stands for: it has that already."""
    entries = [change.table[it] for it in change.log.entries]
    applied = change.members.facts[change.cores[member]].applied
    for index, (entry_id, entry) in enumerate(entries[:applied], start=1):
        change.feed(member, *change.given(Committed(index, entry_id, entry)))


# Time --------------------------------------------------------------------------------------------


def _time(change):
    """Let time go on until a member does something that others can see."""
    play = change.play
    chunk_ms = _CHUNK_MS
    waiting = dict(change.packets)
    while True:
        ends = {it for it in (play.heal_at, play.ends_at, *play.stops_at) if it > change.now}
        _pass_quietly(change, min(change.now + chunk_ms, *ends))
        chunk_ms *= 2
        if _wake_quietly(change) or change.packets != waiting or change.now in ends:
            break
    if change.now == play.heal_at:
        _heal_all(change)


def _pass_quietly(change, until):
    """Go on to then, or to the first timer that does more than keep links alive."""
    members = [it for it in range(MEMBERS) if change.can_act(it)]
    for member in members:
        until = min(until, change.quiet_until(member, until)[0])
    for member in members:
        at, core = change.quiet_until(member, until)
        assert at == until, "what was quiet is so for a shorter time, too"
        change.cores[member] = core
    before, change.now = change.now, until
    if until > before:
        change.ticked = 0
    for member in range(MEMBERS):
        change.settle_disk(member)
    if before // HELLO_AGAIN_MS != until // HELLO_AGAIN_MS and change.log is None:
        _repeat_hellos(change)


def _repeat_hellos(change):
    for sender in range(MEMBERS):
        for hearer in range(MEMBERS):
            payload = change.told[sender][hearer]
            if payload and change.can_act(sender) and change.hears(hearer, sender):
                change.feed(hearer, *change.given(DirectHello(payload)))


def _wake_quietly(change):
    """Do what is due and is nothing that others can see; return whether anything else is due."""
    is_due = False
    for member in range(MEMBERS):
        if change.play.world.fences and is_contact_due(change, change.members, member):
            is_due |= not _does_quietly(change, member, "contact")
        if is_wake_due(change, change.members, member):
            is_due |= not _does_quietly(change, member, "wake")
    return is_due


def _does_quietly(change, member, given):
    outcome = change.stepped(member, (given,))
    if outcome.outs or outcome.told != change.told[member]:
        return False
    change.cores[member] = outcome.core
    if given == "contact":
        change.ticked |= 1 << member
    return True


def _heal_all(change):
    """From now on nothing waits any more."""
    change.stopped = change.cuts = 0
    change.moved()
    for key in list(change.packets):
        _set_on_time(change, key)
    if change.log is not None:
        change.log = change.log._replace(slow=0)


def _contact(change, member):
    change.ticked |= 1 << member
    change.feed(member, "contact")


def _wake(change, member):
    change.feed(member, "wake")


# Messages ----------------------------------------------------------------------------------------


def _deliver(change, key):
    _ARRIVALS[key[0]](change, *key)


def _arrive_on_link(change, kind, member, link):
    _, replies, _ = change.packets[kind, member, link]
    if replies:
        change.reply(member, link)
    else:
        change.carry_out(member, link)
    change.drain(member, link)


def _arrive_at_member(change, kind, member, sender):
    (said, *others), late = change.packets.pop((kind, member, sender))
    if others or late:
        change.packets[kind, member, sender] = tuple(others), late
    report = reports.decode(RUN_IDS[sender], change.table[said])
    change.feed(member, *change.given(report))


def _arrive_at_leader(change, _kind, member):
    change.take_proposal(member)


def _end_proposal(change, kind, member, entry):
    certain, _ = change.packets.pop((kind, member, entry))
    change.end_proposal(member, entry, certain=bool(certain))


def _hear(change, kind, hearer, sender, payload):
    del change.packets[kind, hearer, sender, payload]
    change.feed(hearer, *change.given(DirectHello(change.table[payload])))


def _see_gone(change, kind, member, endpoint):
    del change.packets[kind, member, endpoint]
    change.break_links(member, endpoint)


def _arrive_from_the_dead(change, kind, member, link):
    (batch, *others), late = change.packets.pop((kind, member, link))
    if others:
        change.packets[kind, member, link] = tuple(others), late
    _, requests = change.table[batch]
    change.obey(endpoint_of(link), None, requests)


_ARRIVALS = {
    Kind.LINK: _arrive_on_link,
    Kind.TELL: _arrive_at_member,
    Kind.PROPOSAL: _arrive_at_leader,
    Kind.ENDED: _end_proposal,
    Kind.HELLO: _hear,
    Kind.GONE: _see_gone,
    Kind.ORPHAN: _arrive_from_the_dead,
}


def _late(change, key):
    change.spend(Fault.LATE)
    change.packets[key] = (*change.packets[key][:-1], 1)


def _release(change, key):
    _set_on_time(change, key)
    if key in change.packets:
        _deliver(change, key)


def _set_on_time(change, key):
    """Let what waits on one way go on; a way on which nothing waits any more is forgotten."""
    content = change.packets[key] = (*change.packets[key][:-1], 0)
    if key[0] in (Kind.LINK, Kind.TELL, Kind.PROPOSAL) and not any(content):
        del change.packets[key]


def _lose(change, key):
    change.spend(Fault.LOSS)
    if key[0] == Kind.LINK:
        change.break_links(key[1], endpoint_of(key[2]), both=False)
    else:
        del change.packets[key]


# Members -----------------------------------------------------------------------------------------


def _crash(change, member):
    """A process is gone, with all that was on its way to it, and what it had not written."""
    change.spend(Fault.CRASH)
    change.save_at[member] = 0
    change.cores[member] = 0
    for key in list(change.packets):
        if key[1] == member and key[0] != Kind.ORPHAN:
            del change.packets[key]
    for other in range(MEMBERS):
        change.told[other] = raft.replaced(change.told[other], member, "")
    _unseat(change, member)
    change.moved()
    _disconnect(change, SERVERS + member)


def _crash_leaving_orders(change, member):
    """A process is gone, and its kernel still sends what it has written."""
    for key, content in list(change.packets.items()):
        if key[:2] == (Kind.LINK, member) and content[0]:
            change.packets[Kind.ORPHAN, member, key[2]] = content[0], 0
    _crash(change, member)


def _torn(change, *event):
    """A process dies between what it says and the save that should have come before."""
    change.is_torn = True
    happen(change, event)
    _crash_leaving_orders(change, change.torn_by)


def _restart(change, member):
    change.spend(Fault.RESTART)
    start(change, member)


def _stop(change, member):
    """A process stands still; if it is the Raft leader, it has no lease soon."""
    change.spend(Fault.STOP)
    change.stopped |= 1 << member
    _unseat(change, member)
    change.moved()


def _continue(change, member):
    change.stopped &= ~(1 << member)
    change.moved()


def _order(change, member):
    change.spend(Fault.ORDER)
    change.feed(member, *change.given(FailOver(1, MASTER)))


def _island(change, member, place):
    change.spend(Fault.ISLAND)
    island = SERVERS + member, place
    others = [it for it in range(len(ENDPOINTS)) if it not in island]
    change.cuts |= sum(pair(one, other) for one in island for other in others)
    _unseat(change, member)
    change.moved()


def _blind(change, member, place):
    change.spend(Fault.BLIND)
    others = [it for it in range(MEMBERS) if it != member]
    change.cuts |= sum(pair(SERVERS + it, place) for it in others)
    change.moved()


def _heal(change):
    change.cuts = 0
    change.moved()


def _disconnect(change, endpoint):
    """Tell all that their connections to what has died are gone; those that stand still, later."""
    for member in range(MEMBERS):
        if change.can_act(member):
            change.break_links(member, endpoint)
        elif change.cores[member]:
            change.packets[Kind.GONE, member, endpoint] = (0,)


# Servers -----------------------------------------------------------------------------------------


def _die(change, place):
    change.spend(Fault.DIE)
    change.servers = redis.die(change.servers, place, redis.REFUSES, change.now)
    change.moved()
    for key in list(change.packets):
        if key[0] == Kind.GONE and key[2] == place:
            del change.packets[key]
    _disconnect(change, place)


def _revive(change, place):
    change.spend(Fault.REVIVE)
    change.servers = redis.start(change.servers, place, change.now)
    change.moved()


# The log -----------------------------------------------------------------------------------------


def _commit(change):
    log = change.log
    change.log = log._replace(commit=log.commit + 1)
    change.apply(log.leader)


def _apply(change, member):
    change.apply(member)


def _view(change, member):
    """Tell a member how the Raft cluster stands."""
    log = change.log
    seen = raft.view(log, member, is_alone(change, member))
    change.log = log._replace(seen=raft.replaced(log.seen, member, seen))
    change.feed(member, *change.given(raft.view_input(seen)))


def _elect(change, member, kept):
    log = change.log
    change.log = raft.elected(log, member, kept)
    for entry in log.tail[kept:]:
        proposer = change.play.proposer(entry)
        if change.cores[proposer]:
            change.packets[Kind.ENDED, proposer, entry] = 0, 0


def _unseat(change, member):
    if change.log is not None and change.log.leader == member:
        change.log = change.log._replace(leader=raft.NOBODY, has_lease=False)


def _depose(change, _member):
    """A Raft leader loses its lease; nobody else is elected before it knows."""
    change.spend(Fault.MOVE)
    change.log = change.log._replace(has_lease=False)


def _unknown(change, entry):
    """A proposer is told that its proposal's end is not known; it may still come."""
    change.spend(Fault.UNKNOWN)
    change.packets[Kind.ENDED, change.play.proposer(entry), entry] = 0, 0


def _lag(change, member):
    change.spend(Fault.LATE)
    change.log = change.log._replace(slow=change.log.slow | 1 << member)


def _catch_up(change, member):
    change.log = change.log._replace(slow=change.log.slow & ~(1 << member))


_EVENTS = {
    "time": _time,
    "wake": _wake,
    "deliver": _deliver,
    "late": _late,
    "release": _release,
    "lose": _lose,
    "crash": _crash,
    "crash-sending": _crash_leaving_orders,
    "torn": _torn,
    "restart": _restart,
    "stop": _stop,
    "continue": _continue,
    "order": _order,
    "island": _island,
    "blind": _blind,
    "contact": _contact,
    "heal": _heal,
    "die": _die,
    "revive": _revive,
    "commit": _commit,
    "apply": _apply,
    "view": _view,
    "elect": _elect,
    "depose": _depose,
    "unknown": _unknown,
    "lag": _lag,
    "catch-up": _catch_up,
}
