"""Raft messages as bytes: PySyncObj's own, and those that our guards add.

A message is a dict, as PySyncObj makes and takes it. Its type and the set of its keys choose a
layout; a layout is a list of fields, each with its kind. The rule guarded: what decodes is a
message of a known layout whose values have the right types and sizes, with nothing left over;
everything else, in either direction, is a CodecError. Nothing is unpickled, and no length is
believed before it was compared with what is there.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from sentinel_py.raft.membership import MEMBERSHIP, NO_OP, REGULAR, change_in
from sentinel_py.raft.snapshot import Entry
from sentinel_py.values import dataclass

COMMAND_LIMIT = 256 * 1024
"""Bytes of a command with its first byte; a batch of entries ends with one of these at most."""

BATCH_LIMIT = 8 * 1024 * 1024
"""Bytes of commands after which PySyncObj ends a batch. A log is compacted long before it has as
many, so that what a member lacks fits into one message."""

CHUNK_LIMIT = 256 * 1024
"""Bytes of a snapshot in one message."""

MESSAGE_LIMIT = 16 * 1024 * 1024
"""A batch with the longest last entry, and room for what each entry costs beside its bytes."""

Message = dict[str, Any]  # as PySyncObj has it: what a value is depends on its key
Chunk = tuple[bytes, bool, bool]
"""Bytes of a snapshot; whether they are the first ones; whether they are the last ones."""

_VERSION = 2
_HEAD = struct.Struct("!BB")  # version, layout
_NUMBER = struct.Struct("!Q")
_LENGTH = struct.Struct("!I")
_ENTRY = struct.Struct("!QI")  # term, length
_NUMBER_LIMIT = 1 << 62
"""No counter gets there; sums of two still fit."""


class CodecError(Exception):
    """These bytes are no message, or this message has no bytes."""


class _Reader:
    """The bytes of a message, taken from the front."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = _HEAD.size

    def take(self, length: int) -> bytes:
        start, self.at = self.at, self.at + length
        if self.at > len(self.data):
            raise CodecError("message ends too early")
        return self.data[start : self.at]

    def numbers(self, layout: struct.Struct) -> tuple[int, ...]:
        return layout.unpack(self.take(layout.size))


# Kinds of fields: how each is written, and how it is read back --------------------------------


def _write_number(value: Any) -> bytes:
    if not 0 <= value < _NUMBER_LIMIT:
        raise CodecError("number out of range")
    return _NUMBER.pack(value)


def _read_number(reader: _Reader) -> int:
    (number,) = reader.numbers(_NUMBER)
    if number >= _NUMBER_LIMIT:
        raise CodecError("number out of range")
    return number


def _write_flag(value: Any) -> bytes:
    return b"\1" if value else b"\0"


def _read_flag(reader: _Reader) -> bool:
    flag = reader.take(1)[0]
    if flag > 1:
        raise CodecError("not a flag")
    return flag == 1


def _write_proposal(value: Any) -> bytes:
    return _LENGTH.pack(len(value)) + _checked(value, (REGULAR,))


def _read_proposal(reader: _Reader) -> bytes:
    (length,) = reader.numbers(_LENGTH)
    return _checked(reader.take(length), (REGULAR,))


def _write_entries(value: Any) -> bytes:
    start = value[0][1] if value else 0
    parts = [_NUMBER.pack(start), _LENGTH.pack(len(value))]
    for offset, (command, index, term) in enumerate(value):
        if index != start + offset:
            raise CodecError("a gap between entries")
        parts += _ENTRY.pack(term, len(command)), _checked(command)
    return b"".join(parts)


def _read_entries(reader: _Reader) -> list[Entry]:
    start = _read_number(reader)
    (count,) = reader.numbers(_LENGTH)
    if start and not count:
        raise CodecError("no entries, but an index")
    entries = []
    for index in range(start, start + count):
        term, length = reader.numbers(_ENTRY)
        entries.append(Entry(_checked(reader.take(length)), index, term))
    return entries


def _write_chunk(value: Any) -> bytes:
    data, is_first, is_last = value
    if len(data) > CHUNK_LIMIT:
        raise CodecError("chunk too long")
    return b"".join((_LENGTH.pack(len(data)), _write_flag(is_first), _write_flag(is_last), data))


