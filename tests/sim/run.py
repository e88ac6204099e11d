"""One run of the simulator, from a seed to its outcome: settle, faults, healing.

Here stand the phases, the bound on healing, replay and shrinking; printing is for `main`. The
rule it guards: a run depends on its seed, its selection of actions and the code, and on nothing
else.
"""

import hashlib
import traceback
from dataclasses import dataclass

from .checkers import Checkers, Violation
from .clients import Writer
from .cluster import World
from .faults import FAULTS_MS, Stage, make_plan

SETTLE_MS = 12_000
"""Replicas are found with the first INFO or the second, 10 seconds later."""

HEALING_MAX_MS = 75_000
"""TILT lasts 30 s, and a failed attempt may rest for 2 x failover-timeout; 31 s were seen."""

STEADY_MS = 5_000
_POLL_MS = 500


@dataclass(frozen=True)
class Outcome:
    """How a run ended; ``digest`` is of its whole trace."""

    seed: int
    digest: str
    violation: Violation | None
    healing_ms: int
    notices: dict


def simulate(seed, numbers=None, show=None):
    """Run a seed, with all actions of its plan or those with these numbers only.

    ``show`` takes the lines of the trace as they come.
    """
    plan = make_plan(seed) if numbers is None else make_plan(seed).only(numbers)
    digest = hashlib.sha256()

    def trace(line):
        digest.update(line.encode())
        if show:
            show(line)

    world = World(seed, trace)
    checkers = Checkers(world.log)
    violation = None
    healing_ms = 0
    try:
        healing_ms = _run(world, checkers, plan)
    except Violation as broken:
        violation = broken
    except Exception as error:
        violation = Violation("nothing raises", _place_of(error))
    finally:
        world.close()
    if violation:
        trace(f"VIOLATION {violation}")
    return Outcome(seed, digest.hexdigest(), violation, healing_ms, checkers.counts)


def _run(world, checkers, plan):
    stage = Stage(world, checkers, plan)
    writer = Writer(world, stage.cluster.sentinels, world.fork_rng())
    stage.cluster.start()
    world.run_ms(SETTLE_MS)
    stage.begin()
    world.run_ms(FAULTS_MS)
    stage.heal()
    healing_ms = _await_agreement(world, stage.cluster)
    written = len(writer.acknowledged)
    world.run_ms(STEADY_MS)
    if trouble := stage.cluster.disagreement():
        raise Violation("agreement lasts", trouble)
    if len(writer.acknowledged) == written:
        raise Violation("clients find the master", "nothing was written after healing")
    return healing_ms


def _await_agreement(world, cluster):
    for passed_ms in range(0, HEALING_MAX_MS, _POLL_MS):
        trouble = cluster.disagreement()
        if trouble is None:
            return passed_ms
        world.run_ms(_POLL_MS)
    raise Violation("all agree after healing", trouble)


def _place_of(error):
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({frame.name}, line {frame.lineno})"


def shrink(outcome):
    """The numbers of few actions that break the same rule: leave out what can be left out."""
    checker = outcome.violation.checker
    numbers = list(range(len(make_plan(outcome.seed).actions)))
    size = len(numbers) // 2
    while size:
        at = 0
        while at < len(numbers):
            fewer = numbers[:at] + numbers[at + size :]
            violation = simulate(outcome.seed, fewer).violation
            if violation and violation.checker == checker:
                numbers = fewer
            else:
                at += size
        size //= 2
    return numbers
