"""What SENTINEL EXPLAIN says: each condition of a failover, held against the code that decides."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel_py.core import choice, explain
from sentinel_py.core.model import (
    Address,
    Alias,
    CatchUp,
    Failover,
    LinkState,
    Mandate,
    Options,
    Phase,
    Raft,
    Role,
    State,
    Wait,
)
from sentinel_py.core.roster import add_master, add_peer, add_replica
from sentinel_py.core.turn import Turn

NOW = 1_000_000
CLASSIC = ["down", "quorum", "tilt", "voters", "turn", "replica", "failover"]


def address(port):
    return Address("127.0.0.1", port, "127.0.0.1")


def watched():
    """A healthy master with two replicas and two peers, all of them connected."""
    state = State(myid="a" * 40)
    options = Options(quorum=2, down_after_ms=5000, failover_timeout_ms=60000)
    master = add_master(state, NOW, "mymaster", address(6379), options)
    for port in (6380, 6381):
        add_replica(state, NOW, master, address(port)).info_at = NOW
    for number, name in enumerate("bc"):
        add_peer(state, NOW, master, name * 40, address(26380 + number))
    for link in state.links.values():
        link.state = LinkState.UP
        link.ping_since = None
    return state, master


@pytest.fixture
def state():
    return watched()[0]


@pytest.fixture
def master(state):
    return state.masters["mymaster"]


def conditions(state):
    rows = explain.conditions(state, state.masters["mymaster"], NOW)
    return {row.name: row for row in rows}


def unmet(state):
    return [name for name, row in conditions(state).items() if not row.is_met]


def lose(master, seen_by=1):
    """Let this sentinel find the master down, and so many in all, itself included."""
    master.is_down, master.down_at = True, NOW - 70
    for peer in list(master.peers.values())[: seen_by - 1]:
        peer.says_down = True
    master.is_odown = seen_by >= master.options.quorum


def test_a_healthy_master(state):
    """The first condition is not met: nobody finds it down."""
    assert list(conditions(state)) == CLASSIC
    assert unmet(state) == ["down", "quorum", "failover"]
    assert conditions(state)["down"].value == "last good reply 0 ms ago, limit 5000 ms"


def test_a_master_that_only_we_find_down(state, master):
    """It waits for the quorum."""
    lose(master)
    assert unmet(state)[0] == "quorum"
    assert conditions(state)["down"].value == "down for 70 ms"
    assert conditions(state)["quorum"].value == "1 of 3 sentinels, quorum 2"


def test_all_but_the_failover_itself(state, master):
    """What is left is the attempt, which is about to begin."""
    lose(master, seen_by=2)
    assert unmet(state) == ["failover"]


def test_a_lost_majority(state, master):
    """A quorum alone authorizes nothing."""
    master.options.quorum = 1
    lose(master)
    first, second = master.peers.values()
    first.is_down = True
    assert "voters" not in unmet(state)
    second.is_down = True
    assert unmet(state)[0] == "voters"
    assert conditions(state)["voters"].value == "1 of 3 sentinels usable, 2 needed"


def test_a_state_that_cannot_be_saved(state, master):
    """Our vote is missing, and why is told; in Raft mode it is in the log."""
    lose(master, seen_by=2)
    state.save_trouble, state.unsaved_at = "disk full", NOW - 70
    next(iter(master.peers.values())).is_down = True
    assert unmet(state) == ["voters", "saved", "failover"]
    assert conditions(state)["saved"].value == "not for 70 ms: disk full"
    assert "sentinel state-dir" in conditions(state)["saved"].meaning
    state.raft = Raft("boot", has_majority=True, leader="b" * 40)
    assert unmet(state) == ["failover"]


def test_tilt(state):
    """How long it lasts is told."""
    state.tilt_at = NOW - 10_000
    assert conditions(state)["tilt"].value == "for another 20000 ms"
    assert "tilt" in unmet(state)


def test_raft(state, master):
    """A member needs the majority of the cluster and a leader in it."""
    state.raft = Raft("boot", members=("a" * 40, "b" * 40, "c" * 40))
    lose(master, seen_by=2)
    assert unmet(state) == ["raft-majority", "raft-leader", "failover"]
    state.raft.has_majority, state.raft.leader = True, "b" * 40
    assert unmet(state) == ["failover"]
    assert conditions(state)["raft-leader"].value == "b" * 40
    master.mandate = Mandate(4, "b" * 40, forced=False)
    assert conditions(state)["failover"].value == f"led by {'b' * 40}, epoch 4"


@pytest.mark.parametrize("wait", Wait)
def test_a_rest_between_attempts(state, master, wait):
    """How long and what for."""
    lose(master, seen_by=2)
    master.try_at, master.wait = NOW + 500, wait
    assert unmet(state) == ["turn", "failover"]
    assert conditions(state)["turn"].value == "in 500 ms"


def test_no_replica(state, master):
    """Each one with what speaks against it."""
    first, second = master.replicas.values()
    first.priority, second.is_down = 0, True
    assert "replica" in unmet(state)
    value = conditions(state)["replica"].value
    assert value == "127.0.0.1:6380 has priority 0, 127.0.0.1:6381 is down"
    master.replicas.clear()
    assert conditions(state)["replica"].value == "none"


def test_an_empty_restart(state, master):
    """It replaces a master that nobody finds down."""
    master.emptied_at = NOW - 5
    assert unmet(state) == ["failover"]
    assert conditions(state)["down"].value == "came back without its data 5 ms ago"


@pytest.mark.parametrize("phase", Phase)
def test_a_failover_under_way(state, master, phase):
    """Its phase, for how long, and its epoch."""
    master.failover = Failover(7, False, NOW - 20, phase=phase, phase_at=NOW - 10)
    row = conditions(state)["failover"]
    assert row.is_met
    assert row.value == f"{phase.value} for 10 ms, epoch 7"


def test_a_promotion_that_waits(state, master):
    """For the fence of silent members, or for the replica to catch up."""
    attempt = master.failover = Failover(7, True, NOW, phase=Phase.SEND, phase_at=NOW)
    attempt.held_until = NOW + 300
    assert "300 ms, until silent members fence" in conditions(state)["failover"].meaning
    attempt.held_until, attempt.catch_up = 0, CatchUp(ends_at=NOW + 5, pause_ends_at=NOW + 10)
    assert "until the replica has all" in conditions(state)["failover"].meaning


@given(
    st.fixed_dictionaries(
        {
            "is_down": st.booleans(),
            "lost_role": st.booleans(),
            "link": st.sampled_from(LinkState),
            "priority": st.sampled_from([0, 100]),
            "role": st.sampled_from(Role),
            "silent_ms": st.sampled_from([0, 5_000, 5_001]),
            "info_age_ms": st.sampled_from([None, 0, 5_000, 5_001, 30_000, 30_001]),
            "without_master_ms": st.sampled_from([0, 50_000, 50_001, 57_000, 57_001]),
        }
    )
)
def test_a_replica_is_fit_if_it_would_be_chosen(it):
    """The reasons that are told are those that count, to the millisecond."""
    state, master = watched()
    master.is_down = it["is_down"]
    master.role = Role.REPLICA if it["lost_role"] else Role.MASTER
    master.role_at = master.command.ok_at = NOW - 7_000
    replica = next(iter(master.replicas.values()))
    replica.command.state, replica.priority = it["link"], it["priority"]
    replica.command.ok_at, replica.role = NOW - it["silent_ms"], it["role"]
    replica.info_at = None if it["info_age_ms"] is None else NOW - it["info_age_ms"]
    replica.master_link_down_ms = it["without_master_ms"]
    turn = Turn(NOW, state, Random(1), lambda _path: True)
    assert (not explain.why_unfit(state, replica, NOW)) == choice.is_good(turn, replica)


def test_a_second_address_is_told():
    """Its row was dropped; whoever looks why finds it, for as long as it is relied on."""
    state, master = watched()
    master.run_id = "r" * 40
    master.aliases["10.9.0.1", 6379] = Alias(master.run_id, NOW + 10)
    [found] = [it for it in explain.conditions(state, master, NOW) if it.name == "addresses"]
    assert (found.value, found.is_met) == ("10.9.0.1 6379 leads to 127.0.0.1 6379", True)
    assert not [it for it in explain.conditions(state, master, NOW + 10) if it.name == "addresses"]
