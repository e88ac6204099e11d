"""Simulated clusters: some hundred seeds keep every rule, and a seed is the same run everywhere."""

import os
import subprocess
import sys

import pytest

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
