"""The search through a world's moments: what took few faults first, each moment once.

First all is looked at that happens without a fault. Then, of these moments in random order, what
one fault makes of them, each up to its end; then what a second fault makes of those. So it is known
how many faults were seen to the full when the search ends, and what was seen of the next one is
spread over the whole course of events. The trace of a broken rule is a short one.

A moment is remembered by a hash of 64 bits. Among ten million, two are taken for one with a chance
of one in 400,000; then something is not looked at, and nothing is told that is not so.
"""

import time
from array import array
from collections import deque
from dataclasses import dataclass, field
from random import Random

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
        # By the number of faults: what was found, and what faults were not tried on yet.
        self._found = []
        self._untried = []
        self._faults = 0  # that the world has

    def run(self, states_max):
        """Look at moments until all were seen, so many were, or a rule is broken."""
        began = time.perf_counter()
        result = self.result
        first = self._play.begin()
        self._faults = sum(first.left)
        self._found = [deque() for _ in range(self._faults + 1)]
        self._untried = [[] for _ in range(self._faults + 1)]
        self._add(first, -1, None, 0)
        while len(self._seen) < states_max and not result.violation:
            if found := next((it for it in self._found if it), None):
                self._go_on(*found.popleft())
            elif untried := next((it for it in self._untried if it), None):
                self._begin_with(untried)
                self._do_harm(*untried.pop())
            else:
                result.is_complete = True
                break
        result.states = len(self._seen)
        result.seconds = time.perf_counter() - began
        return result

    def _begin_with(self, untried):
        """All with as many faults was seen: the next one is tried on it, here and there."""
        faults = self._untried.index(untried)
        if self.result.all_with < faults:
            self.result.all_with = faults
            Random(0).shuffle(untried)

    def _go_on(self, moment, number, depth):
        result, play = self.result, self._play
        result.depth = max(result.depth, depth)
        events = play.going_on(moment)
        if not events:
            result.ends += 1
            try:
                rules.check_end(moment, play)
            except Violation as violation:
                self._end(violation, number, None)
                return
        self._look(events, moment, number, depth)
        if any(moment.left):
            self._untried[self._cost(moment)].append((moment, number, depth))

    def _do_harm(self, moment, number, depth):
        self._look(self._play.faults(moment), moment, number, depth)

    def _look(self, events, moment, number, depth):
        play = self._play
        for event in events:
            self.result.events += 1
            try:
                self._add(play.apply(moment, event), number, event, depth + 1)
            except Violation as violation:
                self._end(violation, number, event)
                return
            if play.is_torn and moment.left[Fault.CRASH] and event[0] != "torn":
                self._look([("torn", *event)], moment, number, depth)

    def _cost(self, moment):
        return self._faults - sum(moment.left)

    def _add(self, moment, parent, event, depth):
        key = hash(moment)
        if key in self._seen:
            return
        self._seen.add(key)
        number = len(self._events)
        self._parents.append(parent)
        self._events.append(event)
        self._found[self._cost(moment)].append((moment, number, depth))

    def _end(self, violation, number, last):
        self.result.violation = violation
        events = [] if last is None else [last]
        while number > 0:
            events.append(self._events[number])
            number = self._parents[number]
        self.result.path = [trace.word(self._play, it) for it in events[::-1]]
