"""Leave to fail over: asked for where the program that embeds this sentinel wants a say.

Only a failover that starts by itself is asked about: an operator's order has been thought over, and
a failover that a dead Raft leader has left half done is better finished. The answer comes as an
input, from outside and in bounded time; until then, everything else goes on.
"""

from __future__ import annotations

from sentinel_py.core.messages import AskConsent, Consent, Level
from sentinel_py.core.model import Leave, Master
from sentinel_py.core.turn import Turn

ANSWER_WITHIN_MS = 30_000
"""A question that is not answered by then got lost, and is asked again."""

LEAVE_LIFE_MS = 1_000
"""What was allowed and has not begun by then is asked about again."""


def is_given(turn: Turn, master: Master) -> bool:
    """Whether a failover may start now; asks if that is not known."""
    if not turn.state.asks_leave:
        return True
    if master.leave is Leave.GIVEN:
        master.leave = Leave.UNASKED
        if turn.now <= master.leave_at + LEAVE_LIFE_MS:
            return True
        master.leave_at = turn.now
    is_lost = master.leave is Leave.ASKED and turn.now >= master.leave_at + ANSWER_WITHIN_MS
    if is_lost or (master.leave is Leave.UNASKED and turn.now >= master.leave_at):
        master.leave, master.leave_at = Leave.ASKED, turn.now
        turn.effects.append(AskConsent(master.name))
    return False


def again_at(turn: Turn, master: Master) -> int:
    """When to look again at the latest; an answer comes as an input."""
    return max(master.leave_at, turn.now + turn.state.constants.ask_period)


def take_answer(turn: Turn, event: Consent) -> None:
    master = turn.state.masters.get(event.master)
    if master is None or master.leave is not Leave.ASKED:
        return
    master.leave_at = turn.now
    if event.is_given:
        master.leave = Leave.GIVEN
    else:
        master.leave = Leave.UNASKED
        master.leave_at += master.options.failover_timeout_ms
        turn.notice(Level.WARNING, "-failover-vetoed", master)
    turn.touch(master)
