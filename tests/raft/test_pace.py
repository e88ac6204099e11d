"""How long a leader is waited for: as long as the ways need, and never less than was promised."""

from random import Random

import pytest

from sentinel_py.raft import journal, pace
from sentinel_py.raft.journal import Journal
from sentinel_py.raft.pace import ENOUGH_SAMPLES, LONGEST_MS, ROUND_TRIPS, Pace
from tests.sim.disk import SimDisk

from .group import Group

LONG_MS = 2_000


def new_journal():
    disk = SimDisk(Random(0))
    journal.create(disk, "a", ("a", "b", "c"))
    return Journal(disk)


def measured(it, **round_trips):
    """Give enough samples of each."""
    for peer, round_trip_ms in round_trips.items():
        for _ in range(ENOUGH_SAMPLES):
            it.measure(peer, round_trip_ms)


def test_short_ways_change_nothing():
    """What the file says holds."""
    it = Pace(300, new_journal())
    measured(it, b=2, c=50)
    assert it.wanted_ms("bc", 1, 0) == 300


def test_the_nearest_majority_counts():
    """A member that is far away makes nobody slow."""
    it = Pace(300, new_journal())
    measured(it, b=2, c=300)
    assert it.wanted_ms("bc", 1, 0) == 300
    assert it.wanted_ms("bc", 2, 0) >= 300 * ROUND_TRIPS


def test_a_stall_is_not_the_way():
    """Some late answers are no long round trip, nor is one answer enough to know."""
    it = Pace(300, new_journal())
    it.measure("b", 900)
    assert it.wanted_ms("b", 1, 0) == 300
    measured(it, b=2)
    for _ in range(3):
        it.measure("b", 900)
    assert it.wanted_ms("b", 1, 0) == 300


def test_it_gets_shorter_again_after_a_while():
    """Half a minute of short ways, and the file holds again."""
    it = Pace(300, new_journal())
    measured(it, b=300)
    long_ms = it.wanted_ms("b", 1, 1_000)
    assert long_ms >= 300 * ROUND_TRIPS
    for _ in range(2):
        measured(it, b=2)
    assert it.wanted_ms("b", 1, 2_000) == long_ms
    assert it.wanted_ms("b", 1, 40_000) == 300


@pytest.mark.parametrize(
    ("base_ms", "wanted_ms", "expected"),
    [(300, 0, 300), (300, 1_000, 1_000), (300, 10**15, LONGEST_MS), (9_000, 10**15, 9_000)],
)
def test_what_a_leader_asks_for_has_limits(base_ms, wanted_ms, expected):
    """Not less than the file says; more only up to a limit."""
    it = Pace(base_ms, new_journal())
    it.follow(wanted_ms, 0, 0)
    assert it.promise_ms == expected


def test_a_promise_that_still_lasts_is_not_forgotten():
    """A shorter one is kept for a restart only when the longer one is over."""
    log = new_journal()
    it = Pace(300, log)
    it.follow(LONG_MS, 0, 0)
    it.follow(300, 100, LONG_MS)
    assert log.promise_ms == LONG_MS
    it.follow(300, LONG_MS - 300, LONG_MS)
    assert log.promise_ms == 300


def test_a_usual_promise_costs_no_write():
    """Where nobody is far away no journal grows."""
    log = new_journal()
    Pace(300, log).follow(300, 0, 0)
    assert log.flushing() is None


@pytest.mark.parametrize("guard", [True, False])
def test_a_longer_promise_outlives_a_restart(monkeypatch, guard):
    """The leader is cut off and relies on it; the others start anew, and must not elect yet."""
    monkeypatch.setattr(Pace, "wanted_ms", lambda *_: LONG_MS)
    if not guard:

        def only_remember(log, promise_ms):
            log.promise_ms = promise_ms

        monkeypatch.setattr(Journal, "set_promise", only_remember)
    group = Group()
    leader = group.leader()
    group.run(500)
    group.part(leader)
    for other in sorted({*"abc"} - {leader}):
        group.disks[other].crash()
        group.restart(other)
    are_two = False
    for _ in range(2 * LONG_MS):
        group.run(1)
        are_two |= len([it for it in "abc" if group.status(it).has_lease]) > 1
    assert (not are_two) is guard


@pytest.mark.parametrize("guard", [True, False])
def test_no_promise_is_told_before_it_is_on_disk(monkeypatch, guard):
    """Not even in a sign of life during the very write that holds it."""
    monkeypatch.setattr(Pace, "wanted_ms", lambda *_: 300)
    if not guard:
        monkeypatch.setattr(Pace, "certain_ms", lambda self: self.promise_ms)
    group = Group()
    leader = group.leader()
    group.run(200)
    for member_id in "abc":
        group.slow_down(member_id, 400)
    monkeypatch.setattr(Pace, "wanted_ms", lambda *_: LONG_MS)
    early, promises = [], set()

    def look(source, _target, message):
        if message["type"] == "next_node_idx":
            on_disk_ms = max(Journal(group.disks[source]).promise_ms, pace.GRANTED_MS)
            promises.add(message["promise_ms"])
            early.append(message["promise_ms"] > on_disk_ms)
        return False

    group.catch = look
    group.run(1_500)
    assert LONG_MS in promises
    assert (not any(early)) is guard
    assert group.leader() == leader


def test_a_promise_survives_a_compaction():
    """The new file has it, too."""
    disk = SimDisk(Random(0))
    journal.create(disk, "a", ("a",))
    it = Journal(disk)
    it.set_promise(LONG_MS)
    it.flushing().do()
    it.compacting(it.snapshot).do()
    assert Journal(disk).promise_ms == LONG_MS
