"""A small world's rules of play: what may happen in it, and what comes of each event."""

from sentinel_py.core.messages import DirectHello, FailOver

from . import raft, redis, rules
from .change import CHUNK_MS, HELLO_AGAIN_MS, Change
from .member import ENDPOINTS, MASTER, MEMBERS, RUN_IDS, SERVERS, Members, endpoint_of
from .store import Store
from .table import Table
from .world import Kind, Left, World, faults, running

BEGINS_AT = 1_000_000


class Scene:
    """All worlds that can come of one set-up. The worlds are values, what they name is here."""

    def __init__(self, setup):
        self.setup = setup
        self.table = Table()
        self.store = Store(ENDPOINTS)
        self.members = Members(self.store, self.table, asks_slowly=setup.asks_slowly)
        self.is_begun = False
        self.made = {}  # by the entries of a log, the state that they make
        self.heal_at = self.ends_at = 2**60

    def begin(self):
        """The world in which all have found one another, and nothing has happened yet."""
        self.is_begun = False
        blank = World(
            BEGINS_AT,
            cores=(0,) * MEMBERS,
            disks=tuple(map(self.table.number, self.setup.config_files())),
            save_at=(0,) * MEMBERS,
            servers=self.table.number(redis.begin(SERVERS)),
            packets=(),
            told=(("",) * MEMBERS,) * MEMBERS,
            stopped=0,
            island=0,
            log=raft.begin(MEMBERS) if self.setup.is_raft else None,
            past=self.table.number(()),
            left=(0,) * len(Left),
        )
        change = Change(self, blank)
        for member in range(MEMBERS):
            start(change, member)
        world = change.end()
        self.ends_at = BEGINS_AT + self.setup.calm_ms
        while world.now < self.ends_at:
            servers = self.table[world.servers]
            going_on = running(world, servers, self.members.wake_at)
            world = self.apply(world, going_on[0] if going_on else ("time",))
        self.is_begun = True
        left = [0] * len(Left)
        for what, count in self.setup.left.items():
            left[what] = count
        self.heal_at = world.now + self.setup.heal_ms
        self.ends_at = world.now + self.setup.lasts_ms
        for label in self.setup.opening:
            world = self.apply(world, label)
        return world._replace(left=tuple(left))

    def labels(self, world):
        """All that may happen next; what would without any fault comes first."""
        servers = self.table[world.servers]
        found = running(world, servers, self.members.wake_at)
        if world.now >= self.ends_at:
            return []
        if not found and not rules.is_at_rest(world, self):
            found = [("time",)]
        if not self.setup.any_order:
            found = [it for at, it in enumerate(found) if not at or it[0] in _CHOICES]
        return found + [it for it in faults(world, servers) if self.is_possible(it)]

    def is_possible(self, label):
        if label[0] == "unknown":
            _, member, entry = label
            return self.proposer(entry) == member
        return label[0] not in ("die", "revive") or self.setup.concerns(*label)

    def proposer(self, entry):
        return RUN_IDS.index(self.table[entry][0].partition(":")[0])

    def apply(self, world, label, notes=None):
        """The world that an event makes of this one; raises Violation."""
        change = Change(self, world)
        _EVENTS[label[0]](change, *label[1:])
        if notes is not None:
            notes += change.notes
        self.torn_by = change.torn_by
        return change.end()

_CHOICES = {"wake", "elect"}
"""Of what is equally due, any may come first, at no cost."""


# Events ------------------------------------------------------------------------------------------


def start(change, member):
    """A process begins with what its disk has."""
    boot = ""
    log = change.log
    if log is not None:
        boot = f"b{log.lives[member]}"
    change.cores[member] = 0
    change.told[member] = ("",) * MEMBERS
    change.moved()
    change.feed(member, "start", change.disks[member], boot)
    if log is not None:
        applied = change.members.facts[change.cores[member]].applied
        change.log = change.log._replace(
            lives=raft.replaced(log.lives, member, log.lives[member] + 1),
            applied=raft.replaced(log.applied, member, applied),
            seen=raft.replaced(log.seen, member, ()),
        )


