"""What goes wrong: a `Stage` carries a plan out on a cluster, each kind of action by a function.

The rule it guards: after `heal` nothing is wrong any more but what the cluster has to repair.
"""

from collections.abc import Callable

from . import plan as plans
from .checkers import IS_WATCHED
from .clients import Operator
from .cluster import MASTER_NAME, Cluster
from .net import USUAL_DELAY_US
from .strangers import FORGERIES, Strangers

STRAYS_PERIOD_US = 3_000_000

GHOST = "ghost"
"""The name of a second master, whose address nobody has."""


def make_plan(seed, wanted=None):
    """The plan of a seed, with the kinds of faults that there are."""
    return plans.make_plan(seed, tuple(KINDS), tuple(FORGERIES), wanted)


class Stage:
    """A cluster while a plan is carried out on it."""

    def __init__(self, world, checkers, plan):
        self.world = world
        self.cluster = Cluster(world, plan.layout, checkers)
        checkers.cluster = self.cluster
        self.operator = Operator(world, checkers)
        self.strangers = Strangers(world, self.cluster, self.operator)
        self.actor = self.cluster.sentinels[0]  # who gave the last notice that an action awaited
        self._awaited = [action for action in plan.actions if action.moment]
        self._timed = [action for action in plan.actions if not action.moment]
        self._seen = {}
        self._undo = {}
        self._is_healed = False
        self.was_reset = False
        world.network.splits = plan.splits
        checkers.listeners.append(self._noticed)

    def begin(self):
        """Start the clock of the plan."""
        self._seen.clear()
        for action in self._timed:
            self.world.scheduler.after(action.at_ms * 1000, self._act, action)

    def heal(self):
        self._is_healed = True
        if self.was_reset:
            self._attach_strays()
        undo, self._undo = self._undo, {}
        for restore in undo.values():
            restore()
        self.world.log("sim", "all is healed")

    def _attach_strays(self):
        """Have servers that a RESET made all sentinels forget be what they were again.

        With the original, too, operators have to do that: only the master's INFO tells of them.
        """
        master = self.cluster.believed_master()
        if self.cluster.is_misplaced(master):
            self.operator.order(master, "SLAVEOF", "NO", "ONE")
        for redis in self.cluster.strays(master):
            self.operator.order(redis, "SLAVEOF", *map(str, master.address))
        self.world.scheduler.after(STRAYS_PERIOD_US, self._attach_strays)

    def _noticed(self, life, name):
        self._seen[name] = count = self._seen.get(name, 0) + 1
        for action in self._awaited:
            if action.moment == name and action.count == count:
                self.world.scheduler.after(action.at_ms * 1000, self._act_on, life.machine, action)

    def _act_on(self, actor, action):
        self.actor = actor
        self._act(action)

    def _act(self, action):
        if self._is_healed:
            return
        self.world.log("sim", f"{action.kind} {action.amount:.2f} for {action.lasts_ms} ms")
        if restore := (KINDS | FORGERIES)[action.kind](self, action):
            self._undo[action] = restore
            self.world.scheduler.after(action.lasts_ms * 1000, self._restore, action)

    def _restore(self, action):
        if restore := self._undo.pop(action, None):
            self.world.log("sim", f"{action.kind} is over")
            restore()

    # Whom it hits

    def sentinel(self, action):
        """The one who acts, half of the time."""
        sentinels = self.cluster.sentinels
        return self.actor if action.target % 2 else sentinels[action.target // 2 % len(sentinels)]

    def own(self, action):
        """The same, of those that are the product."""
        ours = self.cluster.ours
        is_ours = action.target % 2 and self.actor in ours
        return self.actor if is_ours else ours[action.target // 2 % len(ours)]

    def redis(self, action):
        """The master, half of the time."""
        redises = self.cluster.redises
        if action.target % 2:
            return self.cluster.believed_master()
        return redises[action.target // 2 % len(redises)]

    def replica(self, action):
        master = self.cluster.believed_master()
        replicas = [redis for redis in self.cluster.redises if redis is not master]
        return replicas[action.target % len(replicas)]

    def hosts(self):
        return [*(it.host for it in self.cluster.machines), "10.0.2.1", "10.0.2.2"]


# Machines -----------------------------------------------------------------------------------------


def _kill_redis(stage, action):
    redis = stage.redis(action)
    redis.kill(loses_data=action.amount < 0.3)
    return lambda: None if redis.is_up else redis.start()


def _unplug_redis(stage, action):
    redis = stage.redis(action)
    redis.lose_power()
    return lambda: None if redis.is_up else redis.start()


def _hang_redis(stage, action):
    server = stage.redis(action).server
    return _stopped(server.process) if server else None


def _load_slowly(stage, action):
    redis = stage.redis(action)
    redis.load_ms = round(8000 * action.amount)
    return lambda: setattr(redis, "load_ms", 0)


def _slow_info(stage, action):
    redis = stage.redis(action)
    redis.info_stall_ms = round(1500 * action.amount)
    return lambda: setattr(redis, "info_stall_ms", 0)


def _deny_info(stage, action):
    """It is alive by its pongs, but what is known of it grows old."""
    redis = stage.replica(action)
    redis.denies_info = True
    return lambda: setattr(redis, "denies_info", False)


def _lie_about_role(stage, action):
    redis = stage.redis(action)
    redis.told_role = "master" if action.amount < 0.5 else "slave"
    return lambda: setattr(redis, "told_role", None)


def _lag(stage, action):
    """It is behind its master, with an old offset, but its link is up."""
    redis = stage.replica(action)
    redis.lag_ms = round(5000 * action.amount**2)
    return lambda: setattr(redis, "lag_ms", 0)


def _priority(stage, action):
    redis = stage.replica(action)
    redis.priority = 0 if action.amount < 0.7 else 50
    return lambda: setattr(redis, "priority", 100)


def _kill_sentinel(stage, action):
    sentinel = stage.sentinel(action)
    sentinel.kill()
    return lambda: None if sentinel.life else sentinel.start()


def _kill_all_sentinels(stage, action):
    """All at once, by signal or by a loss of power, and back after a while."""
    killed = [it for it in stage.cluster.sentinels if it.life]
    for sentinel in killed:
        sentinel.kill() if action.amount < 0.5 else sentinel.lose_power()

    def restore():
        for sentinel in killed:
            if sentinel.life is None:
                sentinel.start()

    return restore


def _cut_power(stage, action):
    """Power fails in the middle of what is written next."""
    sentinel = stage.own(action)
    sentinel.disk.writes_left = round(8 * action.amount)

    def restore():
        sentinel.disk.writes_left = None
        if sentinel.life is None:
            sentinel.start()

    return restore


def _stop_sentinel(stage, action):
    life = stage.sentinel(action).life
    return _stopped(life.process) if life else None


def _stopped(process):
    process.stop()
    return process.resume


def _slow_sentinel(stage, action):
    life = stage.sentinel(action).life
    if not life:
        return None
    life.process.slow_us = 1 + round(40_000 * action.amount**2)
    return lambda: setattr(life.process, "slow_us", 0)


def _jump_clock(stage, action):
    if life := stage.sentinel(action).life:
        life.process.jump(round((action.amount - 0.3) * 10_000_000))


def _fill_disk(stage, action):
    sentinel = stage.own(action)
    sentinel.disk.is_full = True

    def restore():
        """Make room; a member that could not write its log is restarted by its operator."""
        sentinel.disk.is_full = False
        if sentinel.life and sentinel.life.has_halted:
            sentinel.kill()
            sentinel.start()

    return restore


def _slow_disk(stage, action):
    sentinel = stage.own(action)
    sentinel.sync_us = round(3_000_000 * action.amount**3)
    return lambda: setattr(sentinel, "sync_us", 0)


# The network --------------------------------------------------------------------------------------


def _cut_one_way(stage, action):
    hosts = stage.hosts()
    source = hosts[action.target % len(hosts)]
    target = hosts[action.target // 64 % len(hosts)]
    return _cut(stage, [(source, target)])


def _isolate(stage, action):
    """Cut one host off from all others, or only what it sends."""
    hosts = stage.hosts()
    lonely = stage.redis(action).host if action.amount < 0.5 else stage.sentinel(action).host
    ways = [(lonely, other) for other in hosts if other != lonely]
    if action.target % 3:
        ways += [(target, source) for source, target in ways]
    return _cut(stage, ways)


def _partition(stage, action):
    hosts = stage.hosts()
    here = [host for number, host in enumerate(hosts) if action.target >> number & 1]
    there = [host for host in hosts if host not in here]
    ways = [(one, other) for one in here for other in there]
    return _cut(stage, ways + [(other, one) for one, other in ways])


def _cut(stage, ways):
    network = stage.world.network
    for way in ways:
        network.cut(*way)

    def heal():
        for way in ways:
            network.heal(*way)

    return heal


def _flap(stage, action):
    """A way that comes and goes, for half a second each."""
    is_over = False
    heal = None

    def turn():
        nonlocal heal
        if heal:
            heal()
            heal = None
        elif not is_over:
            heal = _isolate(stage, action)
        if heal or not is_over:
            stage.world.scheduler.after(500_000, turn)

    def end():
        nonlocal is_over
        is_over = True
        if heal:
            turn()

    turn()
    return end


def _lose_connection(stage, action):
    """One direction of a connection is dead, and neither end is told."""
    life = stage.sentinel(action).life
    endpoints = list(life.process.endpoints) if life else []
    if endpoints:
        endpoints[action.target // 2 % len(endpoints)].lose_way()


def _slow_network(stage, action):
    network = stage.world.network
    network.delay_us = (500, 1000 + round(400_000 * action.amount**2))
    return lambda: setattr(network, "delay_us", USUAL_DELAY_US)


def _lossy_network(stage, action):
    network = stage.world.network
    network.loss = 0.3 * action.amount
    return lambda: setattr(network, "loss", 0.0)


# Operators ----------------------------------------------------------------------------------------


def _order_failover(stage, action):
    stage.operator.order(stage.own(action), "SENTINEL", "FAILOVER", MASTER_NAME)


def _order_set(stage, action):
    options = (
        ("parallel-syncs", "parallel_syncs", 1 + round(3 * action.amount)),
        ("failover-timeout", "failover_timeout_ms", 3000 + round(5000 * action.amount)),
    )
    name, attribute, value = options[action.target // 4 % len(options)]
    words = "SENTINEL", "SET", MASTER_NAME, name, str(value)
    stage.operator.change(stage.own(action), words, (MASTER_NAME, attribute), value)


def _order_monitor(stage, action):
    """Have another master watched, which nobody ever reaches, or have it forgotten."""
    is_wanted = action.amount < 0.7
    words = ("MONITOR", GHOST, "10.9.9.9", "6379", "2") if is_wanted else ("REMOVE", GHOST)
    change = GHOST, IS_WATCHED
    stage.operator.change(stage.own(action), ("SENTINEL", *words), change, is_wanted)


def _order_flush(stage, action):
    stage.operator.order(stage.own(action), "SENTINEL", "FLUSHCONFIG")


def _order_reset(stage, action):
    """Have a sentinel forget all replicas and peers. Where the quorum is less than a majority, two
    could then count different voters, as with the original."""
    layout = stage.cluster.layout
    if layout.quorum > layout.sentinels // 2:
        stage.was_reset = True
        stage.operator.order(stage.own(action), "SENTINEL", "RESET", "*")


def _order_transfer(stage, action):
    """Have another member lead the Raft cluster."""
    stage.operator.order(stage.own(action), "SENTINEL", "RAFT", "TRANSFER")


def _order_remove(stage, action):
    """Take a member out of the Raft cluster; afterwards it is added again, under a new id."""
    ours = stage.cluster.ours
    member, other = stage.own(action), ours[action.target // 64 % len(ours)]
    where = "{}:{}".format(*member.address)
    stage.operator.order(other, "SENTINEL", "RAFT", "REMOVE", where)
    return lambda: stage.operator.insist(ours, "SENTINEL", "RAFT", "ADD", where)


def _misplace_redis(stage, action):
    """Somebody turns a replica into a master by hand, or has it follow another one.

    The master is left alone: where down-after is short, no replica may be promoted once it has
    followed somebody for long, by the original's rule about replicas that lost their master.
    """
    redis = stage.redis(action)
    if redis is stage.cluster.believed_master():
        return
    other = stage.cluster.redises[action.target // 64 % len(stage.cluster.redises)]
    words = ("NO", "ONE") if action.amount < 0.5 or other is redis else other.address
    stage.operator.order(redis, "SLAVEOF", *map(str, words))


KINDS: dict[str, Callable] = {
    "kill-redis": _kill_redis,
    "unplug-redis": _unplug_redis,
    "hang-redis": _hang_redis,
    "load-slowly": _load_slowly,
    "lag": _lag,
    "slow-info": _slow_info,
    "deny-info": _deny_info,
    "lie-about-role": _lie_about_role,
    "priority": _priority,
    "kill-sentinel": _kill_sentinel,
    "kill-all-sentinels": _kill_all_sentinels,
    "cut-power": _cut_power,
    "stop-sentinel": _stop_sentinel,
    "slow-sentinel": _slow_sentinel,
    "jump-clock": _jump_clock,
    "fill-disk": _fill_disk,
    "slow-disk": _slow_disk,
    "cut-one-way": _cut_one_way,
    "isolate": _isolate,
    "partition": _partition,
    "flap": _flap,
    "lose-connection": _lose_connection,
    "slow-network": _slow_network,
    "lossy-network": _lossy_network,
    "order-failover": _order_failover,
    "order-set": _order_set,
    "order-monitor": _order_monitor,
    "order-flush": _order_flush,
    "order-reset": _order_reset,
    "order-transfer": _order_transfer,
    "order-remove": _order_remove,
    "misplace-redis": _misplace_redis,
}
