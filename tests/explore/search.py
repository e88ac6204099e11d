"""The search through a set-up's worlds: cheapest first, each world once.

A world that took fewer faults to come to is looked at before one that took more, and of these the
one that took fewer events. So what was seen when the search ends is all that so many faults can do,
and the first trace of a broken rule is a short one.
"""

import time
from array import array
from collections import deque
from dataclasses import dataclass, field

from tests.sim.violation import Violation


@dataclass
class Result:
    """What a search has seen."""

    states: int = 0
    events: int = 0
    depth: int = 0
    ends: int = 0
    is_complete: bool = False
    violation: Violation | None = None
    path: list = field(default_factory=list)
    seconds: float = 0.0
    costs: dict = field(default_factory=dict)


class Search:
    def __init__(self, scene, *, depth_max=None):
        self.scene = scene
        self.depth_max = depth_max
        self.seen = {}
        self.parents = array("q")
        self.labels = []
        self.result = Result()

    def run(self, states_max):
        began = time.perf_counter()
        scene, result = self.scene, self.result
        first = scene.begin()
        total = sum(first.left)
        queues = [deque() for _ in range(total + 1)]
        self._add(first, -1, None, 0, queues, total)
        while True:
            cost = next((it for it, queue in enumerate(queues) if queue), None)
            if cost is None:
                result.is_complete = True
                break
            world, number, depth = queues[cost].popleft()
            result.depth = max(result.depth, depth)
            labels = scene.events(world)
            if not labels:
                result.ends += 1
                from . import rules
                try:
                    rules.check_end(world, scene)
                except Violation as v:
                    result.violation = v
                    result.path = self.path(number, None)
                    break
                continue
            if self.depth_max is not None and depth >= self.depth_max:
                continue
            try:
                for label in labels:
                    result.events += 1
                    after = scene.apply(world, label)
                    self._add(after, number, label, depth + 1, queues, total)
                    if scene.is_torn and world.left[2]:
                        label = "torn", *label
                        after = scene.apply(world, label)
                        self._add(after, number, label, depth + 1, queues, total)
            except Violation as violation:
                result.violation = violation
                result.path = self.path(number, label)
                break
            if len(self.seen) >= states_max:
                break
        result.states = len(self.seen)
        result.seconds = time.perf_counter() - began
        return result

    def _add(self, world, parent, label, depth, queues, total):
        key = hash(world)
        if key in self.seen:
            return
        number = self.seen[key] = len(self.labels)
        self.parents.append(parent)
        self.labels.append(label)
        cost = total - sum(world.left)
        queues[cost].append((world, number, depth))
        self.result.costs[cost] = self.result.costs.get(cost, 0) + 1

    def path(self, number, last):
        found = [] if last is None else [last]
        while number > 0:
            found.append(self.labels[number])
            number = self.parents[number]
        return found[::-1]
