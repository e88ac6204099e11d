"""Simulated clusters: some hundred seeds keep every rule, and a seed is the same run everywhere."""

import os
import subprocess
import sys

import pytest

from tests.raft import sim_raft

SEEDS = 20


@pytest.mark.parametrize("block", range(2))
@pytest.mark.parametrize("kind", sim_raft.KINDS)
def test_no_rule_is_broken(kind, block):
    """Leaders, logs, leases, outcomes and members are right in worlds where everything fails."""
    for seed in range(block * SEEDS // 2, (block + 1) * SEEDS // 2):
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
