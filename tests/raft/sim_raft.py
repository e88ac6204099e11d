"""Whole Raft clusters of real engines in virtual time, on disks that lose what was not synced.

A seed fixes everything: delays, crashes, partitions, members that come and go. The checkers stand
outside of the product. The rule guarded: nothing here asks a real clock, and a failing seed fails
again: ``python -m tests.raft --seed N``.
"""

import ast
import hashlib
import heapq
import itertools
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from sentinel_py.raft import engine as engines
from sentinel_py.raft import journal, proposals
from sentinel_py.raft.engine import Engine, Outcome, Role
from sentinel_py.raft.membership import Add, Remove
from tests.sim.disk import PowerCut, SimDisk

from .sim_kinds import KINDS

MS = 1000
MAX_HOSTS = 6
ADD_TRIES = 10


class Violation(AssertionError):  # noqa: N818
    """A rule of Raft was broken, or of what we promise beside it."""


class Machine:
    """A list of commands, each of which may stand in it once."""

    def __init__(self, world, host):
        self.world, self.host = world, host
        self.entries = []
        self.seen = set()

    def apply(self, index, command):
        self.world.check_entry(index, command)
        if self.entries and index <= self.entries[-1][0]:
            raise Violation(f"{self.host.id} applies {index} after {self.entries[-1][0]}")
        if command in self.seen:
            raise Violation(f"{self.host.id} applies {command} twice")
        self.seen.add(command)
        self.entries.append((index, command))
        return index

    def snapshot(self):
        self.world.counts["compactions"] += 1
        return repr(self.entries).encode()

    def why_not(self, _data):
        return ""

    def restore(self, index, data):
        self.world.counts["restores"] += 1
        entries = ast.literal_eval(data.decode())
        for entry in entries:
            self.world.check_entry(*entry)
        if self.entries and self.entries[-1][0] > index:
            raise Violation(f"{self.host.id} goes back to {index}")
        self.entries, self.seen = entries, {command for _, command in entries}


class Host:
    """A machine with a disk, on which an engine runs or not."""

    def __init__(self, world, host_id, members):
        self.world, self.id = world, host_id
        self.disk = SimDisk(world.rng)
        self.disk.on_cut = lambda: None
        journal.create(self.disk, host_id, members)
        self.disk.sync_dir()
        self.engine = self.machine = None
        self.life = 0
        self.is_due = False
        self.timer = 0
        self.resume_at = 0
        self.sends_left = None
        self.writes = []  # jobs that the disk has not begun
        if world.opts.write_us[1]:
            self.disk.later = self.write_later
        # Clocks differ, and run at speeds that differ by one percent at most.
        self.clock_offset = world.rng.randrange(1, 10_000_000)
        self.clock_rate = world.rng.uniform(0.995, 1.005)

    def clock(self):
        return (self.clock_offset + int(self.world.now * self.clock_rate)) // MS

    @property
    def is_alive(self):
        return self.engine is not None

    def start(self):
        self.life += 1
        self.machine = Machine(self.world, self)
        rng = Random(f"{self.world.seed} {self.id} {self.life}")
        self.engine = Engine(
            self.disk,
            self.machine,
            self.send,
            rng,
            clock=self.clock,
            timing=self.world.opts.timing,
            wake=self.due,
        )
        self.due()

    def write_later(self, job, ended):
        rng, opts = self.world.rng, self.world.opts
        wait_us = rng.randint(*opts.write_us)
        if not self.world.is_calm and rng.random() < opts.stall:
            wait_us += rng.randint(1_000, 8_000) * MS
        self.writes.append(job)
        self.world.at(self.world.now + wait_us, self.write, self.life, job, ended)

    def write(self, life, job, ended):
        if life != self.life or job not in self.writes:
            return
        self.writes.remove(job)
        try:
            self.disk.do(job, ended)
        except PowerCut:
            self.world.crash(self, with_power=True)

    def send(self, peer, message):
        if self.sends_left is not None:
            self.sends_left -= 1
            if self.sends_left < 0:
                raise PowerCut
        self.world.send(self.id, peer, message)

    def due(self):
        """Step soon, once."""
        if not self.is_due and self.is_alive:
            self.is_due = True
            self.world.at(max(self.world.now + 20, self.resume_at), self.step, self.life)

    def step(self, life):
        if life != self.life or not self.is_alive:
            return
        self.is_due = False
        if self.world.now < self.resume_at:
            self.due()
            return
        try:
            self.engine.step()
        except PowerCut:
            self.world.crash(self, with_power=self.world.rng.random() < 0.7)
            return
        self.world.observe(self)
        self.timer += 1
        wait_us = max(self.engine.next_tick_ms, 1) * MS
        self.world.at(self.world.now + wait_us, self.tick, life, self.timer)

    def tick(self, life, timer):
        if life == self.life and timer == self.timer:
            self.due()


