"""One round: five hosts with their servers, a writer on each, and the history of what happened.

What breaks is up to a scenario, which gets a World. The rule it guards: every process and every
mount of a round ends with it, by its id and its path, however the round ends.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from redis.exceptions import RedisError

from sentinel_py.local import LocalError, Server, eventually

from . import writer
from .accounting import History
from .machine import NAME, REDIS_PORT, SENTINEL_PORT, Clock, Host
from .network import NUMBERS, SWITCH_ADDRESS, address, run
from .observer import Observer, now

ROOT = Path(__file__).parents[2]
DOWN_AFTER_MS = 1000
FAILOVER_TIMEOUT_MS = 10_000
SETTLED_WITHIN_MS = 60_000
# Before the fault, so that each writer is known to have worked.
WARM_UP_ACKS = 20
# After agreement, so that a writer that stands still is seen.
LAST_WRITES_S = 1
# What a data set has beside the writers' few keys.
RESIDENT_KEYS = 1000
DISK_SIZE = "2m"
MASTER_HOST_NAME = "redis-1.chaos"


@dataclass(frozen=True)
class Setup:
    """What a scenario wants of its hosts."""

    quorum: int = 3
    redis_lines: tuple[str, ...] = ()
    named: bool = False  # the sentinels know the master by a name that a resolver knows
    small_disks: bool = False
    clock_library: str = ""
    started: bool = True  # servers run and are acquainted when the scenario begins


class World:
    """The hosts by number; host 1 has the master when the scenario begins."""

    def __init__(self, network, program, setup, round_number=0):
        self.network = network
        self.program = program
        self.setup = setup
        self.round_number = round_number
        self.majority = set(NUMBERS)
        self.notes, self.complaints = [], []
        self.fault_at = self.heal_at = None
        self.folder = Path(tempfile.mkdtemp(prefix="sentinel_py-chaos-"))
        self._writers, self._mounts, self._observer = [], [], None
        self._resolver = None
        self.hosts = {number: self._host(number) for number in NUMBERS}
        self.master = self.hosts[1]

    def __enter__(self):
        try:
            self._configure()
            if self.setup.started:
                self.start(NUMBERS)
                self._populate()
                self.start_writers()
                self.await_writes()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self._observer:
            self._observer.close()
        for server in self._processes():
            if server.alive:
                server.kill()
        for mount in self._mounts:
            subprocess.run(["umount", "--lazy", mount], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.network.heal()

    def _processes(self):
        of_hosts = [it for host in self.hosts.values() for it in (host.redis, host.sentinel)]
        return [*self._writers, *of_hosts, *([self._resolver] if self._resolver else [])]

    # Construction

    def _host(self, number):
        enter = self.network.run_on(number)
        return Host(number, self.folder / str(number), lambda argv: [*enter, *argv])

    def _configure(self):
        if self.setup.named:
            self._start_resolver()
        if self.setup.clock_library:
            self.step_clocks(0)
        for host in self.hosts.values():
            if self.setup.small_disks:
                self._mount(host.state)
            host.configure_redis(self.master, self.setup.redis_lines)
            host.configure_sentinel(self.program.argv, self._sentinel_lines(), self._clock())

    def _sentinel_lines(self):
        named = self.setup.named
        lines = ["sentinel resolve-hostnames yes"] if named else []
        where = MASTER_HOST_NAME if named else self.master.address
        lines += [
            f"sentinel monitor {NAME} {where} {REDIS_PORT} {self.setup.quorum}",
            f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {NAME} {FAILOVER_TIMEOUT_MS}",
        ]
        if self.program.raft:
            peers = (f"{address(number)}:{SENTINEL_PORT}" for number in NUMBERS)
            lines.append(f"sentinel raft-peers {' '.join(peers)}")
        return [*lines, *self.program.lines]

    def _clock(self):
        library = self.setup.clock_library
        return Clock(library, str(self.folder / "clock")) if library else None

    def _mount(self, path):
        run("mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE}", "chaos", str(path))
        self._mounts.append(path)

    def _start_resolver(self):
        folder = self.folder / "resolver"
        folder.mkdir()
        argv = [
            *self.network.run_on_switch(),
            *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-hosts"),
            *("--no-resolv", "--user=root", "--pid-file", f"--listen-address={SWITCH_ADDRESS}"),
            *("--bind-interfaces", f"--address=/{MASTER_HOST_NAME}/{self.master.address}"),
        ]
        self._resolver = Server("resolver", argv, 53, folder).start()

    # Servers

    def start(self, numbers):
        """Start both servers of these hosts, Redis first, and wait until all are acquainted."""
        for number in numbers:
            self.hosts[number].redis.start()
        self._eventually(self._replicate, "replication between the hosts")
        for number in numbers:
            self.hosts[number].sentinel.start()
        self._eventually(self._acquainted, "acquaintance of the sentinels")

    def _populate(self):
        with self.master.redis_client() as client:
            client.mset({f"resident:{number}": number for number in range(RESIDENT_KEYS)})

    def _replicate(self):
        return all(host is self.master or host.follows(self.master) for host in self.hosts.values())

    def _acquainted(self):
        return all(self._knows_all(host) for host in self.hosts.values())

    def _knows_all(self, host):
        row, others = host.master_row(), len(NUMBERS) - 1
        peers, replicas = host.rows("SENTINELS"), host.rows("REPLICAS")
        return (
            row["flags"] == "master"
            and [peer["flags"] for peer in peers] == ["sentinel"] * others
            and [one["flags"] for one in replicas] == ["slave"] * others
            and all(one["runid"] for one in replicas)
            and (not self.program.raft or self.raft_leader_seen_by(host) != "")
        )

    def raft_leader_seen_by(self, host):
        """The id of the Raft leader as this host's sentinel says it; empty without one."""
        return pairs_of_info(host.ask_sentinel("INFO", "raft")).get("raft_leader", "")

    def leading_host(self):
        """The host whose sentinel leads: the Raft leader, or the first beside the master."""
        for host in self.hosts.values() if self.program.raft else ():
            if self.raft_leader_seen_by(host) == host.ask_sentinel("SENTINEL", "MYID"):
                return host
        return self.hosts[2]

    def stop_all(self):
        """The power goes: every server ends at once."""
        for host in self.hosts.values():
            host.sentinel.kill()
            host.redis.kill()

    # Faults that are not of the network

    @property
    def resolver(self):
        return self._resolver

    def fill_disk(self, host):
        """Write until the disk that the host's sentinel writes to takes no more."""
        try:
            with (host.state / "filler").open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
        except OSError:
            return

    def step_clocks(self, seconds):
        (self.folder / "clock").write_text(f"+{seconds}\n")

    # Time

    def fault(self):
        """Say that what breaks breaks now."""
        self.fault_at = now()

    def heal(self):
        self.heal_at = now()

    def wait(self, seconds):
        time.sleep(seconds)

    def until(self, condition, within_ms, what):
        """Wait for it; when it does not happen, that is a complaint and not an end."""
        try:
            return eventually(condition, within_ms, what)
        except LocalError as error:
            self.complaints.append(str(error))
            return None

    def _eventually(self, condition, what):
        try:
            eventually(condition, SETTLED_WITHIN_MS, what)
        except LocalError as error:
            dead = [it for it in self._processes() if it._process and not it.alive]
            ended = f"; ended: {dead[0].name}: {dead[0].log.strip()[-300:]}" if dead else ""
            raise LocalError(f"{error}{ended}") from None

    # Writers

    def start_writers(self):
        """A writer on each host, and ears on each sentinel."""
        self._observer = Observer(self.hosts.values())
        for number in NUMBERS:
            self._writers.append(self._writer(number).start())

    def await_writes(self):
        self._eventually(self._all_write, "write of every writer")

    def _writer(self, number):
        folder = self.folder / f"writer-{number}"
        folder.mkdir()
        others = [address(other) for other in NUMBERS if other != number]
        argv = [
            *self.network.run_on(number),
            *("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.chaos.writer"),
            *(str(self._record(number)), NAME, str(number), address(number), *others),
        ]
        return Server(f"writer-{number}", argv, REDIS_PORT, folder)

    def _record(self, number):
        return self.folder / f"writer-{number}" / "record"

    def _all_write(self):
        return all(
            len(writer.read(self._record(number), number)) >= WARM_UP_ACKS for number in NUMBERS
        )

    # The end

    def living(self):
        """Hosts that still have a Redis, and hosts that still have a sentinel."""
        hosts = self.hosts.values()
        return (
            [host for host in hosts if host.redis.alive],
            [host for host in hosts if host.sentinel.alive],
        )

    def settled_master(self):
        """The host that all living sentinels name and all living servers follow, if there is one.

        A server that ended with its host's link is left out; so is a sentinel that has ended.
        """
        with_redis, with_sentinel = self.living()
        names = {host.names() for host in with_sentinel}
        masters = [host for host in with_redis if names == {host.address}]
        for master in masters:
            if master.role() == "master" and all(
                host is master or host.follows(master) for host in with_redis
            ):
                return master
        return None

    def history(self, settle_within_ms):
        """Wait until all agree, end the writers, and put the records together."""
        self.until(self.settled_master, settle_within_ms, "agreement at the end")
        self.wait(LAST_WRITES_S)
        ended_at = now()
        for one in self._writers:
            one.kill()
        self._observer.close()
        final = self.settled_master() or self._most_named()
        acks = [ack for number in NUMBERS for ack in writer.read(self._record(number), number)]
        return History(
            acks=acks,
            views=self._observer.views,
            fault_at=self.fault_at,
            heal_at=self.heal_at,
            ended_at=ended_at,
            majority=frozenset(self.majority),
            final_master=final.address,
            kept=self.kept_by(final),
        )

    def has_residents(self, host):
        """Whether this host's Redis has what was there before the writers began."""
        return host.ask_redis("DBSIZE") >= RESIDENT_KEYS

    def kept_by(self, host):
        """The numbers that this host's Redis has of each writer."""
        return {number: _kept(host, number) for number in NUMBERS}

    def _most_named(self):
        """When they do not agree in the end, what most of them say counts."""
        with_redis, with_sentinel = self.living()
        votes = Counter(host.names() for host in with_sentinel)
        return max(with_redis, key=lambda host: votes[host.address])


def _kept(host, number):
    try:
        return set(map(int, host.ask_redis("LRANGE", writer.key(number), 0, -1)))
    except (RedisError, OSError):
        return set()


def pairs_of_info(text):
    if isinstance(text, dict):  # as redis-py has parsed it
        return text
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
