"""Frames on a stream between two sentinels: a kind, a length, a payload and a code. No IO.

The rules guarded: a length is checked before anything is kept for it, so that nobody makes us hold
more than the largest frame that is his to send; and a frame is what the other end sent next. Its
code is made under a key of this connection and direction and over the frame's number, so one that
was altered, left out, repeated or moved ends the stream.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Iterator, Mapping
from enum import IntEnum

from sentinel_py.resp import ProtocolError

_HEAD = struct.Struct("!BI")
_NUMBER = struct.Struct("!Q")
_CODE_BYTES = 16


class Kind(IntEnum):
    """What a payload is."""

    RAFT = 1  # a message of the engine
    QUESTION = 2  # from the end that dialled
    ANSWER = 3  # from the end that accepted


MAX_BYTES: Mapping[Kind, int] = {
    Kind.RAFT: 16 * 1024 * 1024,  # twice the largest batch of log entries
    Kind.QUESTION: 128 * 1024,  # an order of an operator, or a table of members
    Kind.ANSWER: 128 * 1024,
}

STRANGER_MAX_BYTES: Mapping[Kind, int] = dict.fromkeys(Kind, 16 * 1024)
"""What somebody may send who knows the secret and is, as far as we know, no member: a question
with a table of members, and votes. Whoever adds us to a cluster says who its members are first."""


class FrameWriter:
    """Makes bytes of one direction's frames."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._count = 0

    def encode(self, kind: Kind, payload: bytes) -> bytes:
        assert len(payload) <= MAX_BYTES[kind], f"{kind.name} of {len(payload)} bytes"
        head = _HEAD.pack(kind, len(payload))
        code = _code(self._key, self._count, head, payload)
        self._count += 1
        return b"".join((head, payload, code))


class FrameReader:
    """Makes frames of one direction's bytes, which arrive in chunks.

    ``limits`` are the longest payloads by kind; they may be raised when more is known of the peer.
    """

    def __init__(self, key: bytes, limits: Mapping[Kind, int] = MAX_BYTES) -> None:
        self.limits = limits
        self._key = key
        self._count = 0
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
            kind, end = self._head(buffer, start)
            self._wanted_bytes = end - start
            if end > len(buffer):
                break
            yield kind, self._payload(buffer, start, end)
            start = end
            self._wanted_bytes = _HEAD.size
        self._chunks = [buffer[start:]]
        self._unread_bytes = len(buffer) - start

    def _head(self, buffer: bytes, start: int) -> tuple[Kind, int]:
        number, length = _HEAD.unpack_from(buffer, start)
        try:
            kind = Kind(number)
        except ValueError:
            raise ProtocolError("unknown kind of frame") from None
        if length > self.limits[kind]:
            raise ProtocolError("frame too long")
        return kind, start + _HEAD.size + length + _CODE_BYTES

    def _payload(self, buffer: bytes, start: int, end: int) -> bytes:
        head, payload = buffer[start : start + _HEAD.size], buffer[start + _HEAD.size : end]
        payload, code = payload[:-_CODE_BYTES], payload[-_CODE_BYTES:]
        if not hmac.compare_digest(code, _code(self._key, self._count, head, payload)):
            raise ProtocolError("a frame is not what the other end has sent")
        self._count += 1
        return payload


def _code(key: bytes, number: int, head: bytes, payload: bytes) -> bytes:
    """Keyed BLAKE2b (RFC 7693): 2 us for a heartbeat, 20 ms for the largest batch."""
    code = hashlib.blake2b(_NUMBER.pack(number) + head, digest_size=_CODE_BYTES, key=key)
    code.update(payload)
    return code.digest()
