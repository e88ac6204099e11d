"""The history of events: what happened to the masters, in the order of ids that only grow.

In Raft mode the log alone makes it, so that all members have the same one and a new leader knows
what each webhook has taken; otherwise each sentinel has its own. What is worth an event, and who
writes it down, is decided outside. It is not in the config file: a member reads it back from its
snapshot and its journal, whatever of these the file stands for already.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import astuple
from itertools import islice
from typing import Any

from sentinel_py.core.ledger import Delivered, Record
from sentinel_py.core.model import Event, History, State

DELIVERED_MAX = 64
"""Webhooks of which is known what they have taken; those that are gone leave their row behind."""

TEXT_MAX = 2 * 1024 * 1024
"""Characters in all events. A snapshot has room for as many, even if each takes six bytes there."""

_TIME_MAX = 2**53
"""What every reader of JSON can hold."""

_ALIKE_MAX = 256
"""An entry that was proposed again can be no further behind than this many events."""

_FIELDS = 4


def record(events: Iterable[Event]) -> Record:
    """Events as an entry; their ids come with the place that it has in the log."""
    return Record(
        tuple(word for it in events for word in (str(it.at), it.name, it.text, it.master))
    )


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


def install(state: State, index: int, document: dict[str, Any]) -> None:
    """Take over the history of a snapshot that is newer than ours."""
    kept = document.get("history", {"last_id": 0, "events": [], "delivered": {}})
    if state.history.is_shared and index <= state.history.applied:
        return
    state.history = History(is_shared=True, applied=index, last_id=kept["last_id"])
    for fields in kept["events"]:
        _append(state.history, Event(*fields))
    state.history.delivered.update(kept["delivered"])
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
