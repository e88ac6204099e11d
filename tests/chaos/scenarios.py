"""What can break, as a table of small functions; each gets a World and does its worst.

Host 1 has the master. A scenario says when the fault is and when it heals; what it cost is worked
out from the records. The rule it guards: limits are what we promise, the same for every program.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from random import Random

from .machine import Clock
from .network import NUMBERS
from .observer import instants_of_sdown, now
from .world import DOWN_AFTER_MS, Setup, World

BROKEN_FOR_S = 10
CHOSEN_WITHIN_MS = 40_000
PHASES = 20
# Prime to the ping periods of 250 and 1000 ms, so that twenty steps visit twenty phases of each.
PHASE_STEP_MS = 53
PING_PERIOD_MS = DOWN_AFTER_MS // 4
BETWEEN_STARTS_S = 0.3
# The kill itself takes its time, and is to be within a second of the promotion.
SECOND_KILL_WITHIN_S = 0.8
AN_HOUR_S = 3600
# The same in every run, and unlike each other in the first rounds.
ORDERS = list(permutations(NUMBERS))
Random(0).shuffle(ORDERS)
MINORITY, MAJORITY = {1, 2}, {3, 4, 5}
OTHERS = {2, 3, 4, 5}
FAKETIME = "faketime/libfaketimeMT.so.1"


@dataclass(frozen=True)
class Limits:
    """What a round may cost; asynchronous replication may lose what was under way."""

    outage_ms: int = 2_000
    lost_share: float = 0.01
    two_masters_ms: int = 300
    after_heal_ms: int = 200


STOCK, USUAL = Setup(), Limits()


@dataclass(frozen=True)
class Scenario:
    name: str
    act: Callable[[World], None]
    setup: Setup = STOCK
    limits: Limits = USUAL
    settle_within_ms: int = 40_000
    # Why it cannot run here with the program that this argv starts; empty if it can.
    missing: Callable[[Sequence[str]], str] = lambda _: ""


def kill(world):
    world.fault()
    world.master.redis.kill()
    _await_another_master(world)


def stop(world):
    world.fault()
    world.master.redis.pause()
    world.wait(BROKEN_FOR_S)
    world.heal()
    world.master.redis.resume()


def host_gone(world):
    world.majority = OTHERS
    world.fault()
    world.network.unplug(1)
    world.master.redis.kill()
    world.master.sentinel.kill()
    _await_another_master(world)


def partition(world):
    """The master and one replica on the one side, three hosts on the other."""
    world.majority = MAJORITY
    world.fault()
    world.network.part(MINORITY, MAJORITY)
    _heal_later(world)


def mute(world):
    """Nothing that the master's host sends arrives; it hears everybody."""
    world.majority = OTHERS
    world.fault()
    world.network.cut({1}, OTHERS)
    _heal_later(world)


def deaf(world):
    world.majority = OTHERS
    world.fault()
    world.network.cut(OTHERS, {1})
    _heal_later(world)


def lopsided(world):
    """One other host, the leading one if it can be, does not hear the master's: no harm done."""
    leading = world.leading_host().number
    deaf = leading if leading != 1 else 5
    world.majority = set(NUMBERS) - {deaf}
    world.fault()
    world.network.cut({1}, {deaf})
    _heal_later(world)
    if {host.names() for host in world.hosts.values()} != {world.master.address}:
        world.complaints.append("a failover without need")


def silent(world):
    """The link of the master's host goes silent at any phase of a probe; nobody may fail over."""
    world.majority = {1}
    world.fault()
    taken, late = [], DOWN_AFTER_MS + PING_PERIOD_MS
    for phase in range(PHASES):
        world.wait(phase * PHASE_STEP_MS / 1000)
        taken += _time_to_sdown(world)
    seen = [ms for ms in taken if ms is not None]
    world.notes.append(
        f"SDOWN after {min(seen, default=0)}-{max(seen, default=0)} ms,"
        f" {sum(ms <= late for ms in seen)} of {len(taken)} within {late}"
    )
    if len(seen) < len(taken) or max(seen) > late:
        world.complaints.append(f"SDOWN later than {late} ms")


def dns_dead(world):
    """The resolver hangs when the master, known by a name, dies."""
    world.resolver.pause()
    world.wait(1)
    kill(world)


def disk_full(world):
    """Two sentinels can save nothing, among them the one that leads."""
    leading = world.leading_host()
    for host in (leading, next(host for host in world.hosts.values() if host is not leading)):
        world.fill_disk(host)
    kill(world)


def clock_step(world):
    """Every host is corrected by an hour, and then the master dies."""
    world.step_clocks(AN_HOUR_S)
    world.wait(1)
    kill(world)


def double(world):
    """The new master dies within a second of its promotion."""
    world.fault()
    world.master.redis.kill()
    if promoted := world.until(lambda: _promoted(world), CHOSEN_WITHIN_MS, "promotion"):
        promoted_at = now()
        world.wait(Random(world.round_number).uniform(0, SECOND_KILL_WITHIN_S))
        promoted.redis.kill()
        world.notes.append(f"second kill after {now() - promoted_at} ms")
        _await_another_master(world)


