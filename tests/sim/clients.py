"""Clients of a cluster: operators who give orders, and an application that writes.

They use real connections of the simulated network and believe only what they were answered.
"""

import asyncio
from itertools import cycle

import hiredis

from sentinel_py.resp import encode_command

from .cluster import MASTER_NAME

PATIENCE_S = 1.0
LONG_PATIENCE_S = 5.0
ORDER_PAUSE_S = 0.5
LONG_PAUSE_S = 3.0
WRITE_PAUSE_S = 0.2


class _Caller(asyncio.Protocol):
    """One connection that asks one thing at a time."""

    def __init__(self, loop):
        self._loop = loop
        self._reader = hiredis.Reader()
        self._transport = None
        self._answer = None

    def connection_made(self, transport):
        self._transport = transport

    def connection_lost(self, exc):
        if self._answer and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("closed"))

    def data_received(self, data):
        self._reader.feed(data)
        reply = self._reader.gets()
        if reply is not False and self._answer and not self._answer.done():
            self._answer.set_result(reply)

    async def ask(self, *words):
        self._answer = self._loop.create_future()
        if self._transport.is_closing():
            raise ConnectionResetError("closed")
        self._transport.write(encode_command(words))
        return await self._answer

    def close(self):
        self._transport.abort()


async def _call(loop, address, *words, patience_s=PATIENCE_S):
    """One request on a connection of its own; ConnectionError or TimeoutError if none came."""
    async with asyncio.timeout(patience_s):
        _, caller = await loop.create_connection(lambda: _Caller(loop), *address)
        try:
            return await caller.ask(*words)
        finally:
            caller.close()


class Operator:
    """Gives orders to sentinels and to Redis servers."""

    def __init__(self, world, checkers):
        self._loop = world.spawn("10.0.2.1", "op").loop
        self._world = world
        self._checkers = checkers
        self._unsure = set()  # changes that were not answered, and may still come true
        self._latest = {}  # the last order for each change: only its answer says how that stands

    def order(self, machine, *words):
        self._world.log("op", f"to {machine.name}: {' '.join(words)}")
        self._loop.call_soon(self._start, self._order, machine, words)

    def change(self, sentinel, words, change, value):
        """Change what a sentinel is to remember: what was answered with OK must hold from then on.

        ``change`` is the master's name and what of it becomes ``value``.
        """
        self._world.log("op", f"to {sentinel.name}: {' '.join(words)}")
        self._loop.call_soon(self._start, self._change, sentinel, words, change, value)

    def insist(self, sentinels, *words):
        """Give an order to one after the other until it is carried out."""
        self._world.log("op", f"to all: {' '.join(words)}")
        self._loop.call_soon(self._start, self._insist, sentinels, words)

    async def _insist(self, sentinels, words):
        for sentinel in cycle(sentinels):
            reply = await self._order(sentinel, words, LONG_PATIENCE_S)
            if reply == b"OK":
                return
            # Another order may be under way that undoes what is so already.
            await asyncio.sleep(LONG_PAUSE_S if "already" in str(reply) else ORDER_PAUSE_S)

    def _start(self, coroutine_of, *args):
        task = self._loop.create_task(coroutine_of(*args))
        task.add_done_callback(asyncio.Future.result)

    async def _change(self, sentinel, words, change, value):
        if promises := self._checkers.promises:
            order = promises.begin(change, value)
            reply = await self._order(sentinel, words)
            promises.end(order, is_done=reply == b"OK", is_refused=_is_refusal(reply))
            return
        is_sure = (sentinel.name, change) not in self._unsure
        self._unsure.add((sentinel.name, change))
        self._checkers.ordered(sentinel.name, change)
        latest = self._latest[sentinel.name, change] = object()
        reply = await self._order(sentinel, words)
        is_sure = is_sure and self._latest[sentinel.name, change] is latest
        if reply is not None and is_sure:
            self._unsure.remove((sentinel.name, change))
            if reply == b"OK":
                self._checkers.acknowledged(sentinel.name, change, value)

    async def _order(self, machine, words, patience_s=PATIENCE_S):
        try:
            reply = await _call(self._loop, machine.address, *words, patience_s=patience_s)
        except OSError as error:
            self._world.log("op", f"{machine.name} does not answer: {type(error).__name__}")
            return None
        self._world.log("op", f"{machine.name} answers {reply!r}")
        return reply


def _is_refusal(reply):
    """Whether an error says that nothing was changed, and never will be by this order."""
    text = str(reply)
    is_unsure = "may still come" in text or "Failed to save" in text
    return isinstance(reply, hiredis.ReplyError) and not is_unsure


class Writer:
    """An application: asks a sentinel where the master is, and writes there until that fails."""

    def __init__(self, world, sentinels, rng):
        self._loop = world.spawn("10.0.2.2", "app").loop
        self._world = world
        self._sentinels = sentinels
        self._rng = rng
        self.acknowledged = []
        self._written = 0
        self._loop.call_soon(self._start)

    def _start(self):
        self._loop.create_task(self._run()).add_done_callback(asyncio.Future.result)

    async def _run(self):
        while True:
            try:
                await self._write_while_it_goes()
            except OSError as error:
                self._world.log("app", f"cannot write: {type(error).__name__} {error}")
                await asyncio.sleep(WRITE_PAUSE_S)

    async def _write_while_it_goes(self):
        sentinel = self._rng.choice(self._sentinels)
        words = "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME
        reply = await _call(self._loop, sentinel.address, *words)
        if not isinstance(reply, list):
            raise ConnectionRefusedError(f"no master: {reply}")
        async with asyncio.timeout(PATIENCE_S):
            where = reply[0].decode(), int(reply[1])
            _, caller = await self._loop.create_connection(lambda: _Caller(self._loop), *where)
        self._world.log("app", f"writes to {where[0]}")
        try:
            await self._write_on(caller)
        finally:
            caller.close()

    async def _write_on(self, caller):
        while True:
            self._written += 1
            value = b"w%d" % self._written
            async with asyncio.timeout(PATIENCE_S):
                reply = await caller.ask(b"SET", b"key", value)
            if reply != b"OK":
                raise ConnectionResetError("refused")
            self.acknowledged.append(value)
            await asyncio.sleep(WRITE_PAUSE_S)
