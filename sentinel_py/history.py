"""From notices to the event history: what is worth an event, and who writes it down.

What an event is, and which id it gets, is the core's (`core/chronicle.py`). In classic mode each
sentinel writes down what it sees. In Raft mode the leader does, for all: others keep what they see
until its entry comes, so that whoever leads next can write down what the old leader could not. The
rule guarded: events wait for failovers and never the other way round; they are written some at a
time, a while after they happened.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Protocol

from sentinel_py.core import chronicle
from sentinel_py.core.messages import Input, Level, Note, Notice
from sentinel_py.core.model import Event, State

FLUSH_MS = 300
"""Longer than the usual failover takes, which is then one entry, behind all of its own."""

BATCH_MAX = 100
"""Events in one entry: about 12 KB, which delay no claim behind them."""

BATCH_BYTES = 32 * 1024
"""Half of what an entry may have, in case all of them are long."""

PENDING_MAX = 2_000
"""Events that wait to be written down; of 1,000 masters lost at once, the first."""

RETRY_MS = 2_000
"""What was proposed and has not come is proposed again; the log takes it once."""

GRACE_MS = 10_000
"""A leader may have been dead for so long before that was known, its last events unwritten."""

_OF_THE_CLUSTER = frozenset(
    f"{sign}raft-{what}" for sign in "+-" for what in ("leader", "majority", "member")
)


class Listener(Protocol):
    """Somebody who wants the events: those seen here at once, those of the history as they come."""

    def seen(self, event: Event) -> None: ...
    def recorded(self, events: Sequence[Event]) -> None: ...
    def lead_changed(self, leads: bool) -> None: ...


class Chronicler:
    """Writes events down and tells listeners. ``feed`` gives the core an input."""

    def __init__(
        self,
        state: State,
        feed: Callable[[Input], None],
        wall_clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._state = state
        self._feed = feed
        self._now = wall_clock_ms
        self._listeners: list[Listener] = []
        self._pending: deque[Event] = deque(maxlen=PENDING_MAX)
        self._timer: asyncio.TimerHandle | None = None
        self._is_under_way = False  # proposed, and not seen in the log yet
        self._told = 0  # the last id that listeners know
        self._is_closed = False
        self._leads = False
        self._leader: str | None = None
        self._leader_lost_at = self._now()

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def close(self) -> None:
        self._is_closed = True
        self._cancel()

    def notice(self, notice: Notice) -> None:
        """A notice of this sentinel. Warnings about masters and about the Raft cluster are kept."""
        if notice.level is not Level.WARNING:
            return
        if not notice.master and notice.name not in _OF_THE_CLUSTER:
            return
        event = Event(0, self._now(), notice.name, notice.text, notice.master)
        for listener in self._listeners:
            listener.seen(event)
        if self._state.settings.event_history:
            self._pending.append(event)
            self._write_soon(FLUSH_MS)

    def look(self) -> None:
        """The log has moved: see what is new in the history, and who leads."""
        history = self._state.history
        if history.last_id != self._told:
            self._tell(chronicle.since(history, self._told) if history.last_id > self._told else [])
        raft = self._state.raft
        if raft is None:
            return
        if raft.leader != self._leader:
            if self._leader not in (None, self._state.myid):
                self._leader_lost_at = self._now()
            self._leader = raft.leader
        if raft.leads != self._leads:
            self._leads = raft.leads
            self._lead_changed()

    def _tell(self, events: list[Event]) -> None:
        self._told = self._state.history.last_id
        for event in events:
            self._settle(event)
        self._is_under_way = False
        self._cancel()
        if self._pending:
            self._write_soon(FLUSH_MS)
        for listener in self._listeners:
            listener.recorded(events)

    def _settle(self, event: Event) -> None:
        """Somebody has written down what we have seen, too."""
        ours = (it for it in self._pending if _says_same(it, event))
        if (found := next(ours, None)) is not None:
            self._pending.remove(found)

    def _lead_changed(self) -> None:
        if self._leads:
            self._take_over()
            self._write_soon(FLUSH_MS)
        for listener in self._listeners:
            listener.lead_changed(self._leads)

    def _take_over(self) -> None:
        """Keep of what we have seen what the leader before us may have left out."""
        begins_at = self._leader_lost_at - GRACE_MS
        written = [it for it in self._state.history.events if it.at >= begins_at - GRACE_MS]
        kept = [
            event
            for event in self._pending
            if event.at >= begins_at
            and not any(
                _says_same(event, it) and abs(event.at - it.at) < GRACE_MS for it in written
            )
        ]
        self._pending = deque(kept, maxlen=PENDING_MAX)
        self._is_under_way = False

    @property
    def _may_write(self) -> bool:
        raft = self._state.raft
        return raft is None or raft.leads

    def _write_soon(self, delay_ms: int) -> None:
        if self._timer is None and self._may_write and not self._is_closed:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(delay_ms / 1000, self._write)

    def _cancel(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _write(self) -> None:
        self._timer = None
        if not self._pending or not self._may_write:
            return
        self._is_under_way = True
        self._feed(Note(chronicle.record(self._batch())))
        self.look()
        if self._is_under_way:
            self._write_soon(RETRY_MS)

    def _batch(self) -> list[Event]:
        batch: list[Event] = []
        left = BATCH_BYTES
        for event in islice(self._pending, BATCH_MAX):
            left -= len(event.text)
            if batch and left < 0:
                break
            batch.append(event)
        return batch


def _says_same(one: Event, other: Event) -> bool:
    return one.name == other.name and one.text == other.text
