"""Outgoing connections to Redis servers and to peers: connect, send, match replies to requests.

What to ask and when, and what an answer means, is the core's; this module carries out ``Open``,
``Send`` and ``Close``. The rule it guards: nothing that the other end does can cost more than its
own connection. Bytes that make no sense, and a connection that fails in whatever way, end in one
``LinkDown``; and after ``Close`` or ``LinkDown`` no input of the old connection arrives any more.

What waits for an answer is bounded by the core, which holds back when too much is pending.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Final, cast

from sentinel_py.core.messages import (
    NO_SUBSCRIPTION,
    Ask,
    ChannelMessage,
    ErrorReply,
    Input,
    LinkDown,
    LinkUp,
    Open,
    Reply,
    Request,
    Send,
    Value,
)
from sentinel_py.core.model import LinkKind
from sentinel_py.resolver import is_numeric
from sentinel_py.resp import ProtocolError, encode_command, parse_integer, to_text
from sentinel_py.tasks import begin
from sentinel_py.values import dataclass

MAX_REPLY_BYTES = 4 * 1024 * 1024
"""Ten times the INFO of a server with thousands of replicas; what one bad link may cost us."""

MAX_LINE_BYTES = 16 * 1024
"""Status, error and length lines are far shorter; an unfinished one is searched again and again."""

MAX_ELEMENTS = 16
"""The longest array that is ever asked for has six elements (EXEC), none of them an array."""

BURST_MAX = 500
"""Hellos that are taken in at once from one server: some milliseconds' work. What else waits behind
them is dropped: a true sentinel says the same again, and so many of them do not speak at once."""

FAMILIAR_EVENTS = 8
"""Kept per link: the hellos of a master's sentinels, of whom there are three or five."""

FAMILIAR_BYTES = 512
"""The longest hello has a name of some length; a thousand links hold no more than 4 MiB."""

LINGER_S = 1.0
"""What was sent just before a Close still leaves, but a dead peer must not hold the socket."""

SOCKET_OPTIONS: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)

_NO_LINGER: Final = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """How links connect: over TLS when there is a context, from an address of ours if given."""

    ssl_context: ssl.SSLContext | None = None
    bind_source_addr: str | None = None


class Links:
    """All links, by id; what happens on them goes to ``sink``."""

    def __init__(self, sink: Callable[[Input], None], options: LinkOptions | None = None) -> None:
        self._sink = sink
        self.options = options or LinkOptions()
        self._connections: dict[int, _Connection] = {}
        self._unflushed: list[_Connection] = []

    def open(self, effect: Open) -> None:
        assert effect.link not in self._connections, f"link {effect.link} is open"
        connection = _Connection(effect, self._sink, self._lost)
        self._connections[effect.link] = connection
        connection.connect(self.options)

    def close(self, link_id: int, *, is_hung: bool = False) -> None:
        if connection := self._connections.pop(link_id, None):
            connection.drop() if is_hung else connection.close()

    def send(self, effect: Send) -> None:
        connection = self._connections.get(effect.link)
        if connection is None:
            return  # lost while the effect was held back; the core is told, or has been
        if connection.queue(effect.requests):
            self._unflushed.append(connection)

    def flush(self) -> None:
        """Write what was queued since the last flush, in one write per link."""
        unflushed, self._unflushed = self._unflushed, []
        for connection in unflushed:
            connection.flush()

    def close_all(self) -> None:
        for link_id in list(self._connections):
            self.close(link_id)

    def _lost(self, connection: _Connection, reason: str) -> None:
        if self._connections.get(connection.link) is connection:
            del self._connections[connection.link]
            self._sink(LinkDown(connection.link, reason))


