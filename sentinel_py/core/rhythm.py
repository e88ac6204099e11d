"""When what is sent again and again is due: together where few are asked, apart in a crowd.

Few instances are asked at the same instants, so that one wake-up serves them all. Hundreds asked at
once would keep clients waiting meanwhile. The rule guarded: in a crowd the instants depend on the
link and the period alone. If each were counted from the one before, all that a stall makes late
would be late together, and stay together ever after.
"""

from __future__ import annotations

from sentinel_py.core.model import Instance, Link, State
from sentinel_py.core.turn import master_of

GRID_MS = 50
CROWD = 100
"""So many links, asked in one go, take about as long as a client may be kept waiting."""

_SLOT_MS = 20
"""With 300 masters, twelve instances share a wake-up. That takes a fifth less CPU than a wake-up in
each 10 ms, and a client waits for most of a millisecond."""


def ping_period_ms(state: State, instance: Instance) -> int:
    """At most ping-period, and a quarter of down-after, so that SDOWN rests on several pings."""
    down_after_ms = master_of(instance).options.down_after_ms
    return max(1, min(state.constants.ping_period, down_after_ms // 4))


def due_after(state: State, link: Link, at: int, period_ms: int, grid_ms: int = GRID_MS) -> int:
    """When something is due that was done at ``at``, and is done once in each period."""
    if len(state.links) <= CROWD:
        return on_grid(at + period_ms, grid_ms)
    # What was done late or early is not done twice in the same period, nor left out in the next.
    earliest = at + period_ms // 2
    return earliest + (link.id * _SLOT_MS - earliest) % period_ms


def on_grid(at: int, grid_ms: int = GRID_MS) -> int:
    """Round down to a common grid: one wake-up serves many instances, and lateness does not add up.

    Rounded up, what was sent a millisecond late would be due a whole step of the grid later.
    """
    return at // grid_ms * grid_ms