@dataclass
class Link:
    """One direction between two hosts: in order, and with everything that was not read yet."""

    is_up: bool = False
    number: int = 0
    arrives_at: int = 0
    held: list = field(default_factory=list)


class World:
    def __init__(self, seed, opts):
        self.seed, self.opts = seed, opts
        self.rng = Random(seed)
        self.now = 0
        self.events = []
        self.tickets = itertools.count()
        self.hosts = {}
        self.links = {}
        self.parted = set()  # pairs that do not reach each other
        self.parts = 0
        self.entries = {}  # index -> command
        self.leaders = {}  # term -> host
        self.commands = itertools.count()
        self.done, self.refused = {}, set()
        self.counts = Counter()
        self.is_calm = False
        self.unwanted, self.leaving = set(), set()
        self.trace = hashlib.sha256()
        ids = tuple("abcdefgh"[: opts.hosts])
        self.names = itertools.count(len(ids))
        for host_id in ids:
            self.add_host(host_id, ids)

    # Time

    def at(self, when, act, *args):
        heapq.heappush(self.events, (when, next(self.tickets), act, args))

    def after(self, shortest_ms, longest_ms, act, *args):
        self.at(self.now + self.rng.randint(shortest_ms * MS, longest_ms * MS), act, *args)

    def run_until(self, when):
        while self.events and self.events[0][0] <= when:
            self.now, _, act, args = heapq.heappop(self.events)
            act(*args)
        self.now = when

    # Hosts and links

    def add_host(self, host_id, members):
        host = self.hosts[host_id] = Host(self, host_id, members)
        for other in self.hosts:
            if other != host_id:
                self.links[host_id, other], self.links[other, host_id] = Link(), Link()
        host.start()
        self.dial_all(host_id)
        return host

    def dial_all(self, host_id):
        for other in self.hosts:
            if other != host_id:
                self.after(0, 30, self.dial, host_id, other)
                self.after(0, 30, self.dial, other, host_id)

    def dial(self, source, target):
        link = self.links.get((source, target))
        if link is None or link.is_up or source not in self.hosts or target not in self.hosts:
            return
        if not self.hosts[source].is_alive:
            return
        if (source, target) in self.parted or not self.hosts[target].is_alive:
            if (source, target) not in self.parted and self.rng.random() < 0.5:
                self.hosts[source].engine.disconnected(target, is_dead=True)
                self.hosts[source].due()
            self.after(20, 100, self.dial, source, target)
            return
        link.is_up = True
        link.number += 1
        self.hosts[source].engine.connected(target)
        self.hosts[source].due()

    def send(self, source, target, message):
        link = self.links.get((source, target))
        if link is None or not link.is_up:
            return
        if (source, target) in self.parted:
            link.held.append(message)
            return
        link.arrives_at = max(link.arrives_at, self.now) + 1
        arrives_at = self.now + self.rng.randint(*self.opts.delay_us)
        link.arrives_at = max(link.arrives_at, arrives_at)
        self.at(link.arrives_at, self.arrive, source, target, link.number, message)

    def arrive(self, source, target, number, message):
        link = self.links.get((source, target))
        if link is None or number != link.number or not link.is_up:
            return
        if (source, target) in self.parted:
            link.held.append(message)
            return
        host = self.hosts[target]
        try:
            if host.is_alive and host.engine.receive(source, message):
                host.due()
        except PowerCut:
            self.crash(host, with_power=self.rng.random() < 0.7)

    def break_link(self, source, target):
        link = self.links.get((source, target))
        if link is None or not link.is_up:
            return
        link.is_up = False
        link.held.clear()
        if self.hosts[source].is_alive:
            self.hosts[source].engine.disconnected(target)
            self.hosts[source].due()
        self.after(10, 100, self.dial, source, target)

    def break_links(self, host_id):
        for source, target in list(self.links):
            if host_id in (source, target):
                self.break_link(source, target)

    # Faults

    def crash(self, host, *, with_power):
        self.note("crash", host.id, with_power)
        self.counts["crashes"] += 1
        host.engine = host.machine = None
        host.is_due = False
        host.disk.writes_left = host.sends_left = None
        host.disk.is_full = False
        # Of what the disk was given it may have done something, though nobody was told.
        while host.writes:
            job = host.writes.pop()
            if self.rng.random() < 0.5:
                job()
        if with_power:
            host.disk.crash()
        self.break_links(host.id)
        self.after(10, 400, self.restart, host)

    def restart(self, host):
        if host.is_alive or host.id not in self.hosts:
            return
        try:
            host.start()
        except PowerCut:
            self.crash(host, with_power=True)
        else:
            self.dial_all(host.id)

    def fault(self):
        if self.is_calm:
            return
        kinds = list(self.opts.faults)
        (kind,) = self.rng.choices(kinds, [self.opts.faults[it] for it in kinds])
        alive = [it for it in self.hosts.values() if it.is_alive]
        if alive:
            self.note("fault", kind)
            getattr(self, f"fault_{kind}")(self.rng.choice(alive))
        self.after(1, 2 * self.opts.fault_ms, self.fault)

    def fault_kill(self, host):
        self.crash(host, with_power=False)

    def fault_power(self, host):
        self.crash(host, with_power=True)

    def fault_cut_write(self, host):
        host.disk.writes_left = self.rng.randint(0, 12)

    def fault_cut_send(self, host):
        host.sends_left = self.rng.randint(0, 12)

    def fault_kill_all(self, _):
        with_power = self.rng.random() < 0.5
        for host in self.hosts.values():
            if host.is_alive:
                self.crash(host, with_power=with_power)

    def fault_cut_all(self, _):
        """All lose their power within a few writes: nobody's memory helps anybody."""
        for host in self.hosts.values():
            host.disk.writes_left = self.rng.randint(0, 8)

    def fault_full(self, host):
        host.disk.is_full = True
        self.after(100, 500, self.crash_if_same_life, host, host.life)

    def crash_if_same_life(self, host, life):
        if host.life == life and host.is_alive:
            self.crash(host, with_power=False)

    def fault_pause(self, host):
        host.resume_at = self.now + self.rng.randint(50, 1500) * MS

    def fault_reset(self, host):
        others = [it for it in self.hosts if it != host.id]
        if others:
            self.break_link(host.id, self.rng.choice(others))

    def fault_transfer(self, _):
        leader = self.leader()
        if leader:
            leader.engine.transfer(None, lambda *_: None)
            leader.due()

    def fault_part(self, host):
        """Some hosts lose the others, in one direction or both; breaks may go unnoticed."""
        others = [it for it in self.hosts if it != host.id]
        group = {host.id, *(it for it in others if self.rng.random() < 0.3)}
        pairs = {(a, b) for a, b in self.links if (a in group) != (b in group)}
        if self.rng.random() < 0.2:
            pairs = {(a, b) for a, b in pairs if a in group}
        self.part(pairs)

    def fault_rift(self, host):
        """Two hosts lose each other, and everybody else has both."""
        others = [it for it in self.hosts if it != host.id]
        if others:
            other = self.rng.choice(others)
            self.part({(host.id, other), (other, host.id)})

    def part(self, pairs):
        self.parted |= pairs
        self.parts += 1
        for pair in sorted(pairs):
            if self.rng.random() < 0.5:
                self.after(50, 1000, self.break_link, *pair)
        self.after(50, 1200, self.heal, self.parts)

    def heal(self, number):
        if number != self.parts:
            return
        self.parted.clear()
        for (source, target), link in sorted(self.links.items()):
            held, link.held = link.held, []
            for message in held if link.is_up else ():
                self.send(source, target, message)

    # Members

    def leader(self):
        leaders = [it for it in self.hosts.values() if it.is_alive and self.has_lease(it)]
        return leaders[0] if leaders else None

    def has_lease(self, host):
        return host.engine.status().has_lease

    def fault_grow(self, _):
        if len(self.hosts) < MAX_HOSTS and self.leader():
            self.add(self.add_host(f"h{next(self.names)}", ()), 0)

    def add(self, host, tries):
        """As an operator does: again, until it is in or he has had enough."""
        if host.id in self.known_members() or host.id in self.unwanted:
            self.counts["joins"] += 1
        elif tries < ADD_TRIES:  # it may become a member later all the same
            self.order(Add(host.id), lambda *_: None)
            self.after(100, 600, self.add, host, tries + 1)

    def order(self, change, done):
        leader = self.leader()
        if leader:
            leader.engine.change(change, done)
            leader.due()

    def known_members(self):
        leader = self.leader()
        return leader.engine.status().members if leader else ()

    def fault_shrink(self, _):
        """One or two at once, of which the leader may take only one."""
        members = self.known_members()
        if len(members) > 2:
            for member in self.rng.sample(members, k=self.rng.randint(1, 2)):
                self.unwanted.add(member)  # whoever was adding it stops, or it would come back
                self.order(Remove(member), lambda outcome, _, it=member: self.removed(it, outcome))
            if self.rng.random() < 0.5:
                self.fault_part(self.leader())

    def removed(self, member, outcome):
        if outcome is Outcome.DONE and member not in self.leaving:
            self.counts["removals"] += 1
            self.leaving.add(member)
            # Nobody has told it; it may try to lead what is left.
            self.after(500, 3000, self.take_away, self.hosts[member])

    def take_away(self, host):
        self.break_links(host.id)
        host.engine = host.machine = None
        del self.hosts[host.id]
        for pair in [it for it in self.links if host.id in it]:
            del self.links[pair]

    # Clients

    def propose(self):
        if self.is_calm:
            return
        alive = [it for it in self.hosts.values() if it.is_alive and self.now >= it.resume_at]
        if alive:
            self.propose_on(self.rng.choice(alive))
        self.after(1, 2 * self.opts.propose_ms, self.propose)

    def propose_on(self, host):
        command = b"%d" % next(self.commands)
        self.counts["proposed"] += 1
        life = host.life
        ended = []

        def done(outcome, result):
            if ended:
                raise Violation(f"{command} has two outcomes")
            ended.append(outcome)
            self.counts[outcome.value] += 1
            if outcome is Outcome.DONE:
                self.done[command] = result
                if self.entries.get(result) != command:
                    raise Violation(f"{command} is done and stands nowhere")
            elif outcome is Outcome.REFUSED:
                self.refused.add(command)
                if command in self.entries.values():
                    raise Violation(f"{command} is refused and applied")

        def look():
            if not ended and host.life == life and host.is_alive and self.now >= host.resume_at:
                raise Violation(f"{command} has no outcome")

        host.engine.propose(command, done)
        host.due()
        writes_us = proposals.WRITES * (host.engine._writing.took_ms + 20) * MS
        late_us = max(0, host.resume_at - self.now) + 1_500 * MS + writes_us
        self.at(self.now + proposals.TIMEOUT_MS * MS + late_us + 100 * MS, look)

    # Checkers

    def note(self, *words):
        self.trace.update(repr((self.now, *words)).encode())

    def check_entry(self, index, command):
        if self.entries.setdefault(index, command) != command:
            raise Violation(f"{index} is {self.entries[index]} and {command}")
        if command in self.refused:
            raise Violation(f"{command} is refused and applied")

    def observe(self, host):
        status = host.engine.status()
        if status.role is Role.HALTED and not host.disk.is_full:
            raise Violation(f"{host.id} has halted")
        self.note(host.id, status.role.name, status.term, status.commit_index, status.last_index)
        if status.role is not Role.LEADER:
            return
        if self.leaders.setdefault(status.term, host.id) != host.id:
            raise Violation(f"{self.leaders[status.term]} and {host.id} lead in {status.term}")
        if status.has_lease:
            for other in self.hosts.values():
                if other is not host and other.is_alive and self.has_lease(other):
                    raise Violation(f"{host.id} and {other.id} have a lease")

    def run(self):
        self.propose()
        self.after(500, 1000, self.fault)
        self.run_until(self.opts.run_ms * MS)
        self.calm()
        self.run_until(self.now + self.opts.quiet_ms * MS)
        self.check_end()
        return self

    def calm(self):
        self.is_calm = True
        self.heal(self.parts)
        for host in self.hosts.values():
            host.disk.writes_left = host.sends_left = None
            host.resume_at = 0
            if host.disk.is_full and host.is_alive:
                self.crash(host, with_power=False)

    def check_end(self):
        leader = self.leader()
        if leader is None:
            raise Violation("nobody leads after a quiet time")
        status = leader.engine.status()
        last = self.final_command(leader)
        for host_id in status.members:
            host = self.hosts[host_id]
            if host.engine.status().members != status.members:
                raise Violation(f"{host_id} and {leader.id} have other members")
            if host.machine.entries != leader.machine.entries:
                raise Violation(f"{host_id} has not converged with {leader.id}")
        commands = leader.machine.seen
        if missing := {*self.done} - commands:
            raise Violation(f"lost: {sorted(missing)}")
        if self.refused & commands:
            raise Violation("a refused command was applied")
        if last not in commands:
            raise Violation("nothing can be committed")

    def final_command(self, leader):
        self.propose_on(leader)
        self.run_until(self.now + 500 * MS + 4 * self.opts.write_us[1])
        return max(self.done, key=int) if self.done else None


def run(kind, seed):
    opts = KINDS[kind]
    before, engines.COMPACT_ENTRIES = engines.COMPACT_ENTRIES, opts.compact_entries
    try:
        return World(seed, opts).run()
    finally:
        engines.COMPACT_ENTRIES = before