class _Connection(asyncio.Protocol):
    """One connection of a link, from the attempt to its end; a re-opened link gets a new one."""

    def __init__(
        self,
        effect: Open,
        sink: Callable[[Input], None],
        lost: Callable[[_Connection, str], None],
    ) -> None:
        self.link = effect.link
        self._target = (effect.ip, effect.port)
        self._is_channel = effect.kind is not LinkKind.COMMAND
        self._take: Callable[[Value], Reply | ChannelMessage | None] = (
            self._take_channel if self._is_channel else self._take_reply
        )
        self._sink = sink
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._attempt: asyncio.Task[object] | None = None
        self._transport: asyncio.Transport | None = None
        self._over = False
        self._unsent: list[bytes] = []
        self._asked: deque[Request] = deque()
        self._reader = ReplyReader()
        self._familiar: dict[bytes, Reply | ChannelMessage] = {}

    def connect(self, options: LinkOptions) -> None:
        self._attempt = begin(self._connect(options), self._attempted)

    def queue(self, requests: tuple[Request, ...]) -> bool:
        """Keep requests until the next flush; whether they are the first since the last one."""
        assert self._transport, f"link {self.link} is not up"
        is_first = not self._unsent
        self._asked.extend(requests)
        self._unsent.extend(map(_encode, requests))
        return is_first

    def flush(self) -> None:
        if self._unsent and self._transport and not self._over:
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def close(self) -> None:
        self.flush()
        self._over = True
        self._hang_up()

    def drop(self) -> None:
        """Close, and have the kernel send nothing again of what has not arrived."""
        self._over = True
        if self._transport and not self._transport.is_closing():
            with suppress(OSError):  # it has broken already
                self._transport.get_extra_info("socket").setsockopt(*_NO_LINGER)
            self._transport.abort()
        else:
            self._hang_up()

    async def _connect(self, options: LinkOptions) -> None:
        ip, port = self._target
        if not is_numeric(ip):
            raise ValueError(f"'{ip}' is not an IP address")
        source = options.bind_source_addr
        await self._loop.create_connection(
            lambda: self,
            ip,
            port,
            ssl=options.ssl_context,
            local_addr=(source, 0) if source else None,
        )

    def _attempted(self, attempt: asyncio.Task[object]) -> None:
        if attempt.cancelled():
            return
        try:
            attempt.result()
        except (OSError, ValueError, OverflowError) as error:  # the last two: no such address, port
            self._fail(reason_of(error))

    def _fail(self, reason: str) -> None:
        if not self._over:
            self._over = True
            self._hang_up()
            self._loop.call_soon(self._lost, self, reason)

    def _hang_up(self) -> None:
        if not self._transport:
            if self._attempt:
                self._attempt.cancel()
        elif self._transport.get_write_buffer_size():
            self._transport.close()
            self._loop.call_later(LINGER_S, self._transport.abort)
        else:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, since uvloop's transports are of no class of asyncio.
        self._transport = cast(asyncio.Transport, transport)
        if self._over:
            self._transport.abort()
            return
        try:
            for option in SOCKET_OPTIONS:
                transport.get_extra_info("socket").setsockopt(*option)
        except OSError as error:  # it has broken already
            self._fail(reason_of(error))
            return
        self._sink(LinkUp(self.link, transport.get_extra_info("sockname")[0]))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(reason_of(exc) if exc else "connection closed by the other end")

    def data_received(self, data: bytes) -> None:
        familiar = self._familiar.get(data)
        if familiar is not None and self._means(familiar):
            self._sink(familiar)
            return
        is_whole = not self._reader.is_midway
        try:
            values = self._reader.read(data)
        except ProtocolError as error:
            self._fail(f"protocol error: {error}")
            return
        if self._is_channel and len(values) > BURST_MAX:
            del values[BURST_MAX:]
        for value in values:
            if self._over:
                return
            event = self._take(value)
            if event is not None:
                if is_whole and len(values) == 1 and not self._reader.is_midway:
                    self._remember(data, event)
                self._sink(event)

    def _take_reply(self, value: Value) -> Reply | None:
        request = self._answered()
        return Reply(self.link, request, value) if request else None

    def _take_channel(self, value: Value) -> ChannelMessage | None:
        match value:
            case [b"message", bytes(), bytes(payload)]:
                return ChannelMessage(self.link, to_text(payload))
            case _:
                request = self._answered()
                # The subscription is asked for last; without it the link is of no use.
                if request and not self._asked and isinstance(value, ErrorReply):
                    self._fail(NO_SUBSCRIPTION + value.text)
                return None

    def _remember(self, chunk: bytes, event: Reply | ChannelMessage) -> None:
        """Keep what a chunk means that comes again: each sentinel's hello, and the reply to a ping.

        A look-up takes 1 us where reading a hello takes 12 us. Watching 300 masters, hellos were a
        fifth of all work.
        """
        if isinstance(event, Reply) and event.request.ask is not Ask.PING:
            return
        if len(chunk) > FAMILIAR_BYTES:
            return
        if len(self._familiar) >= FAMILIAR_EVENTS:
            self._familiar.clear()
        self._familiar[chunk] = event

    def _means(self, event: Reply | ChannelMessage) -> bool:
        """Whether a familiar chunk means this here too; then the request counts as answered."""
        if self._over or self._reader.is_midway:
            return False
        if isinstance(event, Reply):
            if not self._asked or self._asked[0] is not event.request:
                return False
            self._asked.popleft()
        return True

    def _answered(self) -> Request | None:
        if self._asked:
            return self._asked.popleft()
        self._fail("protocol error: a reply that nobody asked for")
        return None


