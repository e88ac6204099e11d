"""A few engines in one process and in virtual time, for tests that say what happens when.

Messages arrive in order and at once, unless a test parts two members or catches what is sent. The
rule guarded: nothing moves but by `run` and `until`, so a test sees every state.
"""

import ast
from collections import deque
from random import Random

from sentinel_py.raft import codec, journal
from sentinel_py.raft.engine import Engine
from tests.sim.disk import SimDisk


class Machine:
    """Remembers what was applied to it."""

    def __init__(self):
        self.entries = []
        self.history = []  # also what a snapshot made it forget
        self.restored = []
        self.refuses, self.refused = "", []

    def apply(self, index, command):
        self.history.append(command)
        self.entries.append((index, command))
        return index

    def snapshot(self):
        return repr(self.entries).encode()

    def why_not(self, _data):
        return self.refuses

    def snapshot_refused(self, index, why):
        self.refused.append((index, why))

    def restore(self, index, data):
        self.restored.append(index)
        self.entries = ast.literal_eval(data.decode())

    @property
    def commands(self):
        return [command for _, command in self.entries]


class Asked:
    """A proposal or an order, and what became of it."""

    def __init__(self):
        self.outcome = self.result = None

    def __call__(self, outcome, result):
        assert self.outcome is None, "an outcome is told once"
        self.outcome, self.result = outcome, result


class Group:
    """Engines by id. ``catch`` sees each message before it is on its way, and may keep it back."""

    def __init__(self, ids="abc", *, seed=0):
        self.now = 1_000
        self.seed = seed
        self.disks, self.machines, self.engines = {}, {}, {}
        self.parted = set()
        self.sent = []
        self.catch = lambda source, target, message: False
        self._queue = deque()
        self._writes = []  # when each is done, its disk, its job and who is told
        for member_id in ids:
            self.add(member_id, tuple(ids))

    def add(self, member_id, members=()):
        """A member with a new disk, linked with all others."""
        self.disks[member_id] = SimDisk(Random(self.seed))
        journal.create(self.disks[member_id], member_id, members)
        self.start(member_id)

    def start(self, member_id, machine=None):
        machine = self.machines[member_id] = machine or Machine()
        self.engines[member_id] = Engine(
            self.disks[member_id],
            machine,
            lambda target, message: self._send(member_id, target, message),
            Random(f"{self.seed} {member_id} {self.now}"),
            clock=lambda: self.now,
        )
        self._link(member_id, "connected")

    def slow_down(self, member_id, ms):
        """Its disk takes so long for a write from now on."""
        disk = self.disks[member_id]
        disk.later = lambda *task: self._writes.append((self.now + ms, disk, *task))

    def stop(self, member_id):
        """Its process is gone; the others' connections break."""
        self._writes = [it for it in self._writes if it[1] is not self.disks[member_id]]
        self._queue = deque(it for it in self._queue if member_id not in it[:2])
        self._link(member_id, "disconnected")
        del self.engines[member_id]

    def restart(self, member_id):
        if member_id in self.engines:
            self.stop(member_id)
        self.start(member_id)

    def _link(self, member_id, verb):
        for other in self.engines:
            if other != member_id:
                getattr(self.engines[other], verb)(member_id)
                getattr(self.engines[member_id], verb)(other)

    def _send(self, source, target, data):
        message = codec.decode(data)
        self.sent.append((source, target, message))
        if not self.catch(source, target, message):
            self._queue.append((source, target, data))

    def post(self, source, target, message):
        """Hand a message over as if it had been sent."""
        self.engines[target].receive(source, codec.encode(message))

    # Time

    def step(self):
        for it in list(self.engines.values()):
            it.step()
        while self._queue:
            source, target, data = self._queue.popleft()
            if target in self.engines and (source, target) not in self.parted:
                self.engines[target].receive(source, data)
                self.engines[target].step()

    def run(self, ms):
        for _ in range(ms):
            self.now += 1
            for write in [it for it in self._writes if it[0] <= self.now]:
                self._writes.remove(write)
                _, disk, job, ended = write
                disk.do(job, ended)
            self.step()

    def until(self, condition, ms=5_000):
        """Go on until this is so; fails if it takes too long."""
        deadline = self.now + ms
        self.step()
        while not (result := condition()):
            assert self.now < deadline, "did not happen in time"
            self.run(1)
        return result

    # Members

    def status(self, member_id):
        return self.engines[member_id].status()

    def core(self, member_id):
        return self.engines[member_id]._core

    def part(self, group, others=None):
        """No message passes between these and the others any more."""
        others = others or [it for it in self.engines if it not in group]
        self.parted |= {(a, b) for a in group for b in others}
        self.parted |= {(b, a) for a in group for b in others}

    def heal(self):
        self.parted.clear()

    def leader(self):
        """Who leads a majority, once somebody does."""

        def look():
            return [it for it in self.engines if self.status(it).has_lease]

        (leader,) = self.until(look)
        return leader

    def lead(self, member_id):
        """Make this one the leader."""
        while (leader := self.leader()) != member_id:
            self.transfer(leader, member_id)
            self.until(lambda: not self.status(leader).has_lease)

    def propose(self, member_id, command):
        asked = Asked()
        self.engines[member_id].propose(command, asked)
        return asked

    def commit(self, member_id, *commands):
        """Propose these and wait until all have applied them."""
        asked = [self.propose(member_id, it) for it in commands]
        self.until(lambda: all(it.outcome for it in asked))
        self.until(self.has_converged)
        return asked

    def transfer(self, member_id, to):
        asked = Asked()
        self.engines[member_id].transfer(to, asked)
        return asked

    def change(self, member_id, change):
        asked = Asked()
        self.engines[member_id].change(change, asked)
        return asked

    def has_converged(self):
        return len({it.status().applied_index for it in self.engines.values()}) == 1
