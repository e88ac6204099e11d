"""What kind of world a seed makes, and all that befalls it, as data.

A plan says everything in advance, so that a run can be repeated with some of its actions left out.
Each seed has only some kinds of faults switched on, as many bugs hide behind others that come
first. The rule it guards: a plan hangs on its seed and the wanted kind of world alone.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random


class Kind(StrEnum):
    """Which sentinels a world has."""

    CLASSIC = "classic"
    RAFT = "raft"
    MIXED = "mixed"  # with original ones among them


_KIND_WEIGHTS = {Kind.CLASSIC: 3, Kind.RAFT: 5, Kind.MIXED: 2}

ACTIONS_MAX = 16
MASTER_LOSSES = 2

MASTER = 1
"""The target of an action that hits whoever is master."""

LASTING = dict.fromkeys(("deny-info", "priority"), (15_000, 30_000))
"""What matters only if it is there already when a failover comes."""

RAFT_ONLY = frozenset(("order-transfer", "order-remove"))

MOMENTS = tuple(
    """+sdown +odown +try-failover +vote-for-leader +elected-leader +failover-state-wait-promotion
    +promoted-slave +switch-master +slave-reconf-sent +convert-to-slave""".split()  # noqa: SIM905
)
"""Bad moments for something to happen: a failover is at its most delicate there."""


EVENTS_KEPT = (15, 60, 1000)
"""Worlds see about a hundred events, so that the history is full in some."""


@dataclass(frozen=True)
class Layout:
    """How large a cluster is, and how it is configured."""

    kind: Kind = Kind.CLASSIC
    sentinels: int = 3  # all together
    originals: int = 0
    is_raft: bool = False
    replicates: bool = True
    fences: bool = False
    compact_entries: int = 2000
    events_kept: int = 1000
    redises: int = 3
    quorum: int = 2
    down_after_ms: int = 1000
    failover_timeout_ms: int = 6000
    parallel_syncs: int = 1

    @property
    def ours(self):
        return self.sentinels - self.originals

    @property
    def members(self):
        return self.ours if self.is_raft else 0


@dataclass(frozen=True)
class Action:
    """A fault or an order. It begins at a time, or that long after the n-th notice of a name."""

    kind: str
    at_ms: int
    target: int
    amount: float  # how bad it is, from 0 to 1
    lasts_ms: int
    moment: str = ""
    count: int = 1


@dataclass(frozen=True)
class Plan:
    """A cluster and all that befalls it."""

    layout: Layout
    splits: bool
    faults_ms: int
    actions: tuple[Action, ...]

    def only(self, numbers):
        return replace(self, actions=tuple(self.actions[number] for number in numbers))


def make_plan(seed, fault_kinds, forgeries=(), wanted=None):
    """The plan of a seed, out of these kinds of faults; the kind of world may be given.

    What strangers do comes behind all else and is drawn apart, so that the worlds of seeds that
    have shown a bug stay what they were.
    """
    rng = Random(f"plan {seed}")
    drawn = rng.choices(list(_KIND_WEIGHTS), list(_KIND_WEIGHTS.values()))[0]
    layout = _make_layout(rng, wanted or drawn)
    possible = [kind for kind in fault_kinds if layout.is_raft or kind not in RAFT_ONLY]
    kinds = [kind for kind in possible if rng.random() < 0.3] or [rng.choice(possible)]
    faults_ms = rng.choice((6_000, 10_000, 16_000))
    losses = [_lose_master(rng, layout, faults_ms) for _ in range(MASTER_LOSSES)]
    count = rng.randint(3, ACTIONS_MAX)
    others = [_make_action(rng, rng.choice(kinds), faults_ms) for _ in range(count)]
    if layout.is_raft and rng.random() < 0.5:
        layout = replace(layout, fences=True)
        losses[0] = _part(rng, layout, losses[0])
    events_kept = Random(f"events {seed}").choice(EVENTS_KEPT)
    layout = replace(layout, events_kept=events_kept)
    splits = rng.random() < 0.2
    # An original believes whoever speaks, and would have the others look wrong.
    forged = [] if layout.originals else _make_forgeries(seed, forgeries, faults_ms)
    return Plan(layout, splits, faults_ms, (*losses, *others, *forged))


def _make_forgeries(seed, kinds, faults_ms):
    """What strangers do in some of the worlds."""
    rng = Random(f"strangers {seed}")
    if not kinds or rng.random() < 0.7:
        return []
    return [_make_action(rng, rng.choice(kinds), faults_ms) for _ in range(rng.randint(1, 4))]


def _make_layout(rng, kind):
    sentinels = rng.choice((3, 3, 3, 5) if kind is not Kind.CLASSIC else (2, 3, 3, 3, 5))
    originals = rng.randint(1, sentinels - 1) if kind is Kind.MIXED else 0
    return Layout(
        kind=kind,
        sentinels=sentinels,
        originals=originals,
        is_raft=kind is Kind.RAFT or (kind is Kind.MIXED and rng.random() < 0.6),
        replicates=rng.random() < 0.75,
        compact_entries=rng.choice((10, 30, 2000)),
        redises=rng.choice((2, 3, 3, 4)),
        quorum=rng.randint(1, sentinels // 2 + 1),
        down_after_ms=rng.choice((500, 1000, 1000, 2000, 5000)),
        failover_timeout_ms=rng.choice((3000, 6000, 10_000)),
        parallel_syncs=rng.choice((1, 1, 2)),
    )


def _lose_master(rng, layout, faults_ms):
    """Something that makes a failover necessary, or nearly so."""
    return Action(
        kind=rng.choice(("kill-redis", "unplug-redis", "hang-redis", "isolate")),
        at_ms=rng.randrange(faults_ms * 2 // 3),
        target=MASTER,
        amount=rng.random() / 2,
        lasts_ms=layout.down_after_ms + rng.choice((-50, 50, 500, 3000, 15_000)),
    )


def _part(rng, layout, loss):
    """A partition instead, which leaves the master with some of the sentinels, or none."""
    lasts_ms = layout.down_after_ms + rng.choice((1500, 4000))
    return replace(loss, kind="partition", target=rng.getrandbits(16), lasts_ms=lasts_ms)


def _make_action(rng, kind, faults_ms):
    at_moment = kind not in LASTING and rng.random() < 0.5
    return Action(
        kind=kind,
        at_ms=rng.choice((0, 1, 2, 5, 50, 300)) if at_moment else rng.randrange(faults_ms),
        target=rng.getrandbits(16),
        amount=rng.random(),
        lasts_ms=rng.choice(LASTING.get(kind, (100, 700, 1500, 3000, 6000, 15_000))),
        moment=rng.choice(MOMENTS) if at_moment else "",
        count=rng.randint(1, 4),
    )
