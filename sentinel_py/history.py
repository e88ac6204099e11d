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
from collections.abc import Callable, Iterable, Sequence
from itertools import islice, takewhile
from typing import Protocol

from sentinel_py.core import chronicle, ledger
from sentinel_py.core.messages import Input, Level, Note, Notice
from sentinel_py.core.model import Event, State

FLUSH_MS = 300
"""Longer than the usual failover takes, which is then one entry, behind all of its own."""

HOLD_MS = 5_000
"""So long events wait for a failover that is due or under way, whose entries go first; each one
that comes between costs it a sync."""

BATCH_MAX = 100
"""Events in one entry: about 12 KB, which delay no claim behind them."""

BATCH_BYTES = ledger.ENTRY_MAX_BYTES // 2
"""As they stand in the entry; one alone has less than that."""

PENDING_MAX = 2_000
"""Events that wait to be written down; of 1,000 masters lost at once, the first."""

RETRY_MS = 2_000
"""What was proposed and has not come is proposed again; the log takes it once."""

GRACE_MS = 10_000
"""A leader may have been dead for so long before that was known, its last events unwritten. What
was seen by two sentinels at times no further apart is one event."""

_OF_THE_CLUSTER = frozenset(
    f"{sign}raft-{what}" for sign in "+-" for what in ("leader", "majority", "member")
)

_SWITCH = "+switch-master"
"""Its text ends with the new address: ``<master> <old ip> <old port> <ip> <port>``."""


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
        self._unseen: deque[Event] = deque(maxlen=PENDING_MAX)  # what others have written
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
        text = chronicle.clipped(notice.text)
        event = Event(0, self._now(), notice.name, text, notice.master)
        for listener in self._listeners:
            listener.seen(event)
        if self._state.settings.event_history and not self._is_known(event):
            self._pending.append(event)
            self._write_soon(FLUSH_MS)

    def _is_known(self, event: Event) -> bool:
        """Whether somebody has written it down before we saw it, or it waits for that already.

        Who leads sees things happen again: a second failover has the notices of the first.
        """
        known = None if self._may_write else _nearest(self._unseen, event)
        if known and abs(known.at - event.at) < GRACE_MS:
            self._unseen.remove(known)
            return True
        return event in takewhile(lambda it: it.at == event.at, reversed(self._pending))

    def look(self) -> None:
        """The log has moved: see what is new in the history, and who leads."""
        history, told = self._state.history, self._told
        if history.last_id != told:
            self._told = history.last_id
            self._tell(chronicle.since(history, told) if history.last_id > told else [])
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
        # Our own notices of what the log did before these may wait for a save.
        asyncio.get_running_loop().call_soon(self._settle, events)
        for listener in self._listeners:
            listener.recorded(events)

    def _settle(self, events: list[Event]) -> None:
        """Somebody has written down what we have seen, too, or are going to see."""
        recent_at = self._now() - GRACE_MS
        while self._unseen and self._unseen[0].at < recent_at:
            self._unseen.popleft()
        for event in events:
            if ours := _nearest(self._pending, event):
                self._pending.remove(ours)
            elif event.at >= recent_at:
                self._unseen.append(event)
        self._is_under_way = False
        self._cancel()
        if self._pending:
            self._write_soon(FLUSH_MS)

    def _lead_changed(self) -> None:
        if self._leads:
            asyncio.get_running_loop().call_soon(self._take_over)
        for listener in self._listeners:
            listener.lead_changed(self._leads)

    def _take_over(self) -> None:
        """Keep of what we have seen what the leader before us may have left out."""
        begins_at = self._leader_lost_at - GRACE_MS
        kept = (event for event in self._pending if event.at >= begins_at)
        self._pending = deque(kept, maxlen=PENDING_MAX)
        self._is_under_way = False
        self._write_soon(FLUSH_MS)

    @property
    def _may_write(self) -> bool:
        raft = self._state.raft
        return raft is None or raft.leads

    @property
    def _is_decision_due(self) -> bool:
        """Whether an entry of ours could stand in a failover's way to the disks."""
        masters = self._state.masters.values()
        return self._state.raft is not None and any(it.is_odown or it.failover for it in masters)

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
        if self._is_decision_due and self._now() < self._pending[0].at + HOLD_MS:
            self._write_soon(FLUSH_MS)
            return
        self._is_under_way = True
        self._feed(Note(chronicle.record(self._batch())))
        self.look()
        if self._is_under_way:
            self._write_soon(RETRY_MS)

    def _batch(self) -> list[Event]:
        """The oldest; no more than the history has room for, or some would be gone at once."""
        batch: list[Event] = []
        left = BATCH_BYTES
        for event in islice(self._pending, min(BATCH_MAX, self._state.settings.event_history)):
            left -= chronicle.size_of(event)
            if batch and left < 0:
                break
            batch.append(event)
        return batch


def _says_same(one: Event, other: Event) -> bool:
    """Of the same name. Who was away for two switches sees one, from the first address to the last.

    That one was written down as a switch to the last.
    """
    if one.text == other.text or one.name != _SWITCH:
        return one.text == other.text
    return one.master == other.master and one.text.split()[-2:] == other.text.split()[-2:]


def _nearest(events: Iterable[Event], event: Event) -> Event | None:
    """The one of these, oldest first, that says the same, at the time that is nearest."""
    nearest = None
    for it in events:
        if it.name == event.name and _says_same(it, event):
            if nearest is None or abs(it.at - event.at) < abs(nearest.at - event.at):
                nearest = it
            if it.at >= event.at:
                break
    return nearest
