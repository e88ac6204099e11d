"""Properties of several cores together, in seeded worlds with faults.

``WORLD_SEEDS=1000-2000 pytest tests/core/test_world.py`` tries other seeds, and
``pytest 'tests/core/test_world.py::test_storm[7]'`` repeats one.
"""

import os
from collections import Counter, defaultdict
from random import Random

import pytest

from sentinel_py.core import identity
from sentinel_py.core.messages import Answer, Ask, DownAnswer, FailOver, Notice, Save, Send

from .world import World

STORM_MS = 15_000

AGREEMENT_MS = 90_000
"""TILT ends, every wait of an election (2 x failover-timeout) occurs once, some attempts fail."""

SETTLED_MS = 8_000
"""Agreement must last that long; replicas astray are only put right after failover-timeout."""


def seeds(first, last):
    text = os.environ.get("WORLD_SEEDS")
    return range(*map(int, text.split("-"))) if text else range(first, last)


class Votes:
    """One vote per voter, master and epoch, never back; one elected leader per master and epoch."""

    def __init__(self, world):
        self.votes = {}
        self.latest = defaultdict(int)
        self.leaders = {}
        world.watches.append(self.watch)

    def watch(self, host, event, effects):
        for effect in effects:
            match effect:
                case Answer(value=DownAnswer(leader=str() as leader, epoch=epoch)):
                    masters = host.core.state.masters.values()
                    [name] = [m.name for m in masters if m.address.port == event.port]
                    self.voted(host, name, epoch, leader)
                case Send(requests=[request]) if request.ask is Ask.DOWN:
                    *_, epoch, candidate = request.args
                    if candidate != "*":
                        self.voted(host, request.master, int(epoch), candidate)
                case Notice(name="+elected-leader") if not isinstance(event, FailOver):
                    self.elected(host, effect.text.split()[1])

    def voted(self, host, master, epoch, leader):
        assert self.votes.setdefault((host.ip, master, epoch), leader) == leader, "voted twice"
        assert epoch >= self.latest[host.ip, master], "voted in an epoch that was over"
        self.latest[host.ip, master] = epoch

    def elected(self, host, master):
        epoch = host.core.state.masters[master].leader_epoch
        assert self.leaders.setdefault((master, epoch), host) is host, "two leaders in one epoch"


def saves_first(_host, _event, effects):
    saves = [at for at, effect in enumerate(effects) if isinstance(effect, Save)]
    assert saves in ([], [0]), "something left before the state was saved"


def nobody_follows_itself(world):
    """No order to follow leads a server to itself, whichever of its addresses is named."""

    def watch(host, _event, effects):
        for effect in effects:
            if not isinstance(effect, Send) or effect.link not in host.links:
                continue
            told = host.links[effect.link].target
            for request in effect.requests:
                if (target := followed(request.args)) is not None:
                    server = world.hosts.get(target)
                    assert server is not told, f"{told.ip} is to follow itself at {target}"

    world.watches.append(watch)


def followed(words):
    """The address that a command has its server follow, at once or in the end."""
    match words:
        case ["SLAVEOF", "NO", "ONE"]:
            return None
        case ["SLAVEOF", ip, port] | ["FAILOVER", "TO", ip, port, *_]:
            return ip, int(port)
    return None


