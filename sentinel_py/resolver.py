"""Host names to addresses, without holding up the loop.

Here stands how a name is looked up; which names, and what an answer changes, is the core's. The
rule it guards: a resolver that hangs costs a bounded number of threads and nobody's time. Each
question is answered within a deadline, and a thread that is stuck neither keeps new questions
from being refused nor the process from ending.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from sentinel_py.core.messages import Input, Resolved

MAX_LOOKUPS = 16
"""Threads at once, stuck ones included; a resolver that works answers in milliseconds."""

MAX_QUESTIONS = 1024
"""Open questions; hosts come from INFO and hello messages, so from anybody who can send those."""

DEADLINE_S = 5.0
"""One timeout of the C library's resolver; after that the answer is "no address now"."""


def is_numeric(host: str) -> bool:
    """Whether the host is an IP address already, IPv6 with or without a zone."""
    return _is_address(socket.AF_INET, host) or _is_address(socket.AF_INET6, host.partition("%")[0])


def _is_address(family: int, host: str) -> bool:
    try:
        socket.inet_pton(family, host)
    except (OSError, ValueError):
        return False
    return True


def resolve_now(host: str) -> str | None:
    """The first address of the host. Blocks: for the start, and for the threads below."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, ValueError):  # ValueError: not even the form of a host name
        return None
    return str(found[0][4][0])


class Resolver:
    """Looks names up, each at most once at a time; answers go to ``sink`` as ``Resolved``.

    The threads are our own and not the loop's executor: Python waits at its end for those of an
    executor, however long a look-up hangs.
    """

    def __init__(
        self,
        sink: Callable[[Input], None],
        look_up: Callable[[str], str | None] = resolve_now,
    ) -> None:
        self._sink = sink
        self._look_up = look_up
        self._deadlines: dict[str, asyncio.TimerHandle] = {}
        self._waiting: dict[str, None] = {}
        self._running: set[str] = set()

    def resolve(self, host: str) -> None:
        if host in self._deadlines:
            return
        loop = asyncio.get_running_loop()
        if len(self._deadlines) >= MAX_QUESTIONS:
            loop.call_soon(self._sink, Resolved(host, None))
            return
        self._deadlines[host] = loop.call_later(DEADLINE_S, self._give_up, host)
        if host not in self._running:
            self._waiting[host] = None
            self._start_waiting()

    def _give_up(self, host: str) -> None:
        del self._deadlines[host]
        self._waiting.pop(host, None)
        self._sink(Resolved(host, None))

    def _start_waiting(self) -> None:
        while self._waiting and len(self._running) < MAX_LOOKUPS:
            host = next(iter(self._waiting))
            thread = threading.Thread(
                target=self._run, args=(asyncio.get_running_loop(), host), daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # the system has no thread left: the deadline answers
                return
            del self._waiting[host]
            self._running.add(host)

    def _run(self, loop: asyncio.AbstractEventLoop, host: str) -> None:
        answer: Callable[[], object]
        try:
            answer = partial(self._answered, host, self._look_up(host))
        except Exception as error:
            answer = partial(_raise, error)
        try:
            loop.call_soon_threadsafe(answer)
        except RuntimeError:
            return  # the loop has ended meanwhile

    def _answered(self, host: str, ip: str | None) -> None:
        self._running.remove(host)
        deadline = self._deadlines.pop(host, None)
        if deadline:
            deadline.cancel()
        if deadline or ip:  # a late "no address" was said already
            self._sink(Resolved(host, ip))
        self._start_waiting()


def _raise(error: Exception) -> NoReturn:
    """Let what went wrong in a thread go wrong in the loop, where it is seen."""
    raise error
