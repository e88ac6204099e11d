"""The command line of the simulator: many seeds, one seed again, or all mutants.

Only printing and the choice of what to run is here.
"""

import argparse
import os
import secrets
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, count, islice, repeat

from .faults import make_plan
from .mutants import MUTANTS
from .mutants_history import HISTORY_MUTANTS
from .mutants_raft import RAFT_MUTANTS
from .plan import Kind
from .run import shrink, simulate

ONCE_BAD = (
    *((seed, Kind.RAFT) for seed in (95, 131, 177, 202, 4015, 4052, 7029, 8026, 20363)),
    *((seed, Kind.RAFT) for seed in (3000074, 3000210, 3010135, 3020130, 3020179, 3060082)),
    *((seed, Kind.RAFT) for seed in (3070460, 3090451, 3090622, 3200194, 1391222581)),
    *((seed, Kind.RAFT) for seed in (9500054, 9700172, 700070, 710130, 710197, 991337)),
    *((seed, Kind.RAFT) for seed in (8243, 9647, 44034, 60880533)),
    *((seed, Kind.MIXED) for seed in (40, 3000052, 3070393, 3090615, 3110020)),
    *((seed, Kind.CLASSIC) for seed in (3070375, 60880511, 18805131, 181742928)),
)
"""Seeds that have found a bug, with their kind; they are run again with every lot."""

ALL_MUTANTS = (*MUTANTS, *RAFT_MUTANTS, *HISTORY_MUTANTS)
MUTANT_RUNS_MAX = 100


def main():
    options = _parser().parse_args()
    if options.mutants:
        return _run_mutants()
    if options.seed is not None:
        return _run_one(options)
    first = secrets.randbits(32) if options.first is None else options.first
    return _run_many(range(first, first + options.seeds), options.kind)


def _parser():
    parser = argparse.ArgumentParser(
        prog="scripts/sim", description="Runs clusters of sentinels in virtual time, with faults."
    )
    parser.add_argument("--seeds", type=int, default=100, help="how many fresh seeds to run")
    parser.add_argument("--first", type=int, help="the first of them, instead of a random one")
    parser.add_argument("--seed", type=int, help="run this one only")
    parser.add_argument("--kind", type=Kind, choices=list(Kind), help="worlds of this kind only")
    parser.add_argument("--only", help="with these actions of its plan only, as 0,3,4")
    parser.add_argument("--trace", action="store_true", help="print each change of a state")
    parser.add_argument("--plan", action="store_true", help="print the actions of its plan")
    parser.add_argument("--mutants", action="store_true", help="see each mutant found")
    return parser


def _run_one(options):
    numbers = None if options.only is None else _numbers(options.only)
    if options.plan:
        _print_plan(options, numbers)
    show = print if options.trace else None
    outcome = simulate(options.seed, options.kind, numbers, show)
    print(f"seed {outcome.seed}: {outcome.violation or 'ok'} ({outcome.digest[:16]})")
    return int(outcome.violation is not None)


def _numbers(text):
    return [int(number) for number in text.split(",") if number]


def _print_plan(options, numbers):
    plan = make_plan(options.seed, options.kind)
    print(plan.layout)
    for number, action in enumerate(plan.actions):
        if numbers is None or number in numbers:
            print(f"{number:3} {action}")


def _run_many(seeds, kind):
    print(f"seeds {seeds[0]}..{seeds[-1]}, and {len(ONCE_BAD)} that were bad once", flush=True)
    started_at = time.monotonic()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        once_bad = pool.map(simulate, *zip(*ONCE_BAD, strict=True)) if ONCE_BAD else ()
        fresh = pool.map(simulate, seeds, repeat(kind), chunksize=4)
        bad = [_explained(it) for it in chain(once_bad, fresh) if it.violation]
    count = len(seeds) + len(ONCE_BAD)
    pace = count / (time.monotonic() - started_at)
    print(f"{count - len(bad)} of {count} seeds are good, {pace:.1f} a second")
    return int(bool(bad))


def _explained(outcome):
    print(f"seed {outcome.seed}: {outcome.violation}")
    print(f"  replay: {command(outcome)} --trace")
    fewer = ",".join(map(str, shrink(outcome)))
    print(f"  shrunk: {command(outcome)} --only {fewer or ','} --plan --trace", flush=True)
    return outcome


def command(outcome):
    """What runs a world again."""
    kind = f"--kind {outcome.kind} " if outcome.kind else ""
    return f"scripts/sim {kind}--seed {outcome.seed}"


def _run_mutants():
    survivors = 0
    for mutant in ALL_MUTANTS:
        runs = find(mutant)
        survivors += runs is None
        verdict = f"{mutant.checker}, run {runs}" if runs else "NOT FOUND"
        print(f"{mutant.name}: {verdict}", flush=True)
    print(f"{len(ALL_MUTANTS) - survivors} of {len(ALL_MUTANTS)} mutants are found")
    return int(survivors > 0)


def find(mutant):
    """How many runs it takes until the mutant's checker finds it; None if it does not."""
    with mutant.is_on():
        for runs, seed in enumerate(_seeds_for(mutant), start=1):
            violation = simulate(seed, mutant.world).violation
            if violation and violation.checker == mutant.checker:
                return runs
    return None


def _seeds_for(mutant):
    """Seeds with the fault that the mutant needs."""
    seeds = (seed for seed in count() if mutant.kind in (None, *_kinds(seed, mutant.world)))
    return islice(seeds, MUTANT_RUNS_MAX)


def _kinds(seed, world):
    return {action.kind for action in make_plan(seed, world).actions}


if __name__ == "__main__":
    raise SystemExit(main())
