"""Entries of the log, and the snapshot that stands for all entries up to one of them. Values only.

A snapshot keeps the last two entries that it stands for, since a log begins with them: whoever
sends what follows must name the term of the entry before. The rule guarded: what decodes is what
was encoded, to the last bit, or it is a SnapshotError.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from sentinel_py.values import dataclass

STATE_LIMIT = 16 * 1024 * 1024
"""Bytes of a state: it is kept in memory, and sent to a member that lags behind in one go."""

FIRST_INDEX = 1
"""What a new journal begins with; a snapshot up to here has no state."""

_HEAD = struct.Struct("!IQQQQIII")  # CRC; the two entries' indices and terms; three lengths
_CRC = struct.Struct("!I")
_LENGTH = struct.Struct("!B")


class Entry(NamedTuple):
    """One entry of the log, in PySyncObj's order of fields."""

    command: bytes
    index: int  # type: ignore[assignment]  # Raft's word; nobody looks for values in an entry
    term: int


class SnapshotError(Exception):
    """These bytes are no snapshot."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state after ``last``; ``previous`` is the entry before it."""

    previous: Entry
    last: Entry
    members: tuple[str, ...]
    state: bytes

    @property
    def index(self) -> int:
        return self.last.index


def encode(snapshot: Snapshot) -> bytes:
    previous, last = snapshot.previous, snapshot.last
    names = [name.encode() for name in snapshot.members]
    members = b"".join(_LENGTH.pack(len(name)) + name for name in names)
    numbers = (previous.index, previous.term, last.index, last.term)
    lengths = (len(previous.command), len(last.command), len(members))
    head = _HEAD.pack(0, *numbers, *lengths)[_CRC.size :]
    body = b"".join((head, previous.command, last.command, members, snapshot.state))
    return _CRC.pack(zlib.crc32(body)) + body


def decode(data: bytes) -> Snapshot:
    if len(data) < _HEAD.size:
        raise SnapshotError("too short")
    crc, index, term, last_index, last_term, *lengths = _HEAD.unpack_from(data)
    if crc != zlib.crc32(memoryview(data)[_CRC.size :]):
        raise SnapshotError("checksum")
    parts, start = [], _HEAD.size
    for length in lengths:
        parts.append(data[start : start + length])
        start += length
    if start > len(data) or last_index != index + 1:
        raise SnapshotError("lengths or indices do not fit")
    previous = Entry(parts[0], index, term)
    last = Entry(parts[1], last_index, last_term)
    try:
        members = _members(parts[2])
    except ValueError as error:
        raise SnapshotError("members") from error
    return Snapshot(previous, last, members, data[start:])


def _members(data: bytes) -> tuple[str, ...]:
    names, start = [], 0
    while start < len(data):
        end = start + 1 + data[start]
        names.append(data[start + 1 : end].decode())
        start = end
    return tuple(names)
