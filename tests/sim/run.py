"""One run of the simulator, from a seed to its outcome: settle, faults, healing.

Here stand the phases, the bound on healing, replay and shrinking; printing is for `main`. The
rule it guards: a run depends on its seed, its selection of actions and the code, and on nothing
else.
"""

import gc
import hashlib
import logging
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from sentinel_py.raft import engine

from . import history_rules
from .checkers import Checkers
from .clients import Writer
from .cluster import World
from .faults import Stage, make_plan
from .violation import Violation

SETTLE_MAX_MS = 15_000
"""Peers are found by their first hello, two seconds after the start."""

HEALING_MAX_MS = 75_000
"""TILT lasts 30 s, and a failed attempt may rest for 2 x failover-timeout; 31 s were seen."""

HEALING_MIXED_MAX_MS = 150_000
"""The original rests after each failed attempt, and looks at roles with each INFO, 10 s apart."""

STEADY_MS = 2_500

STUCK_MAX_MS = 6_000
"""What is stuck in the network is sent again within five seconds of the healing. Till then a member
that cannot ask may pause writes; one that can has nothing to pause."""

AGAIN_MAX = 5
"""A Redis finds its dead connection late, as does the original, and breaks what was reached."""
_POLL_MS = 500


@dataclass(frozen=True)
class Outcome:
    """How a run ended; ``digest`` is of its whole trace."""

    seed: int
    kind: str | None
    digest: str
    violation: Violation | None
    healing_ms: int
    notices: dict


def simulate(seed, kind=None, numbers=None, show=None):
    """Run a seed, with all actions of its plan or those with these numbers only.

    ``kind`` forces the kind of world, ``show`` takes the lines of the trace as they come.
    """
    plan = make_plan(seed, kind) if numbers is None else make_plan(seed, kind).only(numbers)
    digest = hashlib.sha256()

    def trace(line):
        digest.update(line.encode())
        if show:
            show(line)

    world = World(seed, trace)
    checkers = Checkers(world.log, plan.layout)
    violation = None
    healing_ms = 0
    try:
        with (
            _no_collections(),
            world.entropy(),
            _compaction(plan.layout.compact_entries),
            _log_seen(world.log),
        ):
            healing_ms = _run(world, checkers, plan)
    except Violation as broken:
        violation = broken
    except Exception as error:
        violation = Violation("nothing raises", _place_of(error))
    finally:
        world.close()
    if violation:
        trace(f"VIOLATION {violation}")
    return Outcome(seed, kind, digest.hexdigest(), violation, healing_ms, checkers.counts)


@contextmanager
def _no_collections():
    """A world leaves little behind while it runs; to look for it takes a tenth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def _compaction(entries):
    """Have Raft logs become snapshots after so many entries."""
    before, engine.COMPACT_ENTRIES = engine.COMPACT_ENTRIES, entries
    try:
        yield
    finally:
        engine.COMPACT_ENTRIES = before


class _SeenLog(logging.Handler):
    """What the product logs of itself; an error that it caught and survived ends the run."""

    def __init__(self, trace):
        super().__init__()
        self._trace = trace

    def emit(self, record):
        self._trace("log", record.getMessage())
        if record.exc_info:
            raise Violation("nothing raises", _place_of(record.exc_info[1]))


@contextmanager
def _log_seen(trace):
    logger, handler = logging.getLogger("sentinel_py"), _SeenLog(trace)
    logger.addHandler(handler)
    before, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


def _run(world, checkers, plan):
    stage = Stage(world, checkers, plan)
    writer = Writer(world, stage.cluster.sentinels, world.fork_rng())
    stage.cluster.start()
    disagreement = stage.cluster.disagreement
    _await_end_of(disagreement, world, "all agree at first", SETTLE_MAX_MS)
    stage.begin()
    world.run_ms(plan.faults_ms)
    stage.heal()
    stage.strangers.check()
    healing_max_ms = HEALING_MIXED_MAX_MS if plan.layout.originals else HEALING_MAX_MS
    healing_ms = _await_end_of(disagreement, world, "all agree after healing", healing_max_ms)
    for _ in range(AGAIN_MAX):
        written = len(writer.acknowledged)
        world.run_ms(STEADY_MS)
        trouble = disagreement()
        if trouble is None:
            break
        _await_end_of(disagreement, world, "all agree after healing", healing_max_ms)
    else:
        raise Violation("agreement lasts", trouble)
    if len(writer.acknowledged) == written and stage.cluster.is_fenced():
        world.run_ms(STUCK_MAX_MS)
    if len(writer.acknowledged) == written:
        raise Violation("clients find the master", "nothing was written after healing")
    unwritten = partial(checkers.history.unwritten, stage.cluster)
    _await_end_of(unwritten, world, history_rules.WRITTEN, STUCK_MAX_MS)
    _await_end_of(stage.cluster.lag, world, "all come to the end of the log", STUCK_MAX_MS)
    checkers.check_end(stage.cluster)
    stage.strangers.check()
    return healing_ms


def _await_end_of(find_trouble, world, checker, max_ms):
    for passed_ms in range(0, max_ms, _POLL_MS):
        trouble = find_trouble()
        if trouble is None:
            return passed_ms
        world.run_ms(_POLL_MS)
    raise Violation(checker, trouble)


def _place_of(error):
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({frame.name}, line {frame.lineno})"


def shrink(outcome):
    """The numbers of few actions that break the same rule: leave out what can be left out."""
    checker = outcome.violation.checker
    numbers = list(range(len(make_plan(outcome.seed, outcome.kind).actions)))
    size = len(numbers) // 2
    while size:
        at = 0
        while at < len(numbers):
            fewer = numbers[:at] + numbers[at + size :]
            violation = simulate(outcome.seed, outcome.kind, fewer).violation
            if violation and violation.checker == checker:
                numbers = fewer
            else:
                at += size
        size //= 2
    return numbers