def _deliver(change, key):
    match key[0]:
        case Kind.LINK:
            _, member, link = key
            if change.packets[key][1]:
                change.reply(member, link)
            else:
                change.carry_out(member, link)
            change.drain(member, link)
        case Kind.PROPOSAL:
            change.take_proposal(key[1])
        case Kind.ENDED:
            certain, _ = change.packets.pop(key)
            change.end_proposal(key[1], key[2], certain=bool(certain))
        case Kind.HELLO:
            del change.packets[key]
            _, hearer, _, payload = key
            change.feed(hearer, *change.happen(DirectHello(change.table[payload])))
        case Kind.ORPHAN:
            (batch, *others), late = change.packets[key]
            if others:
                change.packets[key] = tuple(others), late
            else:
                del change.packets[key]
            change.order(endpoint_of(key[2]), change.table[batch], None)
        case Kind.KICK:
            del change.packets[key]
            change.break_links(key[1], key[2])


def _wake(change, member):
    change.feed(member, "wake")


def _late(change, key):
    change.spend(Left.LATE)
    content = change.packets[key]
    change.packets[key] = (*content[:-1], 1)


def _release(change, key):
    content = change.packets[key]
    change.packets[key] = (*content[:-1], 0)
    if content[0] or key[0] != Kind.LINK or content[1]:
        _deliver(change, key)
    else:
        del change.packets[key]


def _lose(change, key):
    change.spend(Left.LOSS)
    if key[0] == Kind.LINK:
        change.break_links(key[1], endpoint_of(key[2]), both=False)
    else:
        del change.packets[key]


def _crash(change, member):
    change.spend(Left.CRASH)
    crash(change, member)


def crash(change, member):
    """A process is gone, with all that was on its way to it."""
    change.settle_disk(member, change.cores[member])
    change.cores[member] = 0
    change.stopped &= ~(1 << member)
    change.save_at[member] = 0
    for key in list(change.packets):
        if key[1] == member and key[0] != Kind.ORPHAN:
            del change.packets[key]
    for other in range(MEMBERS):
        row = change.told[other]
        change.told[other] = raft.replaced(row, member, "")
    _unseat(change, member)
    change.moved()
    _disconnect(change, SERVERS + member)


def _disconnect(change, endpoint):
    """Tell all that their connections to what has died are gone; who stands still, hears later."""
    for member in range(MEMBERS):
        if change.can_act(member):
            change.break_links(member, endpoint)
        elif change.cores[member]:
            change.packets[Kind.KICK, member, endpoint] = (0,)


def _crash_leaving_orders(change, member):
    """Its kernel still sends what the process has written."""
    for key, content in list(change.packets.items()):
        if key[:2] == (Kind.LINK, member) and endpoint_of(key[2]) < SERVERS and content[0]:
            change.packets[Kind.ORPHAN, member, key[2]] = content[0], 0
    _crash(change, member)


def _stop(change, member):
    """A process stands still; a Raft leader that does has no lease soon."""
    change.spend(Left.STOP)
    change.stopped |= 1 << member
    _unseat(change, member)
    change.moved()


def _continue(change, member):
    change.stopped &= ~(1 << member)
    change.moved()


def _unseat(change, member):
    if change.log is not None and change.log.leader == member:
        change.log = change.log._replace(leader=raft.NOBODY, has_lease=False)


def _depose(change, _member):
    change.spend(Left.MOVE)
    change.log = change.log._replace(has_lease=False)


def _unknown(change, member, entry):
    change.spend(Left.UNKNOWN)
    change.packets[Kind.ENDED, member, entry] = 0, 0


def _order(change, member):
    change.spend(Left.ORDER)
    change.feed(member, *change.happen(FailOver(1, MASTER)))


