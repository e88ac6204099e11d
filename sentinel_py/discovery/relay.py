"""One client's connection and the one to the master that belongs to it: bytes go both ways.

Nothing here knows who the master is. The rule guarded: whoever reads slowly stops the other one
from sending, so a connection holds no more than two buffers; and one direction may end before the
other.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress

BUFFER_BYTES = 256 * 1024  # per direction; as much as the event loop reads at once
HALF_CLOSED_S = 30.0  # Redis answers nothing to a client that has ended, so this is generous
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # the kernel throws away what it has not sent


class End(asyncio.Protocol):
    """One of two connections; what it reads before it is `joined` to the other waits."""

    def __init__(self, on_lost: Callable[[End], None] | None = None) -> None:
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._other: End | None = None
        self._early = bytearray()
        self._has_ended = False
        self._is_lost = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_joined(self) -> bool:
        return self._other is not None

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def transport(self) -> asyncio.Transport:
        assert self._transport is not None, "used before it was connected"
        return self._transport

    def join(self, other: End) -> None:
        """From now on bytes go to and fro."""
        self._other, other._other = other, self
        for end in (self, other):
            end._forward_early()

    def drop(self) -> None:
        """Break off both connections; what was not sent yet never will be."""
        for end in (self, self._other):
            # Also one that is closing, as that sends what it still has.
            if end and not end._is_lost:
                with suppress(OSError):  # the peer may have gone in this instant
                    _socket_of(end.transport).setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE
                    )
                end.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No isinstance: uvloop's transports are of no class of asyncio.
        self._transport = transport  # type: ignore[assignment]
        self.transport.set_write_buffer_limits(high=BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        if self._other is None:
            self._early += data
            self.transport.pause_reading()
        elif self._other.is_open:
            self._other.transport.write(data)

    def eof_received(self) -> bool:
        self._has_ended = True
        if self._other is None:
            return True
        return self._end_other(self._other)

    def pause_writing(self) -> None:
        if self._other and self._other.is_open:
            self._other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self._other and self._other.is_open:
            self._other.transport.resume_reading()

    def connection_lost(self, _error: Exception | None) -> None:
        self._is_lost = True
        if self._timer:
            self._timer.cancel()
        if self._other:
            self._other._close()
        if self._on_lost:
            self._on_lost(self)

    def _forward_early(self) -> None:
        assert self._other is not None
        if self._early:
            self._other.transport.write(bytes(self._early))
            self._early.clear()
            self.transport.resume_reading()
        if self._has_ended:
            self._end_other(self._other)

    def _end_other(self, other: End) -> bool:
        """Pass the end on; returns whether this direction's connection is still needed."""
        if other._has_ended or not other.is_open:
            other._close()
            return False
        other.transport.write_eof()
        self._abort_later()
        return True

    def _close(self) -> None:
        """Close once everything is written, within a bound."""
        if self.is_open:
            self.transport.close()
            self._abort_later()

    def _abort_later(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(HALF_CLOSED_S, self.transport.abort)


def _socket_of(transport: asyncio.Transport) -> socket.socket:
    found: socket.socket = transport.get_extra_info("socket")
    return found
