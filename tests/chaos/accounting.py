"""What a recorded history says: outage, loss, double mastership, disagreement. Pure.

All instants are milliseconds of the machine's one monotonic clock, which all hosts share, so the
records of different processes can be laid side by side. The rule it guards: a figure comes from
what clients and sentinels were seen to say, never from what a scenario meant to do.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

# A server that has answered writes counts as going on for so long: longer than the pause between
# two writes of one writer, shorter than any failover.
STILL_ACKNOWLEDGES_MS = 250


@dataclass(frozen=True, slots=True)
class Ack:
    """A write that a server has acknowledged to the writer on a host."""

    at: int
    writer: int
    number: int
    server: str


@dataclass(frozen=True, slots=True)
class View:
    """Whom a sentinel named as the master; empty when it did not answer."""

    at: int
    sentinel: int
    master: str


@dataclass(frozen=True, slots=True)
class History:
    """One round of one scenario, as it was recorded."""

    acks: list[Ack]
    views: list[View]
    fault_at: int
    heal_at: int | None
    ended_at: int
    majority: frozenset[int]
    final_master: str
    kept: dict[int, set[int]] = field(default_factory=dict)  # numbers by writer, at the end


@dataclass(frozen=True, slots=True)
class Figures:
    """One row of the table."""

    outage_ms: float
    acknowledged: float
    lost: float
    two_masters_ms: float
    after_heal_ms: float
    disagreed_ms: float

    @property
    def lost_share(self):
        return self.lost / self.acknowledged if self.acknowledged else 0.0


def figures(history):
    return Figures(
        outage_ms=outage_ms(history),
        acknowledged=len(history.acks),
        lost=lost(history),
        two_masters_ms=two_masters_ms(history),
        after_heal_ms=after_heal_ms(history),
        disagreed_ms=disagreed_ms(history),
    )


def medians(rows):
    names = Figures.__dataclass_fields__
    return Figures(**{name: median(getattr(row, name) for row in rows) for name in names})


def outage_ms(history):
    """The longest time without an acknowledgement on the majority's side, from the fault on.

    It begins with the last one before the fault, and may last until the end.
    """
    instants = sorted(ack.at for ack in history.acks if ack.writer in history.majority)
    before = [at for at in instants if at <= history.fault_at][-1:] or [history.fault_at]
    after = [at for at in instants if at > history.fault_at]
    return max(later - at for at, later in pairwise([*before, *after, history.ended_at]))


def lost(history):
    """How many acknowledged writes are not in the data set that is there at the end."""
    return sum(ack.number not in history.kept.get(ack.writer, ()) for ack in history.acks)


def two_masters_ms(history):
    """For how long more than one server went on acknowledging writes."""
    servers = {ack.server for ack in history.acks}
    edges = []
    for server in servers:
        for begins_at, ends_at in acknowledging(history.acks, server):
            edges += [(begins_at, 1), (ends_at, -1)]
    total = masters = last_at = 0
    for at, change in sorted(edges):
        total += at - last_at if masters > 1 else 0
        masters, last_at = masters + change, at
    return total


def acknowledging(acks, server):
    """The spans of time in which this server acknowledged one write after the other."""
    spans = []
    for at in sorted(ack.at for ack in acks if ack.server == server):
        if spans and at - spans[-1][1] <= STILL_ACKNOWLEDGES_MS:
            spans[-1][1] = at
        else:
            spans.append([at, at])
    return [tuple(span) for span in spans]


def after_heal_ms(history):
    """For how long after the heal a server acknowledged that is not the master in the end."""
    if history.heal_at is None:
        return 0
    others = [ack.at for ack in history.acks if ack.server != history.final_master]
    return max(0, max(others, default=0) - history.heal_at)


def disagreed_ms(history):
    """For how long two sentinels that answered named different masters, from the fault on."""
    named, total, last_at = {}, 0, history.fault_at
    for view in sorted(history.views, key=lambda view: view.at):
        if view.at > history.fault_at:
            differ = len(set(filter(None, named.values()))) > 1
            total += view.at - last_at if differ else 0
            last_at = view.at
        named[view.sentinel] = view.master
    return total
