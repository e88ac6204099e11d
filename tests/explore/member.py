"""One step of one real core, with all that is answered to it at once, remembered.

What nobody has to wait for is answered within the step: pings, INFO, a connection to what lives.
All else leaves it as an ``outs`` value, for the world to deliver in any order. A core is pure, so
a step is computed once, and remembered by what went in.
"""

from collections import deque
from typing import NamedTuple

from sentinel_py.core import snapshot
from sentinel_py.core.messages import (
    Answer,
    Ask,
    ChannelMessage,
    Close,
    Level,
    LinkDown,
    LinkUp,
    Notice,
    Open,
    Propose,
    RaftContact,
    Reply,
    Save,
    SaveSoon,
    Send,
    Tell,
    Wake,
)
from sentinel_py.core.model import DataNode, LinkKind, LinkState, Replica
from sentinel_py.raft import reports
from tests.sim.violation import Violation

from . import config, redis
from .redis import ANSWERS, REFUSES

MASTER = "mymaster"
PORT = 26379
SERVERS = 3
MEMBERS = 3
ENDPOINTS = (
    *((redis.host(place), redis.PORT) for place in range(SERVERS)),
    *((f"10.0.1.{number + 1}", PORT) for number in range(MEMBERS)),
)
RUN_IDS = tuple(f"{number + 1}".zfill(40) for number in range(MEMBERS))
PLACES = {endpoint: place for place, endpoint in enumerate(ENDPOINTS)}

_DICE = (0.0, 0.5, 1.0)
"""What a member draws of each range: apart from one another, as it nearly always is."""

_AT_ONCE = {"PING", "INFO", "PUBLISH", "CLIENT SETNAME", "SUBSCRIBE", "AUTH", "SCRIPT"}
_STEPS_MAX = 500

CONTACT_EVERY_MS = 100
"""How often a member asks for proof of contact, or gives it to itself."""

LEASE_MS = 333
"""For how long a proof of contact lets a member leave the master alone: down-after / 3."""


class Outcome(NamedTuple):
    """What a step has made: the core, what each other member was told, and what leaves it."""

    core: int
    told: tuple
    outs: tuple


class Standing(NamedTuple):
    """All that a step hangs on, but the input."""

    core: int
    now: int
    around: int  # the surroundings
    blocked: int  # links on which others wait, by bit
    told: tuple


class Facts(NamedTuple):
    """What a core holds of the one master, as rules look at it."""

    epoch: int
    config_epoch: int
    address: int
    vote: tuple
    applied: int
    made: int  # the state that the log has made, by number
    attempt: int  # the epoch of the failover that it leads, or 0
    leads: bool  # the log, and knows it
    contact_ends_at: int  # when its last proof of contact is too old; 0 if it never had one
    is_busy: bool
    lost: int  # endpoints, by bit


class Surroundings(NamedTuple):
    """What a member meets at the other ends of its links."""

    servers: tuple
    reach: tuple  # by endpoint
    contact: tuple | None  # as `moment.contact` has it


def is_answered_at_once(request):
    """Whether it changes nothing where it goes."""
    word = request.args[0]
    return (f"CLIENT {request.args[1]}" if word == "CLIENT" else word) in _AT_ONCE


def endpoint_of(link):
    """Where a link leads to, by its number."""
    return (link - 1) // 2


def is_channel(link):
    return bool((link - 1) % 2)


class Members:
    """The cores of all members in all worlds."""

    def __init__(self, store, table, *, questions_wait):
        self.store = store
        self.questions_wait = questions_wait
        self.table = table
        self.facts = [None]
        self.wake_at = [0]
        self._outcomes = {}
        self._ends = {}
        self._texts = {}

    def step(self, member, standing, given):
        """Hand an input, by its description, to a member that stands so."""
        key = standing, given
        outcome = self._outcomes.get(key)
        if outcome is None:
            act = _Act(self, member, standing)
            act.begin(standing.core, given)
            outcome = self._outcomes[key] = act.end()
        return outcome

    def frozen(self, core):
        """The number of a core, and its facts beside it."""
        wake_at, facts = core.wake_at, self._facts(core.state)
        ident = self.store.freeze(core)
        if ident == len(self.facts):
            self.facts.append(facts)
            self.wake_at.append(wake_at)
        return ident

    def text_of(self, core):
        """The config file of a core, as a number."""
        disk = self._texts.get(core)
        if disk is None:
            state = self.store.thaw(core).state
            disk = self._texts[core] = self.table.number(config.text_of(state))
        return disk

    def _facts(self, state):
        master = state.masters[MASTER]
        raft = state.raft
        return Facts(
            state.current_epoch,
            master.config_epoch,
            PLACES[master.address.ip, master.address.port],
            (master.leader, master.leader_epoch),
            raft.applied if raft else 0,
            self.table.number(snapshot.dump(state)) if raft else 0,
            master.failover.epoch if master.failover else 0,
            bool(raft and raft.leads),
            raft.contact_at + LEASE_MS if raft and raft.contact_at else 0,
            _is_busy(master),
            _lost(master),
        )

    # Time in which nothing happens

    def quiet_until(self, member, standing, until):
        """When a core's timers next do more than keep links alive, and the core as it is then.

        What is due at ``until`` itself is not done yet. The core is None if the time comes earlier.
        """
        key = standing, until
        found = self._ends.get(key)
        if found is None:
            found = self._ends[key] = self._run_quietly(member, standing, until)
        return found

    def _run_quietly(self, member, standing, until):
        act = _Act(self, member, standing)
        act.thaw(standing.core)
        while (at := act.next_at()) < until:
            act.go_on(at)
            if act.leaves_anything or act.told != standing.told:
                return at, None
        return until, self.frozen(act.core)


