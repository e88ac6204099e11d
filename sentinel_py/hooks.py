"""Webhooks: events of the history, posted as signed JSON to where the operator wants them.

With a Raft cluster the leader posts what the history has, and notes in the log how far each webhook
has come, so that the next leader goes on there: each event comes at least once, with an id by which
a receiver knows what it has already. Otherwise, or with ``webhook-per-node yes``, each sentinel
posts what it sees itself, as it runs notification scripts.

The rule guarded: a receiver that fails, hangs or lies costs a bounded queue and one connection, and
nobody waits for it. No secret, and no address beyond its host, is ever logged.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol
from urllib.parse import urlsplit

import aiohttp

from sentinel_py import __version__, signature
from sentinel_py.config.config import StartError
from sentinel_py.core.ledger import Delivered
from sentinel_py.core.messages import Input, Level, Note
from sentinel_py.core.model import Event, State, Webhook
from sentinel_py.tasks import spawn

ID_HEADER = "X-Sentinel-Event-Id"

QUEUE_MAX = 1_000
"""Events that wait for one webhook; beyond that the oldest are dropped, and counted."""

TIMEOUT_S = 5.0
"""A receiver takes note and answers; what it does with an event can wait until after that."""

BACKOFF_S = 0.5, 60.0
"""The wait after the first failure, and the longest one."""

CONFIRM_MS = 1_000
"""What was taken is noted in the log so much later, for all events at once."""

_TRY_AGAIN = frozenset((408, 425, 429))


def body_of(event: Event, event_id: str, sentinel: str) -> bytes:
    """An event as JSON; the same bytes each time it is posted by the same sentinel."""
    fields = {
        "id": event_id,
        "at": event.at,
        "event": event.name,
        "text": event.text,
        "master": event.master,
        "sentinel": sentinel,
    }
    return json.dumps(fields, separators=(",", ":")).encode()


def key_of(webhook: Webhook) -> str:
    """By what the log knows a webhook: all members have it, and it tells no secret."""
    return hashlib.sha256(f"{webhook.master} {webhook.url}".encode()).hexdigest()[:16]


# One webhook -------------------------------------------------------------------------------------


class Host(Protocol):
    """The sentinel around the webhooks."""

    @property
    def state(self) -> State: ...
    @property
    def cluster(self) -> str: ...
    def feed(self, event: Input) -> None: ...
    def log(self, level: Level, text: str) -> None: ...


class Sender:
    """The queue of one webhook, and the one request that is under way."""

    def __init__(self, webhook: Webhook, host: Host, took: Callable[[], None]) -> None:
        self.key = key_of(webhook)
        self.taken = 0  # the id of the last event that is done with
        self.noted = 0  # and of the last one for which the log knows it
        self.sent = self.retries = self.refused = self.dropped = 0
        self.last = ""  # the last answer: a status, or what went wrong
        self.failures = 0  # in a row
        url = urlsplit(webhook.url)
        self.where = f"{url.scheme}://{url.netloc.rpartition('@')[2]}"
        self._webhook = webhook
        self._host = host
        self._took = took
        self._queue: deque[tuple[Event, str]] = deque()
        self._is_filled = asyncio.Event()

    @property
    def queued(self) -> int:
        return len(self._queue)

    @property
    def master(self) -> str:
        return self._webhook.master

    def put(self, event: Event, event_id: str) -> None:
        if self._webhook.master not in ("*", event.master):
            return
        if len(self._queue) == QUEUE_MAX:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append((event, event_id))
        self._is_filled.set()

    def clear(self) -> None:
        self._queue.clear()

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Post event after event, each until it is taken or refused."""
        while True:
            await self._is_filled.wait()
            self._is_filled.clear()
            while self._queue:
                first = self._queue[0]
                if not await self._post(session, *first):
                    await asyncio.sleep(self._pause_s())
                elif self._queue and self._queue[0] is first:
                    self._queue.popleft()
                    self.taken = max(self.taken, first[0].id)
                    self._took()

    async def _post(self, session: aiohttp.ClientSession, event: Event, event_id: str) -> bool:
        """Whether the event is done with."""
        status, why = await self._answer(session, event, event_id)
        self.last = why or str(status)
        if 200 <= status < 300:
            self.sent += 1
            if self.failures:
                self._say(Level.NOTICE, "takes events again")
            self.failures = 0
            return True
        self.failures += 1
        if why or status >= 500 or status in _TRY_AGAIN:
            self.retries += 1
            if self.failures == 1:
                self._say(Level.WARNING, f"does not take events: {self.last}")
            return False
        self.refused += 1
        self._say(Level.WARNING, f"refuses event {event_id} ({event.name}): {status}")
        return True

    async def _answer(
        self, session: aiohttp.ClientSession, event: Event, event_id: str
    ) -> tuple[int, str]:
        """The status, or 0 and what went wrong. A redirection is no answer that was signed for."""
        body = body_of(event, event_id, self._host.state.myid)
        headers = {"Content-Type": "application/json", ID_HEADER: event_id}
        if secret := self._webhook.secret:
            headers[signature.HEADER] = signature.sign(secret, body, int(time.time()))
        try:
            async with session.post(
                self._webhook.url, data=body, headers=headers, allow_redirects=False
            ) as response:
                return response.status, ""
        except TimeoutError:
            return 0, "timeout"
        except (OSError, ValueError, aiohttp.ClientError) as error:
            return 0, type(error).__name__

    def _pause_s(self) -> float:
        shortest, longest = BACKOFF_S
        doubled: float = shortest * 2 ** min(self.failures - 1, 16)
        return min(longest, doubled) * random.uniform(0.5, 1.0)

    def _say(self, level: Level, text: str) -> None:
        self._host.log(level, f"Webhook {self.where} {text}")