def cold_start(world):
    """All hosts are switched on one after the other; 120 rounds try every order."""
    order = ORDERS[world.round_number % len(ORDERS)]
    world.notes.append(f"order {''.join(map(str, order))}")
    world.start_writers()
    world.fault()
    for number in order:
        world.hosts[number].redis.start()
        world.hosts[number].sentinel.start()
        world.wait(BETWEEN_STARTS_S)
    world.await_writes()


def restart_all(world):
    """The power fails everywhere and is back; the data is on the disks."""
    world.fault()
    world.stop_all()
    for host in world.hosts.values():
        host.redis.start()
        host.sentinel.start()


def empty_restart(world):
    """A supervisor restarts the master before it counts as down, and its data is gone."""
    before = world.kept_by(world.hosts[2])
    assert all(before.values()), "each writer has written before the fault"
    world.fault()
    world.master.redis.kill()
    world.wait(0.1)
    world.master.redis.start()
    world.wait(BROKEN_FOR_S / 2)
    world.until(world.settled_master, CHOSEN_WITHIN_MS, "agreement")
    intact = sum(_is_intact(world, host, before) for host in world.hosts.values())
    world.notes.append(f"data intact on {intact} of {len(NUMBERS)}")
    if not intact:
        world.complaints.append("the data set is gone everywhere")


def _heal_later(world):
    world.wait(BROKEN_FOR_S)
    world.heal()
    world.network.heal()


def _await_another_master(world):
    def named():
        names = {host.names() for host in world.hosts.values() if host.sentinel.alive}
        down = {host.address for host in world.hosts.values() if not host.redis.alive}
        return len(names) == 1 and not names & {"", *down}

    world.until(named, CHOSEN_WITHIN_MS, "new master that all sentinels name")


def _is_intact(world, host, before):
    kept = world.kept_by(host)
    return world.has_residents(host) and all(before[number] <= kept[number] for number in NUMBERS)


def _promoted(world):
    others = (host for host in world.hosts.values() if host is not world.master)
    return next((host for host in others if host.role() == "master"), None)


def _time_to_sdown(world):
    """How long each sentinel of the others took to notice; the cut heals before this ends."""
    others = [world.hosts[number] for number in sorted(OTHERS)]
    cut_at = []

    def cut():
        cut_at.append(now())
        world.network.part({1}, OTHERS)

    instants = instants_of_sdown(others, cut, within_s=4)
    world.network.heal()
    world.until(
        lambda: all(host.master_row()["flags"] == "master" for host in others),
        CHOSEN_WITHIN_MS,
        "end of SDOWN",
    )
    return [at and at - cut_at[0] for at in instants]


def _no_resolver(_):
    return "" if shutil.which("dnsmasq") else "dnsmasq is not installed"


def _no_clock(argv):
    """An allocator that asks for the time in its own start can hang with the library."""
    if not (library := _faketime()):
        return "libfaketime is not installed"
    clock = Clock(library, os.devnull)
    try:
        subprocess.run(
            [*clock.environment(), *argv, "-v"], capture_output=True, timeout=5, check=True
        )
    except (subprocess.SubprocessError, OSError):
        return "libfaketime does not work with this program"
    return ""


def _faketime():
    return next(map(str, Path("/usr/lib").glob(f"*/{FAKETIME}")), "")


def table():
    """All scenarios by name, in the order in which they run."""
    cut = Limits(two_masters_ms=DOWN_AFTER_MS + PING_PERIOD_MS, lost_share=0.0287)
    on_disk = ("appendonly yes",)
    scenarios = (
        Scenario("kill", kill),
        Scenario("stop", stop),
        Scenario("host-gone", host_gone),
        Scenario("partition", partition, limits=cut),
        Scenario(
            "partition-min-replicas",
            partition,
            Setup(redis_lines=("min-replicas-to-write 1", "min-replicas-max-lag 1")),
            cut,
        ),
        Scenario("mute", mute, limits=cut),
        Scenario("deaf", deaf, limits=cut),
        Scenario("lopsided", lopsided, limits=Limits(outage_ms=300)),
        # A quorum that cannot be reached: detection alone, and the master stays. The writer
        # beside it waits only where a fence holds it back.
        Scenario("silent-drop", silent, Setup(quorum=len(NUMBERS) + 1)),
        Scenario("dns-dead", dns_dead, Setup(named=True), missing=_no_resolver),
        Scenario("disk-full", disk_full, Setup(small_disks=True)),
        Scenario(
            "clock-step",
            clock_step,
            Setup(clock_library=_faketime()),
            missing=_no_clock,
        ),
        Scenario("double", double, limits=Limits(outage_ms=3_000)),
        Scenario("cold-start", cold_start, Setup(started=False), Limits(outage_ms=5_000)),
        Scenario("restart-all", restart_all, Setup(redis_lines=on_disk), Limits(outage_ms=5_000)),
        # What the empty one takes before it is replaced cannot be kept.
        Scenario("empty-restart", empty_restart, limits=Limits(lost_share=0.05)),
    )
    return {scenario.name: scenario for scenario in scenarios}