class ReplyReader:
    """Makes values of RESP2 replies, which arrive in chunks.

    Not with hiredis, which trusts the other end: it reserves what an array's header claims (16 GiB
    for thirteen bytes), nests without end, waits for a line end for ever, and takes RESP3.
    """

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._unread_bytes = 0
        self._wanted_bytes = 0  # with less than this it makes no sense to read on

    @property
    def is_midway(self) -> bool:
        """Whether the next chunk begins with the rest of an unfinished reply."""
        return self._unread_bytes > 0

    def read(self, data: bytes) -> list[Value]:
        """The replies that the new data completes."""
        self._chunks.append(data)
        self._unread_bytes += len(data)
        if self._unread_bytes < self._wanted_bytes:
            return []
        buffer = b"".join(self._chunks)
        replies: list[Value] = []
        start = self._wanted_bytes = 0
        try:
            while start < len(buffer):
                value, start = _reply(buffer, start)
                replies.append(value)
        except _IncompleteError as incomplete:
            self._wanted_bytes = incomplete.end - start
        if self._wanted_bytes > MAX_REPLY_BYTES:
            raise ProtocolError("endless reply")
        self._chunks = [buffer[start:]]
        self._unread_bytes = len(buffer) - start
        return replies


class _IncompleteError(Exception):
    """The buffer ends within a reply, which reaches to ``end`` or further."""

    def __init__(self, end: int) -> None:
        self.end = end


def _reply(buffer: bytes, start: int) -> tuple[Value, int]:
    """The reply at this place, and where it ends."""
    kind, text, end = _line(buffer, start)
    if kind != b"*" or text == b"-1":
        return _scalar(buffer, kind, text, end)
    elements: list[Value] = []
    for _ in range(_length(text, MAX_ELEMENTS)):
        element, end = _scalar(buffer, *_line(buffer, end))
        elements.append(element)
    return elements, end


def _line(buffer: bytes, start: int) -> tuple[bytes, bytes, int]:
    end = buffer.find(b"\r\n", start, start + MAX_LINE_BYTES)
    if end >= 0:
        return buffer[start : start + 1], buffer[start + 1 : end], end + 2
    if len(buffer) - start >= MAX_LINE_BYTES:
        raise ProtocolError("endless line")
    raise _IncompleteError(len(buffer) + 1)


def _scalar(buffer: bytes, kind: bytes, text: bytes, end: int) -> tuple[Value, int]:
    match kind:
        case b"+":
            return text, end
        case b"-":
            return ErrorReply(text.decode(errors="replace")), end
        case b":":
            return _integer(text), end
        case b"$" | b"*" if text == b"-1":
            return None, end
        case b"$":
            return _bulk(buffer, end, end + _length(text, MAX_REPLY_BYTES))
    raise ProtocolError("not a reply")


def _bulk(buffer: bytes, start: int, end: int) -> tuple[bytes, int]:
    if len(buffer) < end + 2:
        raise _IncompleteError(end + 2)
    if not buffer.startswith(b"\r\n", end):
        raise ProtocolError("bulk string without an end")
    return buffer[start:end], end + 2


def _integer(text: bytes) -> int:
    number = parse_integer(text)
    if number is None:
        raise ProtocolError("not an integer")
    return number


def _length(text: bytes, limit: int) -> int:
    length = _integer(text)
    if not 0 <= length <= limit:
        raise ProtocolError("length out of range")
    return length


def _encode(request: Request) -> bytes:
    is_repeated = request.ask is Ask.PING or request.ask is Ask.INFO
    return (_encode_again if is_repeated else encode_command)(request.args)


# Only what is asked over and over: passwords must not stay in memory.
_encode_again = lru_cache(maxsize=64)(encode_command)


def reason_of(error: BaseException) -> str:
    """A short text; asyncio and uvloop word the same failure differently, errno does not."""
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}"
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
