"""Frames on a stream between two sentinels: a kind, a length, a payload. No IO.

The rule guarded: a length is checked before anything is kept for it, so that nobody makes us hold
more than the largest frame of its kind.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum

from sentinel_py.resp import ProtocolError

_HEAD = struct.Struct("!BI")


class Kind(IntEnum):
    """What a payload is."""

    RAFT = 1  # a message of the engine
    QUESTION = 2  # from the end that dialled
    ANSWER = 3  # from the end that accepted


MAX_BYTES = {
    Kind.RAFT: 16 * 1024 * 1024,  # twice the largest batch of log entries
    Kind.QUESTION: 128 * 1024,  # an order of an operator, or a table of members
    Kind.ANSWER: 128 * 1024,
}


def encode(kind: Kind, payload: bytes) -> bytes:
    assert len(payload) <= MAX_BYTES[kind], f"{kind.name} of {len(payload)} bytes"
    return _HEAD.pack(kind, len(payload)) + payload


class FrameReader:
    """Makes frames of bytes, which arrive in chunks."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._unread_bytes = 0
        self._wanted_bytes = _HEAD.size  # with less than this it makes no sense to read on

    def read(self, data: bytes) -> Iterator[tuple[Kind, bytes]]:
        """The frames that the new data completes; ProtocolError behind the last good one."""
        self._chunks.append(data)
        self._unread_bytes += len(data)
        if self._unread_bytes < self._wanted_bytes:
            return
        buffer = b"".join(self._chunks)
        start = 0
        while len(buffer) - start >= _HEAD.size:
            kind, end = _head(buffer, start)
            self._wanted_bytes = end - start
            if end > len(buffer):
                break
            yield kind, buffer[start + _HEAD.size : end]
            start = end
            self._wanted_bytes = _HEAD.size
        self._chunks = [buffer[start:]]
        self._unread_bytes = len(buffer) - start


def _head(buffer: bytes, start: int) -> tuple[Kind, int]:
    number, length = _HEAD.unpack_from(buffer, start)
    try:
        kind = Kind(number)
    except ValueError:
        raise ProtocolError("unknown kind of frame") from None
    if length > MAX_BYTES[kind]:
        raise ProtocolError("frame too long")
    return kind, start + _HEAD.size + length
