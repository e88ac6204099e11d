"""Somebody who reaches the servers and the sentinels, and is no part of the cluster.

He can publish on a Redis of the group, and ask what any client may ask of a sentinel. What he says
is made to be believed: the ids and addresses are those of true sentinels, the epochs are later
ones, and the master that he names is a Redis with data of its own. The rule he is there for:
nothing of it moves a master, wipes anybody's data, or keeps a failover from coming.
"""

from random import Random

from .cluster import MASTER_NAME
from .machine import PORT as SENTINEL_PORT
from .redis_model import RedisHost
from .violation import Violation

FOREIGN_HOST = "10.0.3.1"
FOREIGN_WRITES = [b"foreign%d" % number for number in range(20)]

_HUGE_EPOCH = 2**31


class Strangers:
    """The stranger and his Redis; both are made when the first of his actions needs them."""

    def __init__(self, world, cluster, operator):
        self._world = world
        self._cluster = cluster
        self._operator = operator
        self._redis = None

    @property
    def redis(self):
        if self._redis is None:
            seed = Random(FOREIGN_HOST)  # no draw of anybody else's
            self._redis = RedisHost(self._world, "x1", FOREIGN_HOST, seed)
            self._redis.saved_writes = list(FOREIGN_WRITES)
            self._redis.start()
        return self._redis

    def publish(self, through, name, *, config_epoch, master):
        """Publish a hello in the name of a true sentinel."""
        life = name.life
        if life is None:
            return
        who = name.host, SENTINEL_PORT, life.state.myid, life.state.current_epoch
        words = (*who, MASTER_NAME, *master, config_epoch)
        self._operator.order(through, "PUBLISH", "__sentinel__:hello", ",".join(map(str, words)))

    def later_epoch(self, life, amount):
        """A config epoch that nobody has come to, a little or far ahead."""
        return _HUGE_EPOCH if amount < 0.3 else life.state.masters[MASTER_NAME].config_epoch + 1

    def check(self):
        """End the run if the stranger's Redis was told anything, or any of ours follows it."""
        if self._redis is None:
            return
        server = self._redis.server
        if server.master or server.writes != FOREIGN_WRITES:
            text = f"it follows {server.master}, with {len(server.writes)} writes"
            raise Violation("a stranger's Redis is left alone", text)
        for redis in self._cluster.redises:
            if redis.server and redis.server.master == self._redis.address:
                raise Violation("nobody follows a stranger's Redis", f"{redis.name} does")


def forge_switch(stage, action):
    """Say in a sentinel's name that the stranger's Redis is the master, in a later epoch."""
    strangers, name = stage.strangers, stage.own(action)
    if name.life:
        epoch = strangers.later_epoch(name.life, action.amount)
        master = strangers.redis.address
        strangers.publish(stage.redis(action), name, config_epoch=epoch, master=master)


def forge_epoch(stage, action):
    """Say in a sentinel's name that the master is where it is, in a later epoch."""
    strangers, name = stage.strangers, stage.own(action)
    if name.life:
        epoch = strangers.later_epoch(name.life, action.amount)
        master = name.life.belief(MASTER_NAME)[:2]
        strangers.publish(stage.redis(action), name, config_epoch=epoch, master=master)


def forge_ballot(stage, action):
    """Ask a sentinel for its vote, for somebody whom nobody knows."""
    sentinel = stage.own(action)
    if sentinel.life:
        host, port, _ = sentinel.life.belief(MASTER_NAME)
        epoch = sentinel.life.state.current_epoch + 1 + round(100 * action.amount)
        words = "IS-MASTER-DOWN-BY-ADDR", host, port, epoch, "f" * 40
        stage.operator.order(sentinel, "SENTINEL", *map(str, words))


FORGERIES = {
    "forge-switch": forge_switch,
    "forge-epoch": forge_epoch,
    "forge-ballot": forge_ballot,
}