def _island(change, member, place):
    change.spend(Left.ISLAND)
    change.island = 1 << SERVERS + member | 1 << place
    _unseat(change, member)
    change.moved()


def _heal(change):
    change.island = 0
    change.moved()


def _torn(change, *label):
    """A process dies between what it says and the save that belongs before it."""
    change.is_torn = True
    _EVENTS[label[0]](change, *label[1:])
    _crash(change, change.torn_by)


def _restart(change, member):
    change.spend(Left.RESTART)
    start(change, member)


def _die(change, place):
    change.spend(Left.DIE)
    change.servers = redis.die(change.servers, place, redis.REFUSES, change.now)
    change.moved()
    for key in list(change.packets):
        if key[0] == Kind.KICK and key[2] == place:
            del change.packets[key]
    _disconnect(change, place)


def _revive(change, place):
    change.spend(Left.REVIVE)
    change.servers = redis.start(change.servers, place, change.now)
    change.moved()


def _commit(change):
    change.commit()


def _apply(change, member):
    change.apply(member)


def _view(change, member):
    change.look(member)


def _elect(change, member, kept):
    change.elect(member, kept)


def _time(change):
    """Let time go on until something happens that others can see."""
    scene = change.scene
    chunk = CHUNK_MS
    while True:
        ends = [it for it in (scene.heal_at, scene.ends_at) if it > change.now]
        until = min(change.now + chunk, *ends)
        until = _run(change, until)
        chunk *= 2
        is_due = _wake_quietly(change)
        if is_due or change.packets or until in ends:
            break
    if change.now == scene.heal_at:
        _heal_all(change)


def _run(change, until):
    """Have all members' timers ring up to then, or until one of them does something."""
    members = [it for it in range(MEMBERS) if change.can_act(it)]
    goal = until
    for member in members:
        goal = min(goal, _quiet(change, member, goal)[0])
    for member in members:
        at, core = _quiet(change, member, goal)
        assert at == goal, "what was quiet is not"
        change.cores[member] = core
    before, change.now = change.now, goal
    if before // HELLO_AGAIN_MS != goal // HELLO_AGAIN_MS:
        _repeat_hellos(change)
    return goal


def _quiet(change, member, until):
    return change.members.quiet_until(
        member,
        change.cores[member],
        change.now,
        until,
        change.surroundings(member),
        change.blocked(member),
        change.told[member],
    )


def _repeat_hellos(change):
    for sender in range(MEMBERS) if change.log is None else ():
        for hearer in range(MEMBERS):
            payload = change.told[sender][hearer]
            if payload and change.can_act(hearer) and change.can_act(sender):
                change.feed(hearer, *change.happen(DirectHello(payload)))


def _wake_quietly(change):
    """Wake those whose timers do nothing that others can see; whether any others are due."""
    is_due = False
    for member in range(MEMBERS):
        core = change.cores[member]
        if change.can_act(member) and change.members.wake_at[core] <= change.now:
            outcome = change._stepped(member, ("wake",))
            if outcome.outs or outcome.told != change.told[member]:
                is_due = True
            else:
                change.cores[member] = outcome.core
    return is_due


def _heal_all(change):
    change.stopped = change.island = 0
    change.moved()
    for key, content in list(change.packets.items()):
        change.packets[key] = (*content[:-1], 0)


_EVENTS = {
    "deliver": _deliver,
    "wake": _wake,
    "late": _late,
    "release": _release,
    "lose": _lose,
    "crash": _crash,
    "crash, orders under way": _crash_leaving_orders,
    "stop": _stop,
    "continue": _continue,
    "depose": _depose,
    "unknown": _unknown,
    "order": _order,
    "island": _island,
    "heal": _heal,
    "torn": _torn,
    "restart": _restart,
    "die": _die,
    "revive": _revive,
    "commit": _commit,
    "apply": _apply,
    "view": _view,
    "elect": _elect,
    "time": _time,
}