class Storm:
    """Faults at random times; which kinds there are is drawn from the seed, too."""

    def __init__(self, world, seed):
        self.world = world
        self.rng = Random(f"storm {seed}")
        kinds = [
            self.crash_redis,
            self.crash_sentinel,
            self.hang,
            self.isolate,
            self.cut_pair,
            self.reset,
            self.slow,
            self.announce,
            self.lose_machine,
            self.forced,
        ]
        self.kinds = self.rng.sample(kinds, self.rng.randint(1, 5))
        world.crash_in_step = self.rng.choice([0, 0, 0.0005])

    def blow(self, duration_ms):
        end = self.world.now + duration_ms
        while self.world.now < end:
            self.rng.choice(self.kinds)()
            self.world.run(self.rng.choice([1, 10, 100, 1000, 3000]))

    def crash_redis(self):
        self.fell(self.rng.choice(self.world.redises))

    def crash_sentinel(self):
        self.fell(self.rng.choice(self.world.sentinels))

    def fell(self, host):
        if host.is_up:
            self.world.crash(host)
        after_ms = self.rng.choice([10, 500, 4000, 12000])
        self.world.at(self.world.now + after_ms, lambda: self.world.restart(host))

    def lose_machine(self):
        """One node of each group dies in the same moment."""
        ip = self.rng.choice(self.world.redises).ip
        for host in self.world.redises:
            if host.ip == ip:
                self.fell(host)

    def hang(self):
        host = self.rng.choice(list(self.world.hosts.values()))
        host.hangs = host.is_up and not host.hangs

    def isolate(self):
        host = self.rng.choice(list(self.world.hosts.values()))
        self.world.heal()
        for other in self.world.hosts.values():
            self.world.cut(host, other)

    def cut_pair(self):
        one, other = self.rng.sample(list(self.world.hosts.values()), 2)
        self.world.cut(one, other)

    def reset(self):
        self.world.reset_connection()

    def slow(self):
        self.world.delay_ms = self.rng.choice([(0, 2), (1, 40), (0, 400)])

    def announce(self):
        """A replica is known to its master by an address in the second network, or by its own."""
        redis = self.rng.choice(self.world.redises).redis
        redis.told = self.rng.choice([None, redis.others[0]])

    def forced(self):
        host = self.rng.choice(self.world.sentinels)
        group = self.rng.choice(list(self.world.groups))
        self.world.order(host, FailOver(1, group, coordinated=self.rng.random() < 0.5))

    def end(self):
        """Everything works again, and stays so."""
        self.world.crash_in_step = 0.0
        self.world.delay_ms = 0, 2
        self.world.heal()
        for host in self.world.hosts.values():
            host.hangs = False
            self.world.restart(host)


@pytest.mark.parametrize("seed", seeds(0, 12))
def test_storm(seed):
    """Votes are never taken back, no epoch has two leaders, and after the storm all agree."""
    rng = Random(f"layout {seed}")
    world = World(seed, sentinels=rng.choice([3, 3, 5]), groups=rng.choice([1, 1, 2]))
    world.options.quorum = rng.choice([1, 2, 2])
    Votes(world)
    world.watches.append(saves_first)
    nobody_follows_itself(world)
    world.run(3_000)
    storm = Storm(world, seed)
    storm.blow(STORM_MS)
    storm.end()
    heals_by = world.now + AGREEMENT_MS
    whole_since = None
    while whole_since is None or world.now < whole_since + SETTLED_MS:
        assert world.now < heals_by, f"seed {seed}: no agreement"
        world.run(500)
        is_whole = all(map(world.is_whole, world.groups))
        whole_since = (whole_since or world.now) if is_whole else None


@pytest.mark.parametrize("seed", seeds(0, 4))
def test_two_orders_at_once(seed):
    """Two operators order failovers that end in different masters: all agree on one of them."""
    world = World(seed)
    one, two, _ = world.sentinels
    _, second, third = world.redises
    world.run(5_000)
    world.cut(one, third)
    world.cut(two, second)
    world.run(3_000)
    world.delay_ms = 5, 60
    world.order(one, FailOver(1, "group0"))
    world.order(two, FailOver(2, "group0"))
    world.run(400)
    world.heal()
    world.run(30_000)
    assert world.is_whole("group0")


@pytest.mark.parametrize("seed", seeds(0, 5))
def test_calm_failover(seed):
    """In a calm network all have the new master within 100 ms after down-after."""
    world = World(seed)
    Votes(world)
    world.watches.append(saves_first)
    world.run(5_000)
    old = world.agreed_master("group0")
    world.crash(world.hosts[old.host, old.port])
    world.run(world.options.down_after_ms + 100)
    new = world.agreed_master("group0")
    assert new not in (None, old)
    assert world.hosts[new.host, new.port].redis.follows is None


@pytest.mark.parametrize("seed", seeds(0, 5))
def test_many_masters_die_at_once(seed):
    """The sentinels share the work: each stands first for some, and hardly any vote is split."""
    world = World(seed, redises=2, groups=24)
    Votes(world)
    notices = Counter()
    world.watches.append(lambda host, _event, effects: notices.update(told(host, effects)))
    world.run(8_000)
    world.delay_ms = 1, 8
    for first, _ in world.groups.values():
        world.crash(first)
    world.run(world.options.down_after_ms + 1_000)
    for name, (_, second) in world.groups.items():
        assert world.agreed_master(name) == second.address
    assert all(notices[host.ip, "+elected-leader"] >= 4 for host in world.sentinels)
    assert sum(notices[host.ip, "-failover-abort-not-elected"] for host in world.sentinels) <= 2


