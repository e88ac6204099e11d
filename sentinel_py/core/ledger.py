"""What the Raft log holds: log entries as values, and their form in bytes.

An entry says what all members do at its place in the log. Encoding is JSON with fixed fields; what
does not decode says nothing, on every member alike.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from sentinel_py.values import dataclass

ENTRY_MAX_BYTES = 64 * 1024
"""Longer than any order a person gives; a log of such entries stays readable and small."""


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


@dataclass(frozen=True, slots=True)
class Record:
    """Events for the history: Unix time in ms, name, text and master's name, in turn."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Delivered:
    """The webhook of this key has taken all events up to this id."""

    hook: str
    event: int


Entry = Claim | Choice | Switch | Finish | Ballot | Command | Record | Delivered

_KINDS: dict[str, type[Entry]] = {
    kind.__name__.lower(): kind
    for kind in (Claim, Choice, Switch, Finish, Ballot, Command, Record, Delivered)
}


def encode(entry_id: str, entry: Entry) -> bytes:
    """An entry with the id by which its proposer knows it again."""
    record = {"id": entry_id, "kind": type(entry).__name__.lower(), **asdict(entry)}
    return json.dumps(record, separators=(",", ":")).encode()


def decode(data: bytes) -> tuple[str, Entry] | None:
    """The inverse of ``encode``; None for what is no entry."""
    try:
        record = json.loads(data)
        kind = _KINDS[record.pop("kind")]
        entry_id = record.pop("id")
        return entry_id, kind(**_checked(kind, record))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _checked(kind: type[Entry], record: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field in fields(kind):
        value = record.pop(field.name)
        if field.name == "words":
            value = tuple(value)
            right = all(isinstance(word, str) for word in value)
        else:
            right = type(value).__name__ == field.type
        if not right:
            raise ValueError(field.name)
        values[field.name] = value
    if record:
        raise ValueError("unknown fields")
    return values
