"""A cluster in virtual time: sentinels, Redis servers and the network between them.

Here stands how a world is built from a `Plan` and what it looks like from above; what goes wrong
in it is for `faults`, what must never happen for `checkers`. The rule it guards: all that is
random comes from the plan's seed, and one part's draws do not disturb another's.
"""

import secrets
from contextlib import contextmanager
from random import Random

from .loop import Process, Scheduler
from .machine import PORT
from .net import Network
from .original_host import OriginalHost
from .redis_model import RedisHost
from .sentinel_host import SentinelHost

MASTER_NAME = "mymaster"
REDIS_START_MS = 1_500


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

    @contextmanager
    def entropy(self):
        """Have the system's random tokens come from the seed, too."""
        rng, real = self.fork_rng(), secrets.token_hex
        secrets.token_hex = lambda size: f"{rng.getrandbits(8 * size):0{2 * size}x}"
        try:
            yield
        finally:
            secrets.token_hex = real

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
        self.ours = [
            SentinelHost(world, observer, f"s{n}", f"10.0.0.{n}", self._config_text())
            for n in range(1, layout.ours + 1)
        ]
        self.originals = [
            OriginalHost(world, observer, n, layout, master=(MASTER_NAME, self.redises[0].address))
            for n in range(layout.ours + 1, layout.sentinels + 1)
        ]
        self.sentinels = [*self.ours, *self.originals]
        for redis in self.redises[1:]:
            redis.saved_master = self.redises[0].address

    def _config_text(self):
        layout = self.layout
        host, port = self.redises[0].address
        return "\n".join(
            (
                f"sentinel myid {self.world.rng.getrandbits(160):040x}",
                f"sentinel monitor {MASTER_NAME} {host} {port} {layout.quorum}",
                f"sentinel down-after-milliseconds {MASTER_NAME} {layout.down_after_ms}",
                f"sentinel failover-timeout {MASTER_NAME} {layout.failover_timeout_ms}",
                f"sentinel parallel-syncs {MASTER_NAME} {layout.parallel_syncs}",
                f"sentinel event-history {layout.events_kept}",
                *(self._raft_lines() if layout.is_raft else ()),
                "",
            )
        )

    def _raft_lines(self):
        members = " ".join(f"10.0.0.{n}:{PORT}" for n in range(1, self.layout.members + 1))
        yield f"sentinel raft-peers {members}"
        yield "sentinel raft-secret between-us"
        yield f"sentinel replicate-config {'yes' if self.layout.replicates else 'no'}"
        if self.layout.originals:
            yield "sentinel raft-count-outsiders yes"
        if self.layout.fences:
            yield f"sentinel fence-isolated-master {MASTER_NAME} yes"

    @property
    def machines(self):
        return [*self.sentinels, *self.redises]

    def start(self):
        """Sentinels come later than what they watch, and find all replicas in their first INFO."""
        for redis in self.redises:
            redis.start()
        self.world.run_ms(REDIS_START_MS)
        for sentinel in self.sentinels:
            sentinel.start()

    # From above

    def redis_at(self, address):
        return next((it for it in self.redises if it.address == address), None)

    def lives(self):
        return [it.life for it in self.sentinels if it.life is not None]

    def is_fenced(self):
        """Whether a sentinel knows that it has stopped writes."""
        masters = [it.life.state.masters[MASTER_NAME] for it in self.ours if it.life]
        return any(it.fence.asked_at is not None for it in masters)

    def believed_master(self):
        """The Redis that most sentinels hold to be the master."""
        votes = {}
        for life in self.lives():
            where = life.belief(MASTER_NAME)[:2]
            votes[where] = votes.get(where, 0) + 1
        return self.redis_at(max(votes, key=votes.get)) if votes else self.redises[0]

    def _known_to_all(self):
        views = [life.known_replicas(MASTER_NAME) for life in self.lives()]
        return set.intersection(*views) if views else set()

    def is_misplaced(self, master):
        """Whether the master follows somebody, and no replica is known that could replace it."""
        return master.server and master.server.master and not self._known_to_all()

    def strays(self, master):
        """Redis servers that follow nobody or a wrong one, while some sentinel knows nothing."""
        known = self._known_to_all()
        return [
            it
            for it in self.redises
            if it is not master and it.address not in known and it.server
            if it.server.master != master.address
        ]

    def disagreement(self):
        """What is not yet as it should be when nothing is wrong any more; None when all is well."""
        lives = self.lives()
        if len(lives) < len(self.sentinels):
            return "a sentinel is not running"
        beliefs = {life.belief(MASTER_NAME) for life in lives}
        if len(beliefs) > 1:
            return f"sentinels disagree: {sorted(beliefs)}"
        expected = MASTER_NAME, len(self.sentinels) - 1, len(self.redises) - 1
        for life in lives:
            if trouble := life.trouble(*expected):
                return f"{life.name} {trouble}"
        ((ip, port, _),) = beliefs
        return self._misplaced((ip, port))

    def lag(self):
        """Whether some member has still to apply what others have; None if all have."""
        applied = {it.life.applied_index for it in self.ours} - {None}
        return f"members have applied {sorted(applied)}" if len(applied) > 1 else None

    def _misplaced(self, master_address):
        for redis in self.redises:
            wanted = None if redis.address == master_address else master_address
            if redis.server.master != wanted:
                return f"{redis.name} follows {redis.server.master} instead of {wanted}"
            if wanted and not redis.server.link_is_up:
                return f"{redis.name} is not connected to its master"
        return None
