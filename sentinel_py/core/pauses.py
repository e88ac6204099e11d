"""Whose pause it is: an operator's own CLIENT PAUSE is not ours to end.

A server has one pause, whoever asked for it. To ask for a shorter one shortens nothing, but CLIENT
UNPAUSE ends it for all. Valkey 8.1 and newer tell in INFO how long the pause lasts: longer than any
of ours, and it is somebody else's. Then ours runs out by itself, after seconds. Others do not tell;
there a pause of an operator that meets a fence or a switchover ends with it.
"""

from __future__ import annotations

from sentinel_py.core.model import DataNode, Master
from sentinel_py.core.turn import Turn, master_of

LONGEST_MS = 5_000
"""No pause of a fence lasts longer, from when it was asked for."""

_MARGIN_MS = 500  # for the way of the order, and of the INFO


def note_left(turn: Turn, node: DataNode, left_ms: int | None) -> None:
    """Take note of how long a server says to be paused; None if it is of a kind that does not."""
    if left_ms is None:
        return
    ends_at = turn.now + left_ms
    is_longer = left_ms > 0 and ends_at > _own_end_at(turn, node) + _MARGIN_MS
    node.paused_until = ends_at if is_longer else 0


def _own_end_at(turn: Turn, node: DataNode) -> int:
    """When the longest pause is over that this sentinel, or another member, can have asked for."""
    ends = [0]
    if node.fence.asked_at is not None:
        ends.append(node.fence.asked_at + LONGEST_MS)
    master = master_of(node)
    if master.shared.fence_isolated_master:
        ends.append(turn.now + LONGEST_MS)
    if isinstance(node, Master) and node.failover and node.failover.catch_up:
        ends.append(node.failover.catch_up.pause_ends_at)
    return max(ends)


def is_others(turn: Turn, node: DataNode) -> bool:
    """Return whether somebody who is no sentinel has paused this server."""
    return turn.now < node.paused_until