def _read_chunk(reader: _Reader) -> Chunk:
    (length,) = reader.numbers(_LENGTH)
    is_first, is_last = _read_flag(reader), _read_flag(reader)
    if length > CHUNK_LIMIT:
        raise CodecError("chunk too long")
    return reader.take(length), is_first, is_last


def _checked(command: bytes, kinds: tuple[bytes, ...] = (REGULAR, NO_OP, MEMBERSHIP)) -> bytes:
    """A command that every member can carry out; PySyncObj would stop for good at any other."""
    if len(command) > COMMAND_LIMIT or command[:1] not in kinds:
        raise CodecError("command too long or of an unknown kind")
    try:
        change_in(command)
    except ValueError as error:
        raise CodecError("not a change of members") from error
    return command


@dataclass(frozen=True, slots=True)
class _Kind:
    write: Callable[[Any], bytes]
    read: Callable[[_Reader], object]


_NUMBER_KIND = _Kind(_write_number, _read_number)
_FLAG_KIND = _Kind(_write_flag, _read_flag)
_PROPOSAL_KIND = _Kind(_write_proposal, _read_proposal)
_ENTRIES_KIND = _Kind(_write_entries, _read_entries)
_CHUNK_KIND = _Kind(_write_chunk, _read_chunk)


# Layouts ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Layout:
    code: int
    type: str
    fields: dict[str, _Kind]


def _layout(code: int, type_: str, numbers: str, **others: _Kind) -> _Layout:
    return _Layout(code, type_, dict.fromkeys(numbers.split(), _NUMBER_KIND) | others)


_LAYOUTS = (
    # Entries, or none in a heartbeat; `sequence` and `sent_at` come back in the answer. `wanted_ms`
    # is the promise that the leader asks for, `promise_ms` the one that it gets.
    _layout(
        1,
        "append_entries",
        "term commit_index prevLogIdx prevLogTerm sequence sent_at wanted_ms",
        entries=_ENTRIES_KIND,
    ),
    # A part of a snapshot.
    _layout(
        2,
        "append_entries",
        "term commit_index sequence sent_at wanted_ms",
        serialized=_CHUNK_KIND,
    ),
    _layout(
        3,
        "next_node_idx",
        "term next_node_idx sequence sent_at promise_ms",
        reset=_FLAG_KIND,
        success=_FLAG_KIND,
    ),
    # What a leader sent is out of date: a member has this higher term.
    _layout(4, "nack", "term"),
    _layout(5, "request_vote", "term last_log_index last_log_term", forced=_FLAG_KIND),
    _layout(6, "response_vote", "term"),
    # Would you vote for me? `term` is the one that I would ask for.
    _layout(7, "pre_vote", "term last_log_index last_log_term round"),
    _layout(8, "response_pre_vote", "term round", granted=_FLAG_KIND),
    _layout(9, "timeout_now", "term"),
    _layout(10, "apply_command", "request_id", command=_PROPOSAL_KIND),
    _layout(11, "apply_command_response", "request_id log_idx log_term"),
    _layout(12, "apply_command_response", "request_id error"),
)
_BY_CODE = {layout.code: layout for layout in _LAYOUTS}
_BY_KEYS = {(layout.type, frozenset({"type", *layout.fields})): layout for layout in _LAYOUTS}


def encode(message: Message) -> bytes:
    layout = _BY_KEYS.get((message["type"], frozenset(message)))
    if layout is None:
        raise CodecError(f"no layout for {message['type']} with {sorted(message)}")
    parts = [kind.write(message[name]) for name, kind in layout.fields.items()]
    return b"".join((_HEAD.pack(_VERSION, layout.code), *parts))


def decode(data: bytes) -> Message:
    if not _HEAD.size <= len(data) <= MESSAGE_LIMIT:
        raise CodecError("message too short or too long")
    version, code = _HEAD.unpack_from(data)
    layout = _BY_CODE.get(code)
    if version != _VERSION or layout is None:
        raise CodecError("message of an unknown version or type")
    reader = _Reader(data)
    message: Message = {"type": layout.type}
    for name, kind in layout.fields.items():
        message[name] = kind.read(reader)
    if reader.at != len(data):
        raise CodecError("message is too long for what it says")
    return message
