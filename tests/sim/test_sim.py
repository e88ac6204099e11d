"""The simulator as part of the test suite: a fixed lot of seeds, and proof that it can fail."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim.main import ONCE_BAD, find
from tests.sim.mutants import MUTANTS
from tests.sim.run import shrink, simulate

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize("seed", [*ONCE_BAD, *range(16)])
def test_seed_breaks_no_rule(seed):
    """A cluster under the faults of this seed breaks no rule, and agrees once they are over."""
    violation = simulate(seed).violation
    assert violation is None, f"scripts/sim --seed {seed} --plan --trace: {violation}"


def test_same_seed_gives_the_same_trace_under_another_hash_seed():
    """A run depends on its seed alone: two processes that hash differently trace the same."""
    first, second = (_trace(seed=5, hash_seed=hash_seed) for hash_seed in ("1", "2"))
    assert len(first) > 100
    assert first == second


def _trace(seed, hash_seed):
    command = [sys.executable, "-m", "tests.sim.main", "--seed", str(seed), "--trace"]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout.splitlines()


def test_faults_reach_the_cluster():
    """The lot of seeds is no idle one: it has failovers, tilt and restarts."""
    seen = set().union(*(simulate(seed).notices for seed in range(4)))
    assert {"+sdown", "+odown", "+elected-leader", "+switch-master", "+convert-to-slave"} <= seen


def test_unsaved_vote_is_found_and_shrunk():
    """A sentinel that tells votes which it did not save is caught, and few actions show it."""
    mutant = MUTANTS[0]
    assert find(mutant)
    with mutant.is_on():
        outcome = next(o for o in map(simulate, range(40)) if o.violation)
        numbers = shrink(outcome)
        assert simulate(outcome.seed, numbers).violation.checker == mutant.checker
        assert len(numbers) <= 3
