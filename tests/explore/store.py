"""Cores as small numbers: a core is frozen to a value, kept once, and thawed to be stepped.

Equal states have equal numbers. What makes two states differ without a meaning is put in order
first: links have the number of what they lead to, dicts are sorted, timers that are not valid any
more are gone. Nothing here knows what the fields mean, so the core may gain and lose some.
"""

import dataclasses
from collections import deque
from operator import attrgetter
from random import Random

from sentinel_py.core.model import LinkKind
from sentinel_py.core.sentinel import Sentinel

_LINK_IDS_MAX = 100
"""Links have fixed numbers below this; one that a step opens has a higher one until it is over."""


class _Ref:
    """Another object of the same core, by its place."""

    __slots__ = ("at",)

    def __init__(self, at):
        self.at = at


_REFS = [_Ref(at) for at in range(200)]
_ATOMS = {int, str, bytes, bool, float, type(None)}


class _Plan:
    """How objects of one class are taken apart and put together."""

    def __init__(self, kind):
        self.kind = kind
        self.names = tuple(field.name for field in dataclasses.fields(kind))
        self.read = attrgetter(*self.names)


class Dice(Random):
    """Draws the same from the same range each time: a part of it, from 0 to 1."""

    def __init__(self, part):
        super().__init__(0)
        self.part = part

    def randint(self, a, b):
        return a + int((b - a) * self.part)


class Store:
    """All cores that were ever seen. ``endpoints`` are the addresses that links can lead to."""

    def __init__(self, endpoints):
        self._link_ids = {
            (*endpoint, kind): 1 + 2 * number + (kind is LinkKind.CHANNEL)
            for number, endpoint in enumerate(endpoints)
            for kind in LinkKind
        }
        self._plans = {}
        self._records = {}
        self._record_list = []
        self._cores = {}
        self._core_list = [None]  # no core has the number 0

    def __len__(self):
        return len(self._core_list) - 1

    def link_id(self, link):
        """The number of a link by what it leads to."""
        address = link.owners[0].address
        return self._link_ids[address.ip, address.port, link.kind]

    # Freeze

    def freeze(self, core):
        """The number of this core's state. The core itself is used up."""
        state = core.state
        self._number_links(state)
        found = [state]
        places = {id(state): 0}
        records = []
        plans = self._plans
        for thing in found:
            kind = type(thing)
            plan = plans.get(kind) or self._new_plan(kind)
            values = plan.read(thing)
            if any(type(value) not in _ATOMS for value in values):
                values = tuple(
                    value if type(value) in _ATOMS else self._pack(value, found, places)
                    for value in values
                )
            record = (plan, values)
            number = self._records.get(record)
            if number is None:
                number = self._records[record] = len(self._record_list)
                self._record_list.append(record)
            records.append(number)
        key = (core._stepped_at, *records)
        ident = self._cores.get(key)
        if ident is None:
            ident = self._cores[key] = len(self._core_list)
            self._core_list.append(key)
        return ident

    def _number_links(self, state):
        links = {self.link_id(link): link for link in state.links.values()}
        assert len(links) == len(state.links), "two links to one endpoint"
        for number, link in links.items():
            link.id = number
        state.links = links
        state.last_link_id = _LINK_IDS_MAX

    def _new_plan(self, kind):
        plan = self._plans[kind] = _Plan(kind)
        return plan

    def _pack(self, value, found, places):
        kind = type(value)
        if kind in _ATOMS:
            return value
        if kind in self._plans:
            at = places.get(id(value))
            if at is None:
                at = places[id(value)] = len(found)
                found.append(value)
            return _REFS[at]
        if kind is dict:
            items = sorted(value.items())
            return dict, *(self._pack(it, found, places) for pair in items for it in pair)
        if kind in (list, deque):
            return kind, *(self._pack(it, found, places) for it in value)
        if kind is set:
            return set, *sorted(value)
        if _is_mutable(kind):
            self._new_plan(kind)
            return self._pack(value, found, places)
        if kind is not tuple:
            _ATOMS.add(kind)
        return value

    # Thaw

    def thaw(self, ident, part=0.0):
        """A core in this state, whose dice fall at this part of their range."""
        stepped_at, *numbers = self._core_list[ident]
        records = [self._record_list[number] for number in numbers]
        things = [plan.kind.__new__(plan.kind) for plan, _ in records]
        for thing, (plan, values) in zip(things, records, strict=True):
            for name, value in zip(plan.names, values, strict=True):
                is_packed = type(value) in _PACKED
                setattr(thing, name, _unpacked(value, things) if is_packed else value)
        return self._with_timers(things[0], stepped_at, part)

    @staticmethod
    def _with_timers(state, stepped_at, part):
        core = Sentinel(state, Dice(part))
        core._stepped_at = stepped_at
        for master in state.masters.values():
            for instance in master.instances():
                due_at = instance.due_at
                if due_at is not None:
                    instance.due_at = None
                    core._schedule(instance, due_at)
        return core


def _is_mutable(kind):
    by_value = kind.__hash__ not in (None, object.__hash__)
    return dataclasses.is_dataclass(kind) and not by_value


def _unpacked(value, things):
    if type(value) is _Ref:
        return things[value.at]
    kind = value[0] if value else None
    if kind not in _CONTAINERS:
        return value
    items = [_unpacked(it, things) if type(it) in _PACKED else it for it in value[1:]]
    if kind is dict:
        return dict(zip(items[::2], items[1::2], strict=True))
    return kind(items)


_PACKED = {_Ref, tuple}
_CONTAINERS = {dict, list, deque, set}
