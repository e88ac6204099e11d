"""The command line of the simulator: many seeds, one seed again, or all mutants.

Only printing and the choice of what to run is here.
"""

import argparse
import os
import secrets
from concurrent.futures import ProcessPoolExecutor
from itertools import count, islice

from .faults import make_plan
from .mutants import MUTANTS
from .run import shrink, simulate

ONCE_BAD = (134,)
"""Seeds that have found a bug; they are run again with every lot."""

MUTANT_RUNS_MAX = 100


def main():
    options = _parser().parse_args()
    if options.mutants:
        return _run_mutants()
    if options.seed is not None:
        return _run_one(options)
    first = secrets.randbits(32) if options.first is None else options.first
    return _run_many([*ONCE_BAD, *range(first, first + options.seeds)])


def _parser():
    parser = argparse.ArgumentParser(
        prog="scripts/sim", description="Runs clusters of sentinels in virtual time, with faults."
    )
    parser.add_argument("--seeds", type=int, default=100, help="how many fresh seeds to run")
    parser.add_argument("--first", type=int, help="the first of them, instead of a random one")
    parser.add_argument("--seed", type=int, help="run this one only")
    parser.add_argument("--only", help="with these actions of its plan only, as 0,3,4")
    parser.add_argument("--trace", action="store_true", help="print each change of a state")
    parser.add_argument("--plan", action="store_true", help="print the actions of its plan")
    parser.add_argument("--mutants", action="store_true", help="see each mutant found")
    return parser


def _run_one(options):
    numbers = None if options.only is None else _numbers(options.only)
    if options.plan:
        _print_plan(options.seed, numbers)
    outcome = simulate(options.seed, numbers, print if options.trace else None)
    print(f"seed {outcome.seed}: {outcome.violation or 'ok'} ({outcome.digest[:16]})")
    return int(outcome.violation is not None)


def _numbers(text):
    return [int(number) for number in text.split(",") if number]


def _print_plan(seed, numbers):
    plan = make_plan(seed)
    print(plan.layout)
    for number, action in enumerate(plan.actions):
        if numbers is None or number in numbers:
            print(f"{number:3} {action}")


def _run_many(seeds):
    print(f"seeds {seeds[len(ONCE_BAD)]}..{seeds[-1]}, and {len(ONCE_BAD)} that were bad once")
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        bad = [outcome for outcome in pool.map(simulate, seeds, chunksize=4) if outcome.violation]
    for outcome in bad:
        _explain(outcome)
    print(f"{len(seeds) - len(bad)} of {len(seeds)} seeds are good")
    return int(bool(bad))


def _explain(outcome):
    print(f"seed {outcome.seed}: {outcome.violation}")
    print(f"  replay: scripts/sim --seed {outcome.seed} --trace")
    fewer = ",".join(map(str, shrink(outcome)))
    print(f"  shrunk: scripts/sim --seed {outcome.seed} --only {fewer or ','} --plan --trace")


def _run_mutants():
    survivors = 0
    for mutant in MUTANTS:
        runs = find(mutant)
        survivors += runs is None
        print(f"{mutant.name}: " + (f"{mutant.checker}, run {runs}" if runs else "NOT FOUND"))
    print(f"{len(MUTANTS) - survivors} of {len(MUTANTS)} mutants are found")
    return int(survivors > 0)


def find(mutant):
    """How many runs it takes until the mutant's checker finds it; None if it does not."""
    with mutant.is_on():
        for runs, seed in enumerate(_seeds_for(mutant), start=1):
            violation = simulate(seed).violation
            if violation and violation.checker == mutant.checker:
                return runs
    return None


def _seeds_for(mutant):
    """Seeds with the fault that the mutant needs."""
    seeds = (seed for seed in count() if mutant.kind is None or mutant.kind in _kinds(seed))
    return islice(seeds, MUTANT_RUNS_MAX)


def _kinds(seed):
    return {action.kind for action in make_plan(seed).actions}


if __name__ == "__main__":
    raise SystemExit(main())
