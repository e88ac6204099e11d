"""The command line of the explorer: all worlds, one of them, one path again, or all mutants.

Only printing and the choice of what to run is here.
"""

import argparse
import os
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait

from . import trace
from .mutants import MUTANTS
from .play import Play
from .search import Search
from .worlds import WORLDS

STATES = 100_000


def main():
    options = _parser().parse_args()
    if options.mutants:
        return _run_mutants()
    if options.replay is not None:
        return _replay(WORLDS[options.world], options.replay.split())
    names = [options.world] if options.world else list(WORLDS)
    return _explore(names, options.states)


def _parser():
    parser = argparse.ArgumentParser(
        prog="scripts/explore",
        description="Goes through all that can happen in small worlds, with the real core.",
    )
    parser.add_argument("--states", type=int, default=STATES, help="at most so many in all")
    parser.add_argument("--world", choices=WORLDS, help="explore this one only")
    parser.add_argument("--replay", metavar="EVENTS", help="play this path through the world again")
    parser.add_argument("--mutants", action="store_true", help="see each mutant found")
    return parser


def _replay(world, words):
    try:
        for line in trace.lines(world, words):
            print(line)
    except ValueError as error:
        print(error)
        return 2
    return 0


def explore(name, states):
    """What a search through a world finds."""
    return Search(Play(WORLDS[name])).run(states)


def _explore(names, states):
    bad = seen = 0
    for name, result in _results(names, states):
        print(described(WORLDS[name], result), flush=True)
        seen += result.states
        if result.violation:
            bad += 1
            _explain(WORLDS[name], result)
    print(f"{seen:,} states of {len(names)} worlds, {bad} worlds are bad")
    return int(bad > 0)


def _results(names, states):
    """What each search finds, as it ends; what one leaves of its share is for those that follow."""
    waiting = list(names)
    under_way = {}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        while waiting or under_way:
            while waiting and len(under_way) < (os.cpu_count() or 1):
                share = max(1, states // len(waiting))
                states -= share
                name = waiting.pop(0)
                under_way[pool.submit(explore, name, share)] = name, share
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                name, share = under_way.pop(future)
                result = future.result()
                states += max(0, share - result.states)
                yield name, result


def described(world, result):
    """One line about a search."""
    faults = sum(world.left.values())
    if result.is_complete:
        extent = f"all with {faults} faults"
    elif result.all_with >= 0:
        extent = f"all with {result.all_with} of {faults} faults"
    else:
        extent = "some"
    pace = result.states / result.seconds
    return (
        f"{world.name:<16} {result.states:>9,} states, {extent}, depth {result.depth}, "
        f"{result.ends:,} ends, {result.seconds:.1f} s, {pace:,.0f} a second"
    )


def _run_mutants():
    survivors = 0
    for mutant in MUTANTS:
        with mutant.is_on():
            result = explore(mutant.world, STATES)
        checker = result.violation and result.violation.checker
        survivors += checker not in mutant.rules
        verdict = f"{checker}, {result.states:,} states" if checker else "NOT FOUND"
        print(f"{mutant.name}: {verdict}", flush=True)
    print(f"{len(MUTANTS) - survivors} of {len(MUTANTS)} mutants are found")
    return int(survivors > 0)


def _explain(world, result):
    print(f"  {result.violation}")
    for line in trace.lines(world, result.path):
        print(f"  {line}")
    print(f"  replay: {trace.command(world, result.path)}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
