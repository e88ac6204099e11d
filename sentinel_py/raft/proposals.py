"""What was asked of the engine, until its outcome has been told.

The rule guarded: whoever asks is told exactly once, within a bounded time, and never from inside
PySyncObj, which does not survive that.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from pysyncobj import FAIL_REASON

TIMEOUT_MS = 2_000
"""Several elections long; a proposal that is not answered by then has lost its answer."""

WRITES = 4
"""So many writes of the journal it may wait for besides: those under way, and its own, on two
members."""


class Outcome(Enum):
    DONE = "done"
    REFUSED = "refused"  # was not applied, and never will be: it may be proposed again
    UNKNOWN = "unknown"  # may have been applied, or still be


Done = Callable[[Outcome, object], None]
"""Takes the outcome, and what the state machine returned."""

REFUSED_REASON: int = FAIL_REASON.REQUEST_DENIED

# PySyncObj's other reasons come when a command was on its way into a log, and may be in it.
_OUTCOMES = {
    FAIL_REASON.SUCCESS: Outcome.DONE,
    FAIL_REASON.QUEUE_FULL: Outcome.REFUSED,
    FAIL_REASON.MISSING_LEADER: Outcome.REFUSED,
    FAIL_REASON.DISCARDED: Outcome.REFUSED,
    FAIL_REASON.NOT_LEADER: Outcome.REFUSED,
    FAIL_REASON.REQUEST_DENIED: Outcome.REFUSED,
}


class Proposal:
    """One that is under way; PySyncObj calls it with the result."""

    def __init__(self, proposals: Proposals, done: Done, deadline_at: int) -> None:
        self._proposals = proposals
        self.done = done
        self.deadline_at = deadline_at

    def __call__(self, result: object, error: int) -> None:
        self._proposals.end(self, _OUTCOMES.get(error, Outcome.UNKNOWN), result)


class Proposals:
    """All that are under way, oldest first, and the outcomes that are still to be told."""

    def __init__(self) -> None:
        self._open: dict[Proposal, None] = {}
        self._ended: list[tuple[Done, Outcome, object]] = []

    def __len__(self) -> int:
        return len(self._open)

    @property
    def next_at(self) -> int | None:
        """When the oldest one ends at the latest; the past if an outcome is to be told."""
        if self._ended:
            return 0
        return next((it.deadline_at for it in self._open), None)

    def begin(self, done: Done, now_ms: int, write_ms: int) -> Proposal:
        """Begin to wait for the outcome; a write of the journal takes so long at present."""
        proposal = Proposal(self, done, now_ms + TIMEOUT_MS + WRITES * write_ms)
        self._open[proposal] = None
        return proposal

    def end(self, proposal: Proposal, outcome: Outcome, result: object = None) -> None:
        """End one, unless it has ended before: an answer may come after its time was over."""
        if proposal in self._open:
            del self._open[proposal]
            self.tell_later(proposal.done, outcome, result)

    def expire(self, now_ms: int) -> bool:
        """End those that have waited too long; whether there were any."""
        late = [it for it in self._open if it.deadline_at <= now_ms]
        for proposal in late:
            self.end(proposal, Outcome.UNKNOWN)
        return bool(late)

    def end_all(self) -> None:
        for proposal in list(self._open):
            self.end(proposal, Outcome.UNKNOWN)

    def is_over(self, proposal: object) -> bool:
        return isinstance(proposal, Proposal) and proposal not in self._open

    def tell_later(self, done: Done, outcome: Outcome, result: object = None) -> None:
        self._ended.append((done, outcome, result))

    def tell(self) -> None:
        """Tell the outcomes; whoever is told may ask for more."""
        ended, self._ended = self._ended, []
        for done, outcome, result in ended:
            done(outcome, result)
