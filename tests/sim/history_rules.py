"""What must hold for the history of events, seen as a webhook sees it and in the Raft log.

The members of a Raft cluster have one history, which their log makes; anybody else has one of his
own. A sentinel's sighting is a notice of its own that is worth an event. The rule it guards: what
is worth an event is the product's to say, and what becomes of it afterwards is worked out here.
"""

from collections import Counter
from dataclasses import dataclass, field

from sentinel_py.core.ledger import Command, Record, Switch
from sentinel_py.core.messages import Committed, Installed
from sentinel_py.core.model import Event

from .violation import Violation

WAIT_MS = 300
"""How long an event waits, at the least, for the failover that it may be a part of."""

ROUNDING_MS = 1

BATCH_MAX = 100
"""Events in one entry. What comes behind it in the log must not be held up."""

GRACE_MS = 10_000
"""Two that saw the same at times no further apart have seen one event."""

SWITCH = "+switch-master"

ONE_HISTORY = "all members have one history"
IDS = "ids only grow"
BOUNDED = "the history is bounded"
WRITTEN = "what was seen is in the history"
WAITS = "events wait for failovers"
ONCE = "an event is written down once"
ORDER = "events are in the order of who wrote them"


@dataclass
class _Book:
    """What one life of a sentinel has seen, and what it knows to be written down."""

    myid: str
    started_us: int
    sightings: list = field(default_factory=list)
    places: dict = field(default_factory=dict)  # identity -> number of the sighting
    as_follower: set = field(default_factory=set)  # numbers of those made while another one led
    told: list = field(default_factory=list)
    last_id: int | None = None  # of those told; None if what comes next is no direct successor
    proposed_us: int | None = None
    last_place: int = -1  # of those that it has written down itself, as far as it knows
    applied: list = field(default_factory=list)  # targets of switches, till their notice comes
    switches: list = field(default_factory=list)  # texts of switches that the log had it make


