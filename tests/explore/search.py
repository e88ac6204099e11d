"""The search through a world's moments: what took few faults first, each moment once.

Of all moments that were found and not looked at yet, one that took the fewest faults is next, and of
these one that took the fewest events. So what was seen at the end is all that so many faults can
do, and the trace of a broken rule is a short one.

A moment is remembered by a hash of 64 bits. Among ten million, two are taken for one with a chance
of one in 400,000; then something is not looked at, and nothing is told that is not so.
"""

import time
from array import array
from collections import deque
from dataclasses import dataclass, field

from tests.sim.violation import Violation

from . import rules, trace
from .moment import Fault


@dataclass
class Result:
    """What a search has seen. ``all_with`` is how many faults it has seen all of; -1 if none."""

    states: int = 0
    events: int = 0
    depth: int = 0
    ends: int = 0
    all_with: int = -1
    is_complete: bool = False
    violation: Violation | None = None
    path: list = field(default_factory=list)
    seconds: float = 0.0


class Search:
    """One search, of a world that was not begun yet."""

    def __init__(self, play):
        self.result = Result()
        self._play = play
        self._seen = set()
        self._parents = array("q")
        self._events = []
        self._queues = []; self.turn=0
        self._faults = 0  # that the world has

    def run(self, states_max):
        """Look at moments until all were seen, so many were, or a rule is broken."""
        began = time.perf_counter()
        result = self.result
        first = self._play.begin()
        self._faults = sum(first.left)
        self._queues = [deque() for _ in range(self._faults + 1)]
        self._add(first, -1, None, 0)
        while len(self._seen) < states_max:
            queue = next((it for it in self._queues if it), None)
            if queue is None:
                result.is_complete = True
                break
            result.all_with = self._queues.index(queue) - 1
            self._look(*(queue.pop() if self.turn else queue.popleft())); self.turn = not self.turn
            if result.violation:
                break
        result.states = len(self._seen)
        result.seconds = time.perf_counter() - began
        return result

    def _look(self, moment, number, depth):
        result, play = self.result, self._play
        result.depth = max(result.depth, depth)
        event = None
        try:
            events = play.events(moment)
            if not events:
                result.ends += 1
                rules.check_end(moment, play)
            for event in events:
                self._add(play.apply(moment, event), number, event, depth + 1)
                if play.is_torn and moment.left[Fault.CRASH]:
                    event = "torn", *event
                    self._add(play.apply(moment, event), number, event, depth + 1)
                result.events += 1
        except Violation as violation:
            result.violation = violation
            result.path = self._path(number, event)

    def _add(self, moment, parent, event, depth):
        key = hash(moment)
        if key in self._seen:
            return
        self._seen.add(key)
        number = len(self._events)
        self._parents.append(parent)
        self._events.append(event)
        self._queues[self._faults - sum(moment.left)].append((moment, number, depth))

    def _path(self, number, last):
        events = [] if last is None else [last]
        while number > 0:
            events.append(self._events[number])
            number = self._parents[number]
        return [trace.word(self._play, it) for it in events[::-1]]