def _is_busy(master):
    return bool(master.failover or master.mandate or master.proposed or master.is_odown)


def _lost(master):
    """The endpoints that are down, or not connected, or masters that are to be none, by bit."""
    mask = 0
    for it in master.instances():
        links = it.links() if isinstance(it, DataNode) else [it.command]
        is_lost = it.is_down or not all(link.state is LinkState.UP for link in links)
        if is_lost or (isinstance(it, Replica) and it.demote):
            mask |= 1 << PLACES[it.address.ip, it.address.port]
    return mask


class _Act:
    """One step under way, with the answers that come at once."""

    def __init__(self, members, member, standing):
        self._surroundings = members.table[standing.around]
        self.core = None
        self.now = standing.now
        self.outs = []
        self.told = standing.told
        self._members = members
        self._member = member
        self._servers = self._surroundings.servers
        self._reach = self._surroundings.reach
        self._blocked = standing.blocked
        self._queue = deque()
        self._batches = {}
        self._links = {}
        self._steps = 0
        self._answered = 0  # the link on which the input is an answer

    def begin(self, core, given):
        if given[0] == "start":
            _, disk, boot = given
            lines = self._members.table[disk]
            part = _DICE[self._member]
            self.core = config.started(lines, self.now, part, boot=boot)
            self._carry_out(self.core.start(self.now))
            self.feed()
            return
        self.thaw(core)
        if given[0] == "replies":
            self._answered = given[1]
        if given[0] == "contact":
            self.feed(self._contact())
        else:
            self.feed(*_INPUTS[given[0]](self._members.table, *given[1:]))

    def thaw(self, core):
        self.core = self._members.store.thaw(core, _DICE[self._member])

    def next_at(self):
        """When the core is due next: for a timer, or for its contact."""
        wake_at = max(self.core.wake_at, self.now)
        if self._surroundings.contact is None:
            return wake_at
        return min(wake_at, (self.now // CONTACT_EVERY_MS + 1) * CONTACT_EVERY_MS)

    def go_on(self, at):
        """Do what is due then, and was not before."""
        is_contact = self._surroundings.contact is not None and at > self.now
        self.now = at
        if is_contact and not at % CONTACT_EVERY_MS:
            self.feed(self._contact())
        if self.core.wake_at <= at:
            self.feed(Wake())

    def _contact(self):
        raft, contact = self.core.state.raft, self._surroundings.contact
        heard, is_current = dict(raft.heard_at), True
        if contact[0] == "leads":
            heard |= {RUN_IDS[it]: self.now for it in contact[1]}
        else:
            is_current = contact[1]
        return RaftContact(self.now, tuple(heard.items()), (), is_current)

    @property
    def leaves_anything(self):
        """Whether others can see anything of it; what is sent is put together at the end."""
        return bool(self.outs or self._batches)

    def end(self):
        number = self._members.table.number
        for link, (waits, batch) in self._batches.items():
            self.outs.append(("batch", link, number((waits, tuple(batch)))))
        core = self._members.frozen(self.core)
        return Outcome(core, self.told, tuple(self.outs))

    def feed(self, *events):
        """Have the core take these in, and all that is answered to it at once."""
        self._queue.extend(events)
        self._steps = 0
        self._go_on()

    def _go_on(self):
        while self._queue:
            self._steps += 1
            event = self._queue.popleft()
            if self._steps > _STEPS_MAX:
                raise Violation("a member comes to rest", f"s{self._member + 1} after {event}")
            self._carry_out(self._stepped(event))

    def _stepped(self, event):
        try:
            return self.core.step(self.now, event)
        except Exception as error:
            text = f"s{self._member + 1}, {event}: {error!r}"
            raise Violation("the core raises nothing", text) from error

    # Effects

    def _carry_out(self, effects):
        has_told = False
        for effect in effects:
            match effect:
                case Save():
                    if has_told:
                        self.outs.append(("told-before-save",))
                    disk = self._members.table.number(config.text_of(self.core.state))
                    self.outs.append(("save", disk))
                case SaveSoon():
                    self.outs.append(("save-soon",))
                case Open():
                    self._open(effect)
                case Close():
                    self._close(effect)
                case Send():
                    has_told = True
                    self._send(effect)
                case Notice() if effect.level is Level.WARNING:
                    self._notice(effect)
                case Answer():
                    has_told = True
                    self.outs.append(("answer", effect.ticket, effect.value))
                case Tell():
                    to = RUN_IDS.index(effect.run_id)
                    report = self._members.table.number(reports.encode(effect))
                    self.outs.append(("tell", to, report))
                case Propose():
                    has_told = True
                    entry = self._members.table.number((effect.entry_id, effect.entry))
                    self.outs.append(("propose", entry))

    def _notice(self, notice):
        master = self.core.state.masters[MASTER]
        forced = master.failover is not None and master.failover.forced
        self.outs.append(("notice", notice.name, notice.text, master.leader_epoch, forced))

    def _number(self, raw):
        """A link's number by what it leads to; one that is gone by now was frozen before."""
        link = self.core.state.links.get(raw)
        return self._members.store.link_id(link) if link else raw

    def _open(self, effect):
        endpoint = PLACES[effect.ip, effect.port]
        reach = self._reach[endpoint]
        if reach == ANSWERS:
            self._queue.append(LinkUp(effect.link, ENDPOINTS[SERVERS + self._member][0]))
        elif reach == REFUSES:
            self._queue.append(LinkDown(effect.link, "refused"))

    def _close(self, effect):
        self._queue = deque(it for it in self._queue if getattr(it, "link", 0) != effect.link)
        number = self._number(effect.link)
        self._batches.pop(number, None)
        if self._blocked >> number & 1 or number == self._answered:
            self._blocked &= ~(1 << number)
            self.outs.append(("close", number))

    def _send(self, effect):
        number = self._number(effect.link)
        requests = effect.requests
        waits = any(map(self._takes_time, requests))
        is_blocked = bool(self._blocked >> number & 1)
        if is_blocked or waits or not all(map(is_answered_at_once, requests)):
            requests = self._without_hellos(number, requests)
            waited, batch = self._batches.get(number, (False, ()))
            self._batches[number] = waited or waits, (*batch, *requests)
            self._blocked |= 1 << number
            return
        for request in requests:
            self._answer(effect.link, number, request)

    def _takes_time(self, request):
        """Whether others may come between this request and its answer."""
        if request.ask is Ask.INFO:
            master = self.core.state.masters[MASTER]
            return bool(master.failover or master.is_odown)
        if request.ask is Ask.DOWN:
            return request.args[-1] != "*" or self._members.questions_wait
        return not is_answered_at_once(request)

    def _without_hellos(self, number, requests):
        """A hello finds another way if its link is slow."""
        for request in requests:
            if request.args[0] == "PUBLISH":
                self._publish(number, request.args[2])
        return requests

    def _answer(self, raw, number, request):
        endpoint = endpoint_of(number)
        if self._reach[endpoint] != ANSWERS:
            return
        value = b"OK"
        match request.args[0]:
            case "PING":
                value = b"PONG"
            case "INFO":
                value = redis.info(self._servers, endpoint, self.now)
            case "PUBLISH":
                value = 1
                self._publish(number, request.args[2])
        if not is_channel(number):
            self._queue.append(Reply(raw, request, value))

    def _publish(self, number, payload):
        """A hello goes to a peer, or to all that listen; what they know from us, they keep."""
        endpoint = endpoint_of(number)
        if endpoint >= SERVERS:
            hearers = [endpoint - SERVERS]
        else:
            hearers = [it for it in range(MEMBERS) if it != self._member]
            self._hear_ourselves(endpoint, payload)
        for hearer in hearers:
            if self.told[hearer] != payload and self._reach[SERVERS + hearer] == ANSWERS:
                self.told = (*self.told[:hearer], payload, *self.told[hearer + 1 :])
                self.outs.append(("hello", hearer, payload))

    def _hear_ourselves(self, endpoint, payload):
        for link in self.core.state.links.values():
            is_here = PLACES[link.owners[0].address.ip, link.owners[0].address.port] == endpoint
            if is_here and link.kind is LinkKind.CHANNEL and link.state is LinkState.UP:
                self._queue.append(ChannelMessage(link.id, payload))


def _replies(table, link, batch, values):
    _, requests = table[batch]
    for request, value in zip(requests, table[values], strict=True):
        yield Reply(link, request, list(value) if type(value) is tuple else value)


def _links_down(_table, *links):
    for link in links:
        yield LinkDown(link, "broken")


_INPUTS = {
    "wake": lambda _table: [Wake()],
    "replies": _replies,
    "down": _links_down,
    "events": lambda table, events: table[events],
}
