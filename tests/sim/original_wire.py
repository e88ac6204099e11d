"""Connections of the model of redis-sentinel: those that it opens, and those of its clients.

Requests and replies find each other here; what they say is for `original_host`.
"""

import asyncio
from collections import deque

import hiredis

from sentinel_py.resp import encode, encode_command

from .original_state import HELLO_CHANNEL


class Link(asyncio.Protocol):
    """A connection to somebody that is known: requests and replies in order, or the channel."""

    def __init__(self, life, it, kind):
        self._life, self._it, self._kind = life, it, kind
        self._reader = hiredis.Reader()
        self._waiting = deque()
        self._transport = None
        self._is_over = False
        setattr(it, kind, self)
        attempt = life.loop.create_task(life.loop.create_connection(lambda: self, *it.address))
        attempt.add_done_callback(self._attempted)

    @property
    def is_up(self):
        return self._transport is not None

    def _attempted(self, attempt):
        if attempt.exception():
            self.close()

    def ask(self, read, *words):
        if not self._is_over:
            self._waiting.append(read)
            self._transport.write(encode_command(words))

    def close(self):
        self._is_over = True
        if getattr(self._it, self._kind) is self:
            setattr(self._it, self._kind, None)
        if self._transport:
            self._transport.abort()

    def connection_made(self, transport):
        self._transport = transport
        if self._is_over:
            transport.abort()
        elif self._kind == "channel":
            self.ask(lambda _reply: None, "SUBSCRIBE", HELLO_CHANNEL)
        else:
            self._life.ping(self._it)

    def connection_lost(self, exc):
        self.close()

    def data_received(self, data):
        self._reader.feed(data)
        while not self._is_over and (reply := self._reader.gets()) is not False:
            match reply:
                case [b"message", _, bytes(payload)]:
                    self._life.hear(payload.decode())
                case _:
                    self._waiting.popleft()(reply)


class Client(asyncio.Protocol):
    """Somebody who asks: a peer, or an application."""

    def __init__(self, life):
        self._life = life
        self._reader = hiredis.Reader()
        self._transport = None

    def connection_made(self, transport):
        self._transport = transport

    def data_received(self, data):
        self._reader.feed(data)
        while (words := self._reader.gets()) is not False:
            reply = self._life.answer([word.decode() for word in words])
            self._transport.write(encode(reply, 2))
