"""A moment that changes: cores are stepped, and what leaves them is put on its way.

A `Change` is made of one moment, takes one event, and ends as another moment. Each rule is looked
at where it can be broken.
"""

from sentinel_py.core.messages import (
    Committed,
    DirectHello,
    DownQuestion,
    ProposalEnded,
)
from tests.sim.violation import Violation

from . import raft, redis, rules
from .member import (
    ENDPOINTS,
    MEMBERS,
    SERVERS,
    Standing,
    Surroundings,
    endpoint_of,
)
from .moment import Kind, Moment, can_act, contact, hears, is_cut, reach
from .redis import ANSWERS

SAVE_SOON_MS = 500

_DRAINED_MAX = 100
"""More requests in one event than these are asked again and again."""


_OK = b"OK"


class Change:
    """Has the names of `Moment`, with lists and dicts for its tuples."""

    def __init__(self, play, moment):
        self.play = play
        self.table = play.table
        self.members = play.members
        self.now = moment.now
        self.cores = list(moment.cores)
        self.disks = list(moment.disks)
        self.save_at = list(moment.save_at)
        self.servers = play.table[moment.servers]
        self.packets = dict(moment.packets)
        self.told = list(moment.told)
        self.stopped = moment.stopped
        self.cuts = moment.cuts
        self.ticked = moment.ticked
        self.log = moment.log
        self.past = rules.Past(play.table[moment.past])
        self.left = list(moment.left)
        self.notes = []  # what a trace shows
        self.is_torn = False  # a save comes too late
        self.torn_by = None  # who has told something before it was saved
        self._around = {}
        self.closed = set()  # links that members gave up
        self._drained = 0  # requests that were answered at once

    def end(self):
        """The moment that has come of it."""
        return Moment(
            self.now,
            tuple(self.cores),
            tuple(self.disks),
            tuple(self.save_at),
            self.table.number(self.servers),
            tuple(sorted(self.packets.items())),
            tuple(self.told),
            self.stopped,
            self.cuts,
            self.ticked,
            self.log,
            self.table.number(self.past.frozen()),
            tuple(self.left),
        )

    def spend(self, what):
        self.left[what] -= 1

    # Members

    def feed(self, member, *given):
        """Hand an input to a member, and send on their way what it says."""
        before = self.cores[member]
        outcome = self.stepped(member, given)
        self._take(member, outcome)
        rules.check_member(self, member, before)

    def stepped(self, member, given):
        return self.members.step(member, self._standing(member), given)

    def quiet_until(self, member, until):
        """`Members.quiet_until` of a member, as it is now."""
        return self.members.quiet_until(member, self._standing(member), until)

    def _standing(self, member):
        blocked = sum(1 << key[2] for key in self.packets if key[:2] == (Kind.LINK, member))
        return Standing(
            self.cores[member], self.now, self._surroundings(member), blocked, self.told[member]
        )

    def _take(self, member, outcome):
        self.cores[member] = outcome.core
        self.told[member] = outcome.told
        for out in outcome.outs:
            _OUTS[out[0]](self, member, *out[1:])

    def given(self, *events):
        return "events", self.table.number(events)

    def _surroundings(self, member):
        found = self._around.get(member)
        if found is None:
            places = range(len(ENDPOINTS))
            ends = tuple(reach(self, self.servers, member, place) for place in places)
            found = self._around[member] = Surroundings(self.servers, ends, None)
        if self.play.world.fences:
            found = found._replace(contact=contact(self, member, self.members.facts))
        return self.table.number(found)

    def moved(self):
        """Book that servers or members are not where they were."""
        self._around.clear()

    def can_act(self, member):
        return can_act(self, member)

    def hears(self, member, other):
        return hears(self, member, other)

    # What leaves a member

    def settle_disk(self, member):
        """Write what was to be written soon, and is by now."""
        if 0 < self.save_at[member] <= self.now and self.can_act(member):
            self.disks[member] = self.members.text_of(self.cores[member])
            self.save_at[member] = 0

    def _save(self, member, disk):
        if self.is_torn and self.torn_by == member:
            return
        self.disks[member] = disk
        self.save_at[member] = 0

    def _save_soon(self, member):
        if not self.save_at[member]:
            self.save_at[member] = self.now + SAVE_SOON_MS

    def _batch(self, member, link, batch):
        waits, sent = self.table[batch]
        rules.check_orders(self, member, link, sent)
        requests, replies, late = self.packets.get((Kind.LINK, member, link), ((), (), 0))
        self.packets[Kind.LINK, member, link] = (*requests, batch), replies, late
        if not waits:
            self.drain(member, link)

    def _closed(self, member, link):
        self.closed.add((member, link))
        self.packets.pop((Kind.LINK, member, link), None)

    def _hello(self, member, hearer, payload):
        key = Kind.HELLO, hearer, member, self.table.number(payload)
        if self.play.world.hellos_wait:
            self.packets.setdefault(key, (0,))
        elif self.can_act(hearer) and self.play.is_calm:
            self.feed(hearer, *self.given(DirectHello(payload)))

    def _tell(self, member, to, report):
        if self.cores[to] and not is_cut(self.cuts, SERVERS + member, SERVERS + to):
            said, late = self.packets.get((Kind.TELL, to, member), ((), 0))
            self.packets[Kind.TELL, to, member] = (*said, report), late

    def _notice(self, member, name, text, epoch, forced):
        self.notes.append(f"{rules.name(SERVERS + member)} {name} {text}")
        rules.check_notice(self, member, name, text, epoch, forced)

    def _propose(self, member, entry):
        log = self.log
        if log.leader == member:
            self.log = log._replace(entries=(*log.entries, entry))
        elif log.leader == raft.NOBODY:
            self.packets[Kind.ENDED, member, entry] = 1, 0
        else:
            entries, late = self.packets.get((Kind.PROPOSAL, member), ((), 0))
            self.packets[Kind.PROPOSAL, member] = (*entries, entry), late

    def _answer(self, member, ticket, value):
        """An operator's order was answered; questions are read by who asks them."""

    def _told_before_save(self, member):
        self.torn_by = member

    # Links

    def carry_out(self, member, link):
        """Have the first requests on a link carried out at its other end."""
        key = Kind.LINK, member, link
        requests, replies, late = self.packets[key]
        _, batch = self.table[requests[0]]
        endpoint = endpoint_of(link)
        values = self.obey(endpoint, member, batch)
        if key in self.packets:  # what it does may have closed the link
            answer = self.table.number((requests[0], values))
            self.packets[key] = requests[1:], (*replies, answer), late

    def obey(self, endpoint, sender, batch):
        """Have a server or a member carry out requests; returns its answers.

        The sender is None if it has died since.
        """
        if endpoint < SERVERS:
            return self._order(endpoint, batch, sender)
        return tuple(self._ask(endpoint - SERVERS, sender, it) for it in batch)

    def _order(self, place, batch, sender):
        queued = None
        values = []
        for request in batch:
            words = request.args
            if words[0] == "MULTI":
                queued = []
                values.append(_OK)
            elif words[0] == "EXEC":
                values.append(tuple(self._obey(place, it, sender) for it in queued))
                queued = None
            elif queued is not None:
                queued.append(words)
                values.append(b"QUEUED")
            else:
                values.append(self._obey(place, words, sender))
        self.moved()
        return tuple(values)

    def _obey(self, place, words, sender):
        match words:
            case ["PING"]:
                return b"PONG"
            case ["INFO", *_]:
                return redis.info(self.servers, place, self.now)
            case ["PUBLISH", *_]:
                return 1
            case ["SLAVEOF", "NO", "ONE"]:
                if self.play.world.fences and self.servers[place].follows != redis.NOBODY:
                    rules.check_writes(self, place)
                self.servers = redis.follow(self.servers, place, redis.NOBODY, self.now)
            case ["SLAVEOF", host, port]:
                master = ENDPOINTS.index((host, int(port)))
                self.servers = redis.follow(self.servers, place, master, self.now)
            case ["CLIENT", "PAUSE", ms, _]:
                self.servers = redis.pause(self.servers, place, self.now + int(ms))
            case ["CLIENT", "UNPAUSE"]:
                self.servers = redis.pause(self.servers, place, 0)
            case ["CLIENT", "KILL", "TYPE", kind]:
                self._kick(place, sender, is_all=kind == "normal")
        return _OK

    def _kick(self, place, sender, *, is_all):
        for member in range(MEMBERS):
            if self.cores[member] and not (member == sender and is_all):
                self.packets[Kind.GONE, member, place] = (0,)

    def _ask(self, member, sender, request):
        """A member's answer to another one's request."""
        match request.args:
            case ["PING"]:
                return b"PONG"
            case ["PUBLISH", *_]:
                return 1
            case ["SENTINEL", "is-master-down-by-addr", host, port, epoch, candidate]:
                question = DownQuestion(1, host, int(port), int(epoch), candidate)
                return self._answered(member, sender, question)
        return _OK

    def _answered(self, member, sender, question):
        before = self.cores[member]
        outcome = self.stepped(member, self.given(question))
        self._take(member, outcome)
        rules.check_member(self, member, before)
        (answer,) = (out[2] for out in outcome.outs if out[0] == "answer")
        rules.check_vote(self, member, answer, question)
        return int(answer.down), (answer.leader or "*").encode(), answer.epoch

    def reply(self, member, link):
        key = Kind.LINK, member, link
        requests, replies, late = self.packets[key]
        batch, values = self.table[replies[0]]
        if requests or replies[1:] or late:
            self.packets[key] = requests, replies[1:], late
        else:
            del self.packets[key]
        self.feed(member, "replies", link, batch, self.table.number(values))
        sent, _, _ = self.packets.get(key, ((), (), 0))
        if batch in sent[len(requests) :] and (member, link) not in self.closed:
            rules.refuse_haste(self, member, link, batch)

    def drain(self, member, link):
        """Answer at once what nobody waits for, as soon as nothing is before it."""
        key = Kind.LINK, member, link
        while key in self.packets:
            requests, replies, late = self.packets[key]
            if late or replies or not requests or not self.cores[member]:
                return
            if reach(self, self.servers, member, endpoint_of(link)) != ANSWERS:
                return
            waits, _ = self.table[requests[0]]
            if waits:
                return
            self._drained += 1
            if self._drained > _DRAINED_MAX:
                raise Violation("a member comes to rest", f"{rules.name(SERVERS + member)} asks on")
            self.carry_out(member, link)
            self.reply(member, link)

    def break_links(self, member, endpoint, *, both=True):
        """Tell a member that its connections to there are gone, with all that was on them."""
        first = 1 + 2 * endpoint
        links = [first, first + 1] if endpoint < SERVERS and both else [first]
        for link in links:
            self.packets.pop((Kind.LINK, member, link), None)
        self.feed(member, "down", *links)

    # The log

    def apply(self, member):
        """Hand a member the next committed entry."""
        log = self.log
        index = log.applied[member]
        entry_id, entry = self.table[log.entries[index]]
        self.log = log._replace(applied=raft.replaced(log.applied, member, index + 1))
        self.feed(member, *self.given(Committed(index + 1, entry_id, entry)))
        rules.check_log(self, member)

    def take_proposal(self, member):
        """A member's proposal arrives where it takes the leader to be."""
        key = Kind.PROPOSAL, member
        (entry, *others), late = self.packets[key]
        if others or late:
            self.packets[key] = tuple(others), late
        else:
            del self.packets[key]
        if self.log.leader == raft.NOBODY:
            self.packets[Kind.ENDED, member, entry] = 0, 0
        else:
            self.log = self.log._replace(entries=(*self.log.entries, entry))

    def end_proposal(self, member, entry, *, certain):
        entry_id = self.table[entry][0]
        self.feed(member, *self.given(ProposalEnded(entry_id, certain=certain)))


_OUTS = {
    "save": Change._save,
    "save-soon": Change._save_soon,
    "batch": Change._batch,
    "close": Change._closed,
    "hello": Change._hello,
    "notice": Change._notice,
    "tell": Change._tell,
    "propose": Change._propose,
    "answer": Change._answer,
    "told-before-save": Change._told_before_save,
}
