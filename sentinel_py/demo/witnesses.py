"""Who sees the failover from outside: a client that writes, and ears for the sentinels' notices.

They run until they are cancelled, and go on through every outage.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis.asyncio.sentinel import Sentinel
from redis.exceptions import RedisError

from sentinel_py.demo.group import CLIENT_TIMEOUT_S, NAME, PATIENCE, client_of
from sentinel_py.local import HOST, Server

WRITE_EVERY_MS = 10
REDIS_PY_SENTINEL: Callable[..., Any] = Sentinel  # redis-py leaves it untyped
HEARD_KEPT = 1_000  # notices; more than the longest failover brings
SAME_NOTICE_MS = 3_000  # within this, the same notice of another sentinel is not shown again


def now() -> int:
    return time.monotonic_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Outage:
    """From the last acknowledged write to the next one."""

    began_at: int
    ended_at: int

    @property
    def lasted_ms(self) -> int:
        return self.ended_at - self.began_at


class Writer:
    """An application: it only knows the sentinels, and writes to whatever master they name."""

    def __init__(self, ports: list[int], on_outage: Callable[[Outage], None]) -> None:
        places = [(HOST, port) for port in ports]
        self._sentinels = REDIS_PY_SENTINEL(places, sentinel_kwargs=PATIENCE, **PATIENCE)
        self._master = self._sentinels.master_for(NAME)
        self._on_outage = on_outage
        self.written = 0
        self.last_write_at = now()
        self.failing = False

    @property
    def address(self) -> str:
        host, port = self._master.connection_pool.master_address or ("nowhere", 0)
        return f"{host}:{port}"

    async def run(self) -> None:
        try:
            while True:
                await self._write()
                await asyncio.sleep(WRITE_EVERY_MS / 1000)
        finally:
            await self._master.aclose()
            await self._sentinels.aclose()

    async def _write(self) -> None:
        try:
            async with asyncio.timeout(CLIENT_TIMEOUT_S):
                await self._master.incr("writes")
        except (RedisError, OSError):
            self.failing = True
            return
        began_at, self.last_write_at = self.last_write_at, now()
        self.written += 1
        if self.failing and self.written > 1:
            self._on_outage(Outage(began_at, self.last_write_at))
        self.failing = False


@dataclass(frozen=True, slots=True)
class Heard:
    """A notice as one sentinel published it."""

    heard_at: int
    port: int
    event: str
    text: str


@dataclass(frozen=True, slots=True)
class Milestone:
    """A step of the failover: the notice that tells it, how its text begins, what it means."""

    event: str
    begins: str
    meaning: str


class Ears:
    """Everything that the sentinels publish; what is new goes to ``on_notice``."""

    def __init__(self, on_notice: Callable[[Heard], None]) -> None:
        self._on_notice = on_notice
        self._heard: deque[Heard] = deque(maxlen=HEARD_KEPT)
        self.listening: set[int] = set()

    async def listen(self, sentinel: Server) -> None:
        """Collect what a sentinel publishes, again when it was away."""
        while True:
            try:
                async with client_of(sentinel) as client, client.pubsub() as subscription:
                    await subscription.psubscribe("*")
                    self.listening.add(sentinel.port)
                    async for message in subscription.listen():
                        if message["type"] == "pmessage":
                            self._hear(sentinel.port, message["channel"], message["data"])
            except (RedisError, OSError):
                self.listening.discard(sentinel.port)
                await asyncio.sleep(WRITE_EVERY_MS / 1000)

    def _hear(self, port: int, event: str, text: str) -> None:
        heard = Heard(now(), port, event, text)
        told = any(
            (other.event, other.text) == (event, text) and other.port != port
            for other in self._heard
            if heard.heard_at - other.heard_at < SAME_NOTICE_MS
        )
        self._heard.append(heard)
        if not told:
            self._on_notice(heard)

    def heard_since(self, since: int, step: Milestone) -> list[int]:
        """How many ms after that instant each sentinel first told this step, in that order."""
        first: dict[int, int] = {}
        for heard in self._heard:
            matches = heard.event == step.event and heard.text.startswith(step.begins)
            if matches and heard.heard_at >= since:
                first.setdefault(heard.port, heard.heard_at - since)
        return list(first.values())
