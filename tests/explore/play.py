"""A small world that is played: what may happen in it, and what comes of it.

Its moments are values; what their numbers stand for is here.
"""

from . import events, raft, redis, rules
from .change import Change
from .member import ENDPOINTS, MEMBERS, RUN_IDS, SERVERS, Members
from .moment import Fault, Moment, faults, going_on, reliefs
from .store import Store
from .table import Table

BEGINS_AT = 1_000_000

_FREE = {"wake", "elect"}
"""Of these, any may come first at no cost: timers due in the same instant, candidates."""


class Play:
    """One world. ``heal_at`` ends what has an end, ``ends_at`` all."""

    def __init__(self, world):
        self.world = world
        self.table = Table()
        self.store = Store(ENDPOINTS)
        self.members = Members(self.store, self.table, questions_wait=world.questions_wait)
        self.made = {}  # by the entries of a log, what they make, and whose it was
        self.is_calm = True  # no faults yet
        self.strikes_end_at = BEGINS_AT  # from when on nothing more goes wrong
        self.stops_at = set()  # when time stops, for something to go wrong just then
        self.heal_at = self.ends_at = BEGINS_AT + world.calm_ms

    def begin(self):
        """The moment from which all is explored: the members know one another, and it happens."""
        moment = self._calm()
        self.is_calm = False
        self.strikes_end_at = moment.now + self.world.strikes_ms
        self.stops_at = {moment.now + ms for ms in self.world.stops_ms}
        self.heal_at = moment.now + self.world.heal_ms
        self.ends_at = moment.now + self.world.lasts_ms
        for event in self.world.opening:
            moment = self.apply(moment, event)
        left = tuple(self.world.left.get(fault, 0) for fault in Fault)
        return moment._replace(left=left)

    def _calm(self):
        blank = Moment(
            now=BEGINS_AT,
            cores=(0,) * MEMBERS,
            disks=tuple(map(self.table.number, self.world.config_files())),
            save_at=(0,) * MEMBERS,
            servers=self.table.number(redis.begin(SERVERS)),
            packets=(),
            told=(("",) * MEMBERS,) * MEMBERS,
            stopped=0,
            cuts=0,
            ticked=0,
            log=raft.begin(MEMBERS) if self.world.is_raft else None,
            past=self.table.number(()),
            left=(0,) * len(Fault),
        )
        change = Change(self, blank)
        for member in range(MEMBERS):
            events.start(change, member)
        moment = change.end()
        while moment.now < self.ends_at:
            moment = self.apply(moment, self.going_on(moment)[0])
        return moment

    def going_on(self, moment):
        """What may happen without another fault; what does so in calm comes first."""
        if moment.now >= self.ends_at:
            return []
        servers = self.table[moment.servers]
        found = going_on(moment, servers, self.members, fences=self.world.fences)
        ending = list(reliefs(moment, servers))
        if not found and (self.is_calm or ending or not rules.is_at_rest(moment, self)):
            found = [("time",)]
        if not self.world.has_any_order:
            found = [it for at, it in enumerate(found) if not at or it[0] in _FREE]
        return [*found, *ending]

    def faults(self, moment):
        """What may go wrong now: nothing any more when what has gone wrong is to be over."""
        if moment.now >= self.strikes_end_at:
            return []
        servers = self.table[moment.servers]
        found = faults(moment, servers, self.world)
        return [it for it in found if self._is_possible(moment, it)]

    def _is_possible(self, moment, event):
        return event[0] != "unknown" or moment.cores[self.proposer(event[1])] != 0

    def proposer(self, entry):
        """The member that has proposed an entry."""
        entry_id, _ = self.table[entry]
        return RUN_IDS.index(entry_id.partition(":")[0])

    def apply(self, moment, event, notes=None):
        """The moment that comes of an event; raises Violation. ``notes`` gets what is said."""
        change = Change(self, moment)
        events.happen(change, event)
        if notes is not None:
            notes += change.notes
        self.is_torn = change.torn_by is not None
        return change.end()
