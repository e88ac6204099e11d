"""A cluster in virtual time: sentinels, Redis servers and the network between them.

Here stands how a world is built from a `Plan` and what it looks like from above; what goes wrong
in it is for `faults`, what must never happen for `checkers`. The rule it guards: all that is
random comes from the plan's seed, and one part's draws do not disturb another's.
"""

from dataclasses import dataclass
from random import Random

from .loop import Process, Scheduler
from .net import Network
from .redis_model import RedisHost
from .sentinel_host import SentinelHost

MASTER_NAME = "mymaster"


@dataclass(frozen=True)
class Layout:
    """How large a cluster is, and how it is configured."""

    sentinels: int = 3
    redises: int = 3
    quorum: int = 2
    down_after_ms: int = 1000
    failover_timeout_ms: int = 6000
    parallel_syncs: int = 1


class World:
    """Time, network and processes. ``trace`` takes one line for each change of a state."""

    def __init__(self, seed, trace):
        self.rng = Random(seed)
        self.scheduler = Scheduler()
        self.network = Network(self.scheduler, self.fork_rng())
        self._trace = trace
        self._processes = []

    @property
    def now_ms(self):
        return self.scheduler.now_us // 1000

    def fork_rng(self):
        return Random(self.rng.getrandbits(64))

    def spawn(self, host, name):
        process = Process(self.scheduler, self.network, host, name, self.fork_rng())
        self._processes.append(process)
        return process

    def close(self):
        """End all processes, so that nothing of this world is left to run."""
        for process in self._processes:
            if process.is_alive:
                process.vanish()

    def run_ms(self, ms):
        self.scheduler.run_until(self.scheduler.now_us + ms * 1000)

    def log(self, name, text):
        self._trace(f"{self.scheduler.now_us / 1e6:10.6f} {name:<4} {text}")


class Cluster:
    """All machines of a world, by kind."""

    def __init__(self, world, layout, observer):
        self.world = world
        self.layout = layout
        self.redises = [
            RedisHost(world, f"r{n}", f"10.0.1.{n}", world.fork_rng())
            for n in range(1, layout.redises + 1)
        ]
        self.sentinels = [
            SentinelHost(world, observer, f"s{n}", f"10.0.0.{n}", self._config_text(world, layout))
            for n in range(1, layout.sentinels + 1)
        ]
        for redis in self.redises[1:]:
            redis.saved_master = self.redises[0].address

    def _config_text(self, world, layout):
        host, port = self.redises[0].address
        return "\n".join(
            (
                f"sentinel myid {world.rng.getrandbits(160):040x}",
                f"sentinel monitor {MASTER_NAME} {host} {port} {layout.quorum}",
                f"sentinel down-after-milliseconds {MASTER_NAME} {layout.down_after_ms}",
                f"sentinel failover-timeout {MASTER_NAME} {layout.failover_timeout_ms}",
                f"sentinel parallel-syncs {MASTER_NAME} {layout.parallel_syncs}",
                "",
            )
        )

    @property
    def machines(self):
        return [*self.sentinels, *self.redises]

    def start(self):
        for machine in (*self.redises, *self.sentinels):
            machine.start()

    # From above

    def redis_at(self, address):
        return next((it for it in self.redises if it.address == address), None)

    def views(self):
        """Where each running sentinel has the master, and since which epoch."""
        return [
            (it.life.state.masters[MASTER_NAME], it) for it in self.sentinels if it.life is not None
        ]

    def believed_master(self):
        """The Redis that most sentinels hold to be the master."""
        votes = {}
        for master, _ in self.views():
            where = master.address.ip, master.address.port
            votes[where] = votes.get(where, 0) + 1
        return self.redis_at(max(votes, key=votes.get)) if votes else self.redises[0]

    def disagreement(self):
        """What is not yet as it should be when nothing is wrong any more; None when all is well."""
        views = self.views()
        if len(views) < len(self.sentinels):
            return "a sentinel is not running"
        beliefs = {(m.address.ip, m.address.port, m.config_epoch) for m, _ in views}
        if len(beliefs) > 1:
            return f"sentinels disagree: {sorted(beliefs)}"
        if trouble := next(filter(None, (self._trouble(*view) for view in views)), None):
            return trouble
        ((ip, port, _),) = beliefs
        return self._misplaced((ip, port))

    def _trouble(self, master, sentinel):
        if len(master.peers) != len(self.sentinels) - 1:
            return f"{sentinel.name} knows {len(master.peers)} peers"
        if len(master.replicas) != len(self.redises) - 1:
            return f"{sentinel.name} knows replicas {sorted(master.replicas)}"
        if master.failover:
            return f"{sentinel.name} is failing over"
        if down := [it.address.ip for it in master.instances() if it.is_down]:
            return f"{sentinel.name} sees down {down}"
        if sentinel.life.state.is_tilted:
            return f"{sentinel.name} is in tilt"
        return None

    def _misplaced(self, master_address):
        for redis in self.redises:
            wanted = None if redis.address == master_address else master_address
            if redis.server.master != wanted:
                return f"{redis.name} follows {redis.server.master} instead of {wanted}"
            if wanted and not redis.server.link_is_up:
                return f"{redis.name} is not connected to its master"
        return None
