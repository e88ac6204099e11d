"""What hangs on it that the state is on disk: votes, and what operators are told.

A vote that is not on disk is none: after a restart we might give another one in the same epoch, and
two sentinels would lead. redis-sentinel logs a failed save and votes all the same. Here, without a
Raft log, no vote is asked for or given until a save works again, and everybody who asks how a
failover would go is told why. In Raft mode votes are in the log, and no failover waits for the
config file.
"""

from __future__ import annotations

from sentinel_py.core.messages import Level, SaveOutcome
from sentinel_py.core.model import Master, State
from sentinel_py.core.turn import Turn

WAY_OUT = "sentinel state-dir <directory> keeps its state elsewhere"


def take_outcome(turn: Turn, event: SaveOutcome) -> None:
    """Say that saves fail, or work again."""
    state = turn.state
    was_unsaved, state.save_trouble = bool(state.save_trouble), event.trouble
    if event.trouble and not was_unsaved:
        state.unsaved_at = turn.now
        turn.notice(Level.WARNING, "+save-failed", text=f"#{event.trouble}")
        turn.log(Level.WARNING, remark(state))
    elif was_unsaved and not event.trouble:
        state.unsaved_at = None
        turn.notice(Level.WARNING, "-save-failed", text="#the state is on disk again")


def may_vote(state: State, master: Master) -> bool:
    """Whether our vote for a leader counts. Where we are the only voter, nobody relies on it."""
    return not state.save_trouble or state.raft is not None or not master.peers


def remark(state: State) -> str:
    """What is to be said of a failover while the state is not on disk; empty if it is."""
    if not state.save_trouble:
        return ""
    what = f"its config file cannot be saved ({state.save_trouble})"
    if state.raft is not None:
        return f"This Sentinel votes by the Raft log, but {what}: {WAY_OUT}"
    return f"This Sentinel does not vote, for {what}: {WAY_OUT}"
