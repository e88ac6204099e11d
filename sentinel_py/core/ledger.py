"""What the Raft log holds: log entries as values, and their form in bytes.

An entry says what all members do at its place in the log. Encoding is JSON with fixed fields; what
does not decode is skipped by every member alike, and said.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import get_args

from sentinel_py.core import records
from sentinel_py.values import dataclass

ENTRY_MAX_BYTES = 64 * 1024
"""Longer than any order a person gives; a log of such entries stays readable and small."""

_ID_MAX_LENGTH = 128
"""A proposer's id, that of its run, and a number."""


@dataclass(frozen=True, slots=True)
class Claim:
    """``leader`` leads the failover of ``master`` in this epoch; it is the vote of every member."""

    master: str
    epoch: int
    leader: str
    forced: bool
    coordinated: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """The one replica that this failover may promote."""

    master: str
    epoch: int
    host: str
    port: int
    ip: str


@dataclass(frozen=True, slots=True)
class Switch:
    """The promotion was seen: from here on this is the master's address."""

    master: str
    epoch: int
    host: str
    port: int
    ip: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The failover of this epoch is over: its replicas are told, or it was given up."""

    master: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Ballot:
    """The members' vote for a candidate outside the Raft cluster."""

    master: str
    epoch: int
    candidate: str


@dataclass(frozen=True, slots=True)
class Command:
    """An operator's order, by its name in ``orders``, with its arguments as text."""

    order: str
    words: tuple[str, ...]
    seen: int = 0  # what its proposer had applied, for an order that tools repeat


@dataclass(frozen=True, slots=True)
class Record:
    """Events for the history: Unix time in ms, name, text and master's name, in turn."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Delivered:
    """The webhook of this key has taken all events up to this id."""

    hook: str
    event: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What stands at this place in the log is no entry that this version knows, for this reason."""

    why: str


Entry = Claim | Choice | Switch | Finish | Ballot | Command | Record | Delivered

_KINDS: dict[str, type[Entry]] = {kind.__name__.lower(): kind for kind in get_args(Entry)}


def encode(entry_id: str, entry: Entry) -> bytes:
    """An entry with the id by which its proposer knows it again."""
    record = {"id": entry_id, "kind": type(entry).__name__.lower(), **asdict(entry)}
    return json.dumps(record, separators=(",", ":")).encode()


def decode(data: bytes) -> tuple[str, Entry | Unreadable]:
    """The inverse of ``encode``. Types are checked here; what they may say, in ``admission``."""
    try:
        record = records.parse(data)
        if not isinstance(record, dict):
            raise ValueError("not an object")
        entry_id, kind = record.pop("id", None), record.pop("kind", None)
        if not isinstance(entry_id, str) or len(entry_id) > _ID_MAX_LENGTH:
            raise ValueError("it has no id")
        if not isinstance(kind, str) or kind not in _KINDS:
            raise ValueError(f"its kind {str(kind)[:32]!r} is not known")
        return entry_id, records.read(_KINDS[kind], record)
    except ValueError as error:
        return "", Unreadable(str(error))
