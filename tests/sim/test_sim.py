"""The simulator as part of the test suite: a fixed lot of seeds, and proof that it can fail."""

import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import pytest

from tests.sim.main import ALL_MUTANTS, ONCE_BAD, command, find
from tests.sim.plan import Kind
from tests.sim.run import shrink, simulate

PROJECT = Path(__file__).parents[2]

SEEDS = {Kind.CLASSIC: 50, Kind.RAFT: 60, Kind.MIXED: 50}
"""As many as take a minute together; the command line runs as many as one likes."""


@pytest.mark.parametrize("kind", SEEDS)
def test_no_rule_is_broken(kind):
    """Clusters of each kind break no rule under faults, and agree once these are over."""
    _check(range(SEEDS[kind]), repeat(kind))


def test_no_seed_is_bad_again():
    """Worlds that have shown a bug once are good now."""
    _check(*zip(*ONCE_BAD, strict=True))


def _check(seeds, kinds):
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        outcomes = pool.map(simulate, seeds, kinds, chunksize=4)
        bad = [f"{command(it)} --trace: {it.violation}" for it in outcomes if it.violation]
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize("kind", list(Kind))
def test_same_seed_gives_the_same_trace_under_another_hash_seed(kind):
    """A run depends on its seed alone: two processes that hash differently trace the same."""
    first, second = (_trace(kind, seed=5, hash_seed=hash_seed) for hash_seed in ("1", "2"))
    assert len(first) > 50
    assert first == second


def _trace(kind, seed, hash_seed):
    words = ["-m", "tests.sim.main", "--kind", kind, "--seed", str(seed), "--trace"]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.splitlines()


def test_faults_reach_the_cluster():
    """The lot of seeds is no idle one: it has failovers, changes of leader, and restarts."""
    seen = set().union(*(simulate(seed, Kind.RAFT).notices for seed in range(5)))
    expected = {"+sdown", "+odown", "+elected-leader", "+switch-master", "+convert-to-slave"}
    assert expected | {"+raft-leader", "-raft-majority"} <= seen


def test_originals_lead_and_follow():
    """Where original sentinels are among ours, failovers of either are followed by the other."""
    lines = []
    for seed in range(12):
        simulate(seed, Kind.MIXED, show=lines.append)
    leaders = {line.split()[1][0] for line in lines if "+elected-leader" in line}
    assert leaders == {"s", "c"}


def test_mutants_replace_what_there_is():
    """Each can be switched on: the product still has the functions that it breaks."""
    for mutant in ALL_MUTANTS:
        with mutant.is_on():
            pass


def test_unsaved_vote_is_found_and_shrunk():
    """A sentinel that tells votes which it did not save is caught, and few actions show it."""
    mutant = ALL_MUTANTS[0]
    assert find(mutant)
    with mutant.is_on():
        seeds = (simulate(seed, mutant.world) for seed in range(40))
        outcome = next(it for it in seeds if it.violation)
        numbers = shrink(outcome)
        again = simulate(outcome.seed, mutant.world, numbers)
        assert again.violation.checker == mutant.checker
        assert len(numbers) <= 3


@pytest.mark.parametrize(
    "name",
    [
        *("the Raft journal is not synced", "the choice is not logged"),
        *("an event that was proposed twice is written twice", "a snapshot has no history"),
    ],
)
def test_raft_mutants_are_found(name):
    """Bugs of the Raft side are caught by the checker that is named with them."""
    (mutant,) = (it for it in ALL_MUTANTS if it.name == name)
    assert find(mutant)