class HistoryRules:
    """All histories of a world."""

    def __init__(self, layout):
        self._kept = layout.events_kept
        self._is_all_by_log = layout.is_raft and not layout.originals
        self._books = {}
        self._events = {}  # id -> event, of the Raft cluster
        self._ids = {}  # identity -> id
        self._switches = {}  # (master, epoch) of the log -> when it was applied first, and whereto

    # What sentinels show ----------------------------------------------------------------------

    def started(self, life):
        self._books[life.name] = _Book(life.state.myid, life.process.scheduler.now_us)

    def fed(self, life, event):
        book = self._book(life)
        match event:
            case Committed(index, _, Switch() as entry):
                target = entry.master, entry.ip, str(entry.port)
                self._switched(life, index, entry.epoch, target)
            case Committed(index, _, Command("follow", (master, epoch, _, port, ip))):
                self._switched(life, index, int(epoch), (master, ip, port))
            case Installed():
                book.last_id = None

    def _switched(self, life, index, epoch, target):
        """By a failover, or by hand, which the log has taken over."""
        book, made_us = self._book(life), life.process.scheduler.now_us
        made = self._switches.setdefault((target[0], epoch), (made_us, target))
        if index > life.state.raft.applied and book.started_us < made[0]:
            book.applied.append(target)

    def saw(self, life, event):
        book = self._book(life)
        book.places.setdefault(_identity(event), len(book.sightings))
        if life.votes_by_log and not life.state.raft.leads:
            book.as_follower.add(len(book.sightings))
        book.sightings.append(event)
        if event.name == SWITCH and (target := _target(event)) in book.applied:
            book.applied.remove(target)
            book.switches.append(event.text)

    def proposed(self, life, entry):
        """One that leads is about to write events down for all."""
        if isinstance(entry, Record):
            events = _events(entry)
            self._check_wait(life, events)
            self._check_order(life, events)
            self._check_once(life, events)

    def recorded(self, life, events):
        book, kept = self._book(life), life.state.history.events
        for event in events:
            _check_id(life, book, event)
            book.told.append(event)
            if life.votes_by_log:
                self._check_shared(life, event)
        if not life.votes_by_log:
            self._check_own(life, events)
        if len(kept) > self._kept:
            text = f"{life.name} keeps {len(kept)} events"
            raise Violation(BOUNDED, text)

    def _book(self, life):
        """A member that was removed and added again reads all of it again, under another id."""
        book = self._books[life.name]
        if book.myid != life.state.myid:
            book.myid, book.last_id = life.state.myid, None
            book.told.clear()
        return book

    # Rules ------------------------------------------------------------------------------------

    def _check_shared(self, life, event):
        first = self._events.setdefault(event.id, event)
        if first != event:
            raise Violation(ONE_HISTORY, f"{life.name} has {event}, others {first}")
        if self._ids.setdefault(_identity(event), event.id) != event.id:
            raise Violation(ONCE, f"{life.name} has {event} twice")
        if event.name == SWITCH and self._is_all_by_log:
            self._check_switch(life, _target(event))

    def _check_switch(self, life, target):
        """Each switch is an entry, and an event."""
        written = sum(it.name == SWITCH and _target(it) == target for it in self._events.values())
        if written > sum(made == target for _, made in self._switches.values()):
            raise Violation(ONCE, f"{life.name} tells of {written} switches to {target}")

    def _check_own(self, life, events):
        """In classic mode it is written down at once, and told in the same moment."""
        if events:
            self._check_wait(life, events)
            self._check_order(life, events)
            self._book(life).last_place = self._book(life).places[_identity(events[-1])]

    def _check_wait(self, life, events):
        book, process = self._book(life), life.process
        waited_ms = life.wall_clock() - events[0].at
        if waited_ms < WAIT_MS - ROUNDING_MS:
            raise Violation(WAITS, f"{life.name} writes {events[0]} after {waited_ms} ms")
        if len(events) > BATCH_MAX:
            raise Violation(WAITS, f"{life.name} writes {len(events)} events at once")
        now_us, before_us = process.scheduler.now_us, book.proposed_us
        book.proposed_us = now_us
        if before_us is None or process.disturbed_us > before_us:
            return
        if now_us - before_us < (WAIT_MS - ROUNDING_MS) * 1000:
            raise Violation(WAITS, f"{life.name} writes again after {now_us - before_us} us")

    def _check_order(self, life, events):
        """Whoever writes leaves none out that it will write later."""
        book = self._book(life)
        places = [book.places.get(_identity(it), -1) for it in events]
        if places != sorted(places) or places[0] <= book.last_place:
            raise Violation(ORDER, f"{life.name} writes {places} behind {book.last_place}")

    def _check_once(self, life, events):
        """What a follower sees, and another one has written down, it does not write when it leads.

        Each sighting of its own is for one that another has written; what is left over it writes.
        """
        book = self._book(life)
        for event in events:
            if book.places[_identity(event)] not in book.as_follower:
                continue
            told = [it for it in book.told if _subject(it) == _subject(event)]
            own = [it for it in told if _identity(it) in book.places]
            others = [it for it in told if it not in own and abs(it.at - event.at) < GRACE_MS]
            seen = sum(_subject(it) == _subject(event) for it in book.sightings)
            times = sum(_subject(it) == _subject(event) for it in events)
            if len(others) > seen - len(own) - times:
                raise Violation(ONCE, f"{life.name} writes {event}, seen {seen} times, {told}")

    # In the end -------------------------------------------------------------------------------

    def unwritten(self, cluster):
        """What is still to be written down; None if nothing is.

        A switch is known to whoever lived when it was made: one that reads of it again after a
        restart knows it from its config file. So it is lost if the power of the one that led goes
        before it has written it down, and the same one leads again: nobody else writes then.
        """
        for sentinel in cluster.ours:
            life, book = sentinel.life, self._book(sentinel.life)
            if life.votes_by_log:
                if not life.state.raft.leads:
                    continue
                written = Counter(it.text for it in self._events.values() if it.name == SWITCH)
                missing = Counter(book.switches) - written
            else:
                missing = Counter(map(_identity, book.sightings)).keys() - {
                    *map(_identity, book.told)
                }
            if missing:
                return f"{life.name} has seen, and nobody has written down: {sorted(missing)}"
        return None

    def check_end(self, cluster):
        """All members have the latest of what was ever written down."""
        latest = [self._events[number] for number in sorted(self._events)][-self._kept :]
        for sentinel in cluster.ours:
            state = sentinel.life.state
            if state.raft is not None and list(state.history.events) != latest:
                text = f"{sentinel.name} has {list(state.history.events)} instead of {latest}"
                raise Violation(ONE_HISTORY, text)


def _check_id(life, book, event):
    """Near the time at which it was seen, and beyond the one before it."""
    last_id, book.last_id = book.last_id, event.id
    if last_id is None:
        return
    if event.id != max(last_id + 1, event.at):
        raise Violation(IDS, f"{life.name}: {event} behind {last_id}")


def _events(entry):
    words = iter(entry.words)
    return [
        Event(0, int(at), *named) for at, *named in zip(words, words, words, words, strict=True)
    ]


def _identity(event):
    return event.at, event.name, event.text


def _subject(event):
    return event.name, event.text


def _target(event):
    """Of ``<master> <old ip> <old port> <ip> <port>``."""
    name, _, _, ip, port = event.text.split(" ")
    return name, ip, port
