"""Simulated clusters: some hundred seeds keep every rule, and a seed is the same run everywhere."""

import os
import subprocess
import sys

import pytest

from sentinel_py.raft.election import Election
from tests.raft import sim_raft

SEEDS = {
    "three": 30,
    "quiet": 20,
    "five": 8,
    "harsh": 30,
    "power": 30,
    "moving": 20,
    "busy": 6,
    "wan": 3,
    "continents": 3,
    "far": 3,
    "continents told": 3,
    "slow": 15,
    "stalls": 12,
}
"""As many of each kind as fit into half a minute; the command line runs as many as one likes."""


def test_each_kind_of_world_is_run():
    """A kind that is added is run here, too."""
    assert SEEDS.keys() == sim_raft.KINDS.keys()


@pytest.mark.parametrize("kind", SEEDS)
def test_no_rule_is_broken(kind):
    """Leaders, logs, leases, outcomes and members are right in worlds where everything fails."""
    for seed in range(SEEDS[kind]):
        print(f"python -m tests.raft --kind {kind} --seed {seed}")
        sim_raft.run(kind, seed)


def run_worlds(kind, count):
    for seed in range(count):
        sim_raft.run(kind, seed)


def _longer_lease(acknowledged):
    return lambda it, peer, sent_at, promise_ms: acknowledged(it, peer, sent_at, 2 * promise_ms)


def _shorter_promise(_heard_leader):
    def heard_leader(it, wanted_ms=None):
        it._promised_until = it._leader_heard_at = it._core.now_ms
        it._put_off()

    return heard_leader


WRONG = {
    "a leader relies on more than it was promised": (Election, "acknowledged", _longer_lease),
    "a follower forgets its promise": (Election, "heard_leader", _shorter_promise),
}


@pytest.mark.parametrize(("owner", "name", "wrong"), WRONG.values(), ids=WRONG)
def test_a_wrong_election_is_found(monkeypatch, owner, name, wrong):
    """The rules see it in some world, so that their silence means something."""
    monkeypatch.setattr(owner, name, wrong(getattr(owner, name)))
    with pytest.raises(sim_raft.Violation):
        run_worlds("harsh", 200)


def trace_of(kind, seed, hash_seed):
    result = subprocess.run(
        [sys.executable, "-m", "tests.raft", "--kind", kind, "--seed", str(seed)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.splitlines()[0]


def test_a_seed_is_the_same_run_everywhere():
    """The order of sets of strings differs from process to process; nothing hangs on it."""
    first, second, other = (
        trace_of("moving", 3, "1"),
        trace_of("moving", 3, "2"),
        trace_of("moving", 4, "1"),
    )
    assert first == second != other
