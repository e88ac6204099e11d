"""The stream of events: what the sentinel publishes, for listeners that come and go.

Nothing here knows of HTTP. The rule it guards: to publish takes no time that depends on how fast
anybody listens, and what is kept for a listener is bounded.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import deque
from dataclasses import asdict, dataclass

MAX_LISTENERS = 32
"""Browsers and followers; each costs a connection and a queue."""

MAX_QUEUED = 512
"""Events that one listener may be behind: half a thousand masters that die at once."""

MAX_KEPT = 512
"""Events that a listener can have again, when it was away for a moment."""


@dataclass(frozen=True, slots=True)
class Event:
    """One notice. Ids only grow, also over a restart, and are no more than that."""

    id: int
    at: int  # Unix ms
    name: str
    text: str

    def as_json(self) -> str:
        return json.dumps(asdict(self))


class TooManyListenersError(Exception):
    """No place for one more."""


class Listener:
    """What one reader has still to get."""

    def __init__(self, missed: list[Event]) -> None:
        self._queue = deque(missed)
        self._came = asyncio.Event()
        self.is_over = False  # it was too slow, and what comes now would have a gap before it

    def put(self, event: Event) -> None:
        if len(self._queue) >= MAX_QUEUED:
            self.end()
        elif not self.is_over:
            self._queue.append(event)
        self._came.set()

    def end(self) -> None:
        self.is_over = True
        self._came.set()

    async def take(self, within_s: float) -> list[Event]:
        """All that has come, as soon as there is any; nothing when none came in time."""
        if not self._queue and not self.is_over:
            self._came.clear()
            try:
                async with asyncio.timeout(within_s):
                    await self._came.wait()
            except TimeoutError:
                return []
        events = list(self._queue)
        self._queue.clear()
        return events


class Feed:
    """All events of this run, of which the last ones are kept, and who listens."""

    def __init__(self) -> None:
        self.kept: deque[Event] = deque(maxlen=MAX_KEPT)
        self.listeners: set[Listener] = set()
        self._ids = itertools.count(time.time_ns() // 1_000_000)

    def publish(self, at: int, name: str, text: str) -> None:
        event = Event(next(self._ids), at, name, text)
        self.kept.append(event)
        for listener in self.listeners:
            listener.put(event)

    def listen(self, since: int | None) -> Listener:
        """A new listener, which also gets what is kept behind the event ``since``, if it says."""
        if len(self.listeners) >= MAX_LISTENERS:
            raise TooManyListenersError
        missed = [] if since is None else [event for event in self.kept if event.id > since]
        listener = Listener(missed)
        self.listeners.add(listener)
        return listener

    def end(self) -> None:
        """Let all listeners go."""
        for listener in self.listeners:
            listener.end()

    def leave(self, listener: Listener) -> None:
        self.listeners.discard(listener)