def told(host, effects):
    return [(host.ip, effect.name) for effect in effects if isinstance(effect, Notice)]


def misdirected(seed):
    """A group whose replicas announce each other's addresses, and the master's, for a while."""
    rng = Random(f"misdirected {seed}")
    world = World(seed)
    nobody_follows_itself(world)
    servers = [host.redis for host in world.redises]
    places = [place for it in servers for place in (it.endpoint, *it.others)]
    for _ in range(12):
        rng.choice(world.redises).redis.told = rng.choice([None, *places])
        world.run(rng.choice([500, 3_000]))
        if rng.random() < 0.4:
            world.order(rng.choice(world.sentinels), FailOver(1, "group0", rng.random() < 0.3))
    for host in world.redises:
        host.redis.told = None
    world.run(30_000)
    return world


@pytest.mark.parametrize("seed", seeds(0, 8))
def test_wrong_addresses_lead_nobody_to_itself(seed):
    """Whatever is announced, nobody is told to follow itself, and there is a master in the end."""
    world = misdirected(seed)
    address = world.agreed_master("group0")
    assert world.hosts[address.host, address.port].redis.follows is None


@pytest.mark.parametrize("seed", seeds(0, 4))
def test_the_guard_needs_no_help(seed, monkeypatch):
    """Rows of one server are dropped as soon as they are seen; until then the guard alone holds."""
    monkeypatch.setattr(identity, "twins", lambda _node: [])
    misdirected(seed)


def test_without_the_guard_servers_follow_themselves(monkeypatch):
    """The worlds above would find it."""
    monkeypatch.setattr(identity, "twins", lambda _node: [])
    monkeypatch.setattr(identity, "are_two", lambda _node, _target: True)
    with pytest.raises(AssertionError, match="is to follow itself"):
        list(map(misdirected, range(5)))


def takes_data(world, told, order):
    """Whether a server loses by this order what nobody else has.

    A stranger that came to the master's address had his data copied by its replicas, since that is
    what Redis does; when it is replaced, it is a former master like any other.
    """
    _, host, port = order
    if host == "NO":
        return True
    new = world.hosts[host, int(port)].redis
    return told.redis.replid not in (new.replid, new.replid2)


def strangers_are_left_alone(world):
    """Nobody tells a server anything that is somebody else's; not even to be a master."""

    def watch(host, _event, effects):
        for effect in effects:
            if isinstance(effect, Send) and effect.link in host.links:
                told = host.links[effect.link].target
                orders = [it.args for it in effect.requests if it.args[0] == "SLAVEOF"]
                if told in world.strangers:
                    assert not any(takes_data(world, told, it) for it in orders), (
                        f"a stranger is told {orders}"
                    )

    world.watches.append(watch)


def invaded(seed):
    """Servers end, and strangers come to some of their addresses, those of masters among them."""
    rng = Random(f"invaded {seed}")
    world = World(seed, redises=4)
    world.give_histories(keys=10)
    strangers_are_left_alone(world)
    nobody_follows_itself(world)
    world.run(5_000)
    for _ in range(6):
        ours = [host for host in world.redises if host not in world.strangers]
        if len(ours) < 3:
            break
        host = rng.choice(ours)
        world.crash(host)
        world.run(rng.choice([300, 2_000, 6_000]))
        if rng.random() < 0.4:
            world.give_away(host)
        world.restart(host)
        world.run(rng.choice([100, 3_000, 12_000]))
        if rng.random() < 0.3:
            world.order(rng.choice(world.sentinels), FailOver(1, "group0"))
    world.run(60_000)
    return world


@pytest.mark.parametrize("seed", seeds(0, 10))
def test_strangers_at_addresses_of_the_group(seed):
    """They keep their data; those of the group agree on a master, and follow it."""
    world = invaded(seed)
    address = world.agreed_master("group0")
    master = world.hosts[address.host, address.port]
    ours = [host for host in world.redises if host not in world.strangers]
    assert master.redis.follows is None
    if master in ours:
        assert all(it is master or master.redis.is_at(it.redis.follows) for it in ours)


def test_without_the_guard_strangers_are_told(monkeypatch):
    """The worlds above would find it."""
    monkeypatch.setattr(identity, "why_foreign", lambda _state, _replica, _now: "")
    with pytest.raises(AssertionError, match="a stranger is told"):
        list(map(invaded, range(5)))
