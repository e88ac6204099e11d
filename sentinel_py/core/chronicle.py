"""The history of events: what happened to the masters, in the order of ids that only grow.

In Raft mode the log alone makes it, so that all members have the same one and a new leader knows
what each webhook has taken; otherwise each sentinel has its own. What is worth an event, and who
writes it down, is decided outside. It is not in the config file: a member reads it back from its
snapshot and its journal, whatever of these the file stands for already.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import astuple, field, fields
from itertools import islice
from typing import Any

from sentinel_py.core import checks, records
from sentinel_py.core.checks import InvalidError
from sentinel_py.core.ledger import Delivered, Record
from sentinel_py.core.model import Event, History, State
from sentinel_py.values import dataclass

DELIVERED_MAX = 64
"""Webhooks of which is known what they have taken; those that are gone leave their row behind."""

TEXT_MAX = 2 * 1024 * 1024
"""Characters in all events. A snapshot has room for as many, even if each takes six bytes there."""

_TIME_MAX = 2**53
"""What every reader of JSON can hold."""

_ALIKE_MAX = 256
"""An entry that was proposed again can be no further behind than this many events."""

EVENTS_MAX = 1_000_000
"""Events in a snapshot, which has a limit of its own in bytes."""

_FIELDS = 4


EVENT_MAX_BYTES = 8 * 1024
"""The text of an event in an entry. A name of a master may come on top of it."""

_CHARACTER_BYTES = 12  # in JSON, at most


@dataclass(frozen=True, slots=True)
class Kept:
    """The history as a snapshot has it."""

    last_id: int = 0
    events: tuple[Event, ...] = ()
    delivered: dict[str, int] = field(default_factory=dict)


def clipped(text: str) -> str:
    """Return a text as the history keeps it: what is too long for an entry has its end cut off."""
    if len(json.dumps(text)) <= EVENT_MAX_BYTES:
        return text
    return text[: EVENT_MAX_BYTES // _CHARACTER_BYTES] + "..."


def size_of(event: Event) -> int:
    """Return how many bytes an event takes in an entry, at most."""
    return sum(len(json.dumps(it)) for it in (event.name, event.text, event.master)) + 32


def record(events: Iterable[Event]) -> Record:
    """Events as an entry; their ids come with the place that it has in the log."""
    return Record(
        tuple(
            word
            for it in events
            for word in (str(it.at), *map(checks.storable, (it.name, it.text, it.master)))
        )
    )


def check_entry(entry: Record | Delivered) -> None:
    """Refuse an entry about the history that has what no history has."""
    if isinstance(entry, Delivered):
        checks.check_number(entry.event, "an event's id", 0, _TIME_MAX)
        _check_storable((entry.hook,))
    else:
        if len(entry.words) % _FIELDS:
            raise InvalidError("an event lacks something")
        _check_storable(entry.words)


def write(state: State, entry: Record) -> None:
    """Put new events behind the others. One that was written before is not written again."""
    history = state.history
    latest = {_identity(event) for event in islice(reversed(history.events), _ALIKE_MAX)}
    for event in _events(entry):
        if _identity(event) not in latest:
            history.last_id = max(history.last_id + 1, event.at)
            _append(history, Event(history.last_id, *_identity(event), event.master))
    _trim(state)


def confirm(history: History, entry: Delivered) -> None:
    """A webhook has taken all events up to this one."""
    before = history.delivered.pop(entry.hook, 0)
    history.delivered[entry.hook] = max(before, entry.event)
    while len(history.delivered) > DELIVERED_MAX:
        del history.delivered[next(iter(history.delivered))]


def committed(state: State, index: int, entry: Record | Delivered) -> None:
    """Apply a log entry, once. What was written down before there was a log is not in it."""
    history = state.history
    if not history.is_shared:
        state.history = history = History(is_shared=True)
    if index <= history.applied:
        return
    history.applied = index
    if isinstance(entry, Record):
        write(state, entry)
    else:
        confirm(history, entry)


def since(history: History, event_id: int) -> list[Event]:
    """The events behind this id, oldest first."""
    found: list[Event] = []
    for event in reversed(history.events):
        if event.id <= event_id:
            break
        found.append(event)
    return found[::-1]


# In a snapshot -----------------------------------------------------------------------------------


def dump(history: History) -> dict[str, Any]:
    """The shared history as a part of the snapshot; none as long as there is nothing in it."""
    if not history.is_shared or not (history.last_id or history.delivered):
        return {}
    return {
        "history": {
            "last_id": history.last_id,
            "events": [list(astuple(event)) for event in history.events],
            "delivered": history.delivered,
        }
    }


def read(value: object) -> Kept:
    """Return what a snapshot says about the history; ValueError if it is no history."""
    return records.read(Kept, value, {"tuple[Event, ...]": _read_events})


def _read_event(value: object) -> object:
    names = [it.name for it in fields(Event)]
    if not isinstance(value, list) or len(value) != len(names):
        raise ValueError("not an event")
    return records.read(Event, dict(zip(names, value, strict=True)))


_read_events = records.several(_read_event, EVENTS_MAX)


def check(kept: Kept) -> None:
    """Refuse a history with what no history has; InvalidError says what."""
    numbers = [kept.last_id, *kept.delivered.values()]
    for event in kept.events:
        numbers += event.id, event.at
        _check_storable((event.name, event.text, event.master))
    for number in numbers:
        checks.check_number(number, "an event's id or time", 0, _TIME_MAX)
    if len(kept.delivered) > DELIVERED_MAX:
        raise InvalidError("more webhooks have taken events than can be known")
    _check_storable(kept.delivered)


def _check_storable(texts: Iterable[str]) -> None:
    if not all(map(checks.is_storable, texts)):
        raise InvalidError("an event is no text that a file can hold")


def install(state: State, index: int, kept: Kept) -> None:
    """Take over the history of a snapshot that is newer than ours."""
    if state.history.is_shared and index <= state.history.applied:
        return
    state.history = History(is_shared=True, applied=index, last_id=kept.last_id)
    for event in kept.events:
        _append(state.history, event)
    state.history.delivered.update(kept.delivered)
    _trim(state)


def _append(history: History, event: Event) -> None:
    history.events.append(event)
    history.characters += _characters(event)


def _trim(state: State) -> None:
    history, limit = state.history, state.settings.event_history
    while len(history.events) > limit or history.characters > TEXT_MAX:
        history.characters -= _characters(history.events.popleft())


def _characters(event: Event) -> int:
    return len(event.name) + len(event.text) + len(event.master)


def _identity(event: Event) -> tuple[int, str, str]:
    return event.at, event.name, event.text


def _events(entry: Record) -> Iterator[Event]:
    words = entry.words
    for start in range(0, len(words) - _FIELDS + 1, _FIELDS):
        at, name, text, master = words[start : start + _FIELDS]
        if at.isdecimal() and at.isascii() and len(at) <= len(str(_TIME_MAX)):
            yield Event(0, min(int(at), _TIME_MAX), name, text, master)