# All of them -------------------------------------------------------------------------------------


class Webhooks:
    """A listener of the chronicler, with a sender for each webhook."""

    def __init__(self, host: Host) -> None:
        settings = host.state.settings
        if not settings.event_history and not settings.webhook_per_node:
            raise StartError("A webhook needs event-history, or webhook-per-node yes")
        self._host = host
        self._per_node = settings.webhook_per_node
        self._senders = [Sender(webhook, host, self._note_soon) for webhook in settings.webhooks]
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._leads = False
        self._seen_id = 0

    def start(self) -> None:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"sentinel_py/{__version__}"},
        )
        for sender in self._senders:
            spawn(sender.run(self._session), self._tasks)

    async def stop(self) -> None:
        """Note what was taken, and end; what was not is posted by the next leader, if any."""
        self._note()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session:
            await self._session.close()

    def info(self) -> list[tuple[str, object]]:
        """The section Webhooks of INFO."""
        return [(f"webhook{number}", _row(it)) for number, it in enumerate(self._senders)]

    # Listener of the chronicler

    @property
    def _is_shared(self) -> bool:
        return self._host.state.raft is not None and not self._per_node

    def seen(self, event: Event) -> None:
        if self._is_shared:
            return
        self._seen_id = max(self._seen_id + 1, event.at)
        own = Event(self._seen_id, event.at, event.name, event.text, event.master)
        self._put([own], self._host.state.myid)

    def recorded(self, events: Sequence[Event]) -> None:
        if self._is_shared and self._leads:
            self._put(events, self._host.cluster)

    def lead_changed(self, leads: bool) -> None:
        """Go on where the leader before us was; or leave it to the next one."""
        self._leads = leads
        if not self._is_shared:
            return
        for sender in self._senders:
            if leads:
                self._take_over(sender)
            else:
                sender.clear()

    def _take_over(self, sender: Sender) -> None:
        history = self._host.state.history
        taken = history.delivered.get(sender.key)
        if taken is None:
            # One that is new begins now. In the log, that comes before any event it is to get.
            self._host.feed(Note(Delivered(sender.key, history.last_id)))
            taken = history.last_id
        sender.taken = sender.noted = taken
        for event in history.events:
            if event.id > taken:
                sender.put(event, _id(event, self._host.cluster))

    def _put(self, events: Sequence[Event], origin: str) -> None:
        for event in events:
            for sender in self._senders:
                sender.put(event, _id(event, origin))

    # What was taken

    def _note_soon(self) -> None:
        if self._timer is None and self._is_shared:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(CONFIRM_MS / 1000, self._note)

    def _note(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        for sender in self._senders if self._leads and self._is_shared else ():
            if sender.taken > sender.noted:
                sender.noted = sender.taken
                self._host.feed(Note(Delivered(sender.key, sender.taken)))


def _id(event: Event, origin: str) -> str:
    return f"{origin}-{event.id}"


def _row(sender: Sender) -> str:
    fields = {
        "master": sender.master,
        "to": sender.where,
        "queued": sender.queued,
        "sent": sender.sent,
        "retries": sender.retries,
        "refused": sender.refused,
        "dropped": sender.dropped,
        "failing": int(sender.failures > 0),
        "last": sender.last,
    }
    return ",".join(f"{name}={value}" for name, value in fields.items())
