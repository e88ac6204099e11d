"""Keeps another program led to the master: again when it fails, again when it has forgotten.

What that program is belongs to the Targets (`haproxy`, `twemproxy`, `consul`). The rule guarded:
the newest news wins, an error is told once and tried again, and a target that hangs costs nobody
else anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Protocol

from sentinel_py.discovery import command
from sentinel_py.discovery.command import Source
from sentinel_py.discovery.place import Place

RETRY_S = 1.0


class TargetError(Exception):
    """One line: what the other program did not do."""


class Target(Protocol):
    """A program that leads clients."""

    again_s: float
    """After so long it is looked at again."""

    async def lead(self, masters: Mapping[str, Place | None]) -> str:
        """Lead to these; returns what had to be changed, or nothing. None is a switch under way."""

    async def end(self) -> None:
        """Clear up, as nobody will look after it any more."""


class Steering:
    """Takes the news of all followers to one target."""

    def __init__(
        self, target: Target, say: Callable[[str], None], complain: Callable[[str], None]
    ) -> None:
        self.changes = 0
        self.failures = 0
        self._target = target
        self._say = say
        self._complain = complain
        self._masters: dict[str, Place | None] = {}
        self._news = asyncio.Event()
        self._last_error = ""

    def take(self, name: str, master: Place | None) -> None:
        self._masters[name] = master
        self._news.set()

    async def run(self) -> None:
        """Lead until cancelled; nothing is touched before the first master is known."""
        try:
            await self._news.wait()
            while True:
                self._news.clear()
                pause_s = await self._lead()
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._news.wait()
        finally:
            await self._target.end()

    async def _lead(self) -> float:
        """Lead once; returns after how long to look again."""
        try:
            change = await self._target.lead(dict(self._masters))
        except TargetError as error:
            self.failures += 1
            if str(error) != self._last_error:
                self._complain(f"{error}; tried again each {RETRY_S:g} s ({self._counts()})")
            self._last_error = str(error)
            return RETRY_S
        if change:
            self.changes += 1
            self._say(f"{change} ({self._counts()})")
        elif self._last_error:
            self._say(f"works again ({self._counts()})")
        self._last_error = ""
        return self._target.again_s

    def _counts(self) -> str:
        return f"since the start {self.changes} changes, {self.failures} failures"


async def steer(target: Target, source: Source, *names: str) -> None:
    """Follow these masters and lead the target to them."""
    steering = Steering(target, command.say, command.complain)
    async with asyncio.TaskGroup() as group:
        group.create_task(steering.run())
        for name in names:
            group.create_task(source.follower(name, partial(steering.take, name)).run())
