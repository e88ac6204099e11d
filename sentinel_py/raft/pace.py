"""How long a member waits for its leader: longer where the ways between the members are long.

A leader relies on being one for as long as a majority has promised to elect nobody else, counted
from when it sent what they have answered. Where a round trip takes longer than that promise, it
could never rely on it. So a leader measures the round trips and asks for a longer promise, and each
follower says in each answer how long a promise it gives. Nobody has to agree with anybody about a
number: what counts is what was said.

Only members are asked or believed, whose streams are proven. What they ask for has a limit,
`LONGEST_MS`: so much longer nobody is elected after a leader's death, if they ask for nonsense. If
they ask for nothing, what the file says holds.

The rule guarded: a promise that is longer than what everybody takes for granted is in the journal
before it is given, so that it outlives a restart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from statistics import median_low

from sentinel_py.raft.journal import Journal

LONGEST_MS = 5_000
"""What a leader may ask for, unless the file says more; for round trips of a second."""

ROUND_TRIPS = 5
"""So many fit into a promise: one for the answer, one for what holds it up, and heartbeats that get
lost. Where the file says 300 ms, round trips below 60 ms change nothing."""

SAMPLES = 9
ENOUGH_SAMPLES = 5
"""Of the last answers of a follower the median counts: a loop that was held up is not the way."""

_CALM_MS = 30_000
"""Shorter promises are asked for when half of them would have done for so long."""

GRANTED_MS = 300
"""What is kept after a start even if the journal names no promise: what a file without
``raft-election-timeout`` promises."""


class Pace:
    """One member's promise, and what it asks for when it leads. ``base_ms`` is the file's."""

    def __init__(self, base_ms: int, journal: Journal) -> None:
        self._base_ms = base_ms
        self._journal = journal
        self.promise_ms = max(base_ms, journal.promise_ms)
        """How long after a sign of life from its leader this member elects nobody else."""
        self._samples: dict[str, deque[int]] = {}
        self._wanted_ms = self.promise_ms
        self._high_at = 0

    def kept_ms(self) -> int:
        """Return what has to be kept after a start: the last run may have promised it."""
        return max(self.promise_ms, GRANTED_MS)

    def certain_ms(self) -> int:
        """Return what may be said during a write: a longer promise may not be on disk yet."""
        return min(self.promise_ms, max(self._journal.durable_promise_ms, GRANTED_MS))

    # Follower

    def follow(self, wanted_ms: int, now_ms: int, promised_until: int) -> None:
        """Give the promise that the leader asks for, from now on."""
        promise_ms = min(max(wanted_ms, self._base_ms), max(LONGEST_MS, self._base_ms))
        on_disk_ms = max(self._journal.promise_ms, GRANTED_MS)
        # A start would keep what is on disk: that may get less once nothing older lasts longer.
        is_over = now_ms + promise_ms >= promised_until
        if promise_ms > on_disk_ms or (promise_ms < self._journal.promise_ms and is_over):
            self._journal.set_promise(promise_ms)
        self.promise_ms = promise_ms

    # Leader

    def measure(self, peer: str, round_trip_ms: int) -> None:
        """Note how long an answer took."""
        self._samples.setdefault(peer, deque(maxlen=SAMPLES)).append(round_trip_ms)

    def wanted_ms(self, peers: Iterable[str], needed: int, now_ms: int) -> int:
        """Return the promise to ask for; ``needed`` of these peers make a majority with us."""
        medians = sorted(
            median_low(samples)
            for peer in peers
            if len(samples := self._samples.get(peer, ())) >= ENOUGH_SAMPLES
        )
        if 0 < needed <= len(medians):
            self._want(ROUND_TRIPS * medians[needed - 1], now_ms)
        return self._wanted_ms

    def begin(self, now_ms: int) -> None:
        """Begin to lead: what was measured before may have changed."""
        self._samples.clear()
        self._high_at = now_ms
        self._wanted_ms = self.promise_ms

    def _want(self, least_ms: int, now_ms: int) -> None:
        least_ms = min(max(least_ms, self._base_ms), max(LONGEST_MS, self._base_ms))
        if least_ms > self._wanted_ms // 2:
            self._high_at = now_ms
        if least_ms > self._wanted_ms:
            # A little more, so that not each longer round trip makes all write to their disks.
            self._wanted_ms = min(least_ms * 5 // 4, max(LONGEST_MS, self._base_ms))
        elif now_ms > self._high_at + _CALM_MS:
            self._wanted_ms = least_ms
