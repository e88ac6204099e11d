"""The leader's part when a member is added: it learns first, and votes when it has caught up.

A vote that is given first counts against the majority while its owner has an empty log, or was
never started: a cluster of one would stop for good. The rule guarded: nothing is in the log before
the new member has all that is committed, so until then the change is surely not made.
"""

from __future__ import annotations

from collections.abc import Callable

from sentinel_py.raft.guarded import Core
from sentinel_py.raft.proposals import Done
from sentinel_py.values import dataclass

TIMEOUT_MS = 10_000
"""Time for a snapshot over a slow line; who has not caught up by then can be added again."""

_FRESH_MS = 500
"""A member that has answered within this time is there."""


@dataclass(frozen=True, slots=True)
class Learner:
    """A member that is being added."""

    id: str
    done: Done
    deadline_at: int


class Joining:
    """One learner at a time."""

    def __init__(
        self,
        core: Core,
        *,
        heard_at: Callable[[str], int | None],
        promote: Callable[[Learner], None],
        refuse: Callable[[Learner], None],
    ) -> None:
        self._core = core
        self._heard_at = heard_at
        self._promote = promote
        self._refuse = refuse
        self._learner: Learner | None = None

    @property
    def member(self) -> str | None:
        """Who is being added."""
        return self._learner.id if self._learner else None

    def begin(self, member: str, done: Done) -> None:
        assert self._learner is None
        self._learner = Learner(member, done, self._core.now_ms + TIMEOUT_MS)
        self._core.attach(member)

    def before_tick(self) -> None:
        learner, core = self._learner, self._core
        if learner is None:
            return
        if not core.is_leader or core.now_ms >= learner.deadline_at:
            self.end(self._refuse)
        elif self._has_caught_up(learner):
            self.end(self._promote)

    def end(self, then: Callable[[Learner], None]) -> None:
        learner, self._learner = self._learner, None
        if learner:
            self._core.detach(learner.id)
            then(learner)

    def _has_caught_up(self, learner: Learner) -> bool:
        heard_at = self._heard_at(learner.id)
        return (
            heard_at is not None
            and heard_at + _FRESH_MS >= self._core.now_ms
            and self._core.match_index(learner.id) >= self._core.commit_index
        )
