"""What sentinels ask each other beside Raft itself, and what they answer: values and their bytes.

Encoding is JSON with fixed fields. The rule guarded: what decodes has the fields and the types that
stand here, and nothing else; anything odd is a ProtocolError.
"""

from __future__ import annotations

import json
from dataclasses import asdict

from sentinel_py.core import records
from sentinel_py.raft.addresses import is_address
from sentinel_py.resp import ProtocolError
from sentinel_py.values import dataclass

MEMBERS_MAX = 15
"""More members make each commit slower and survive nothing more that happens in practice."""

ID_MAX_LENGTH = 40


@dataclass(frozen=True, slots=True)
class AskStanding:
    """Who are you, and to which cluster do you belong?"""


@dataclass(frozen=True, slots=True)
class Prepare:
    """Will you be in this cluster? ``members`` has addresses by id.

    ``by_order``: an operator forms it out of sentinels that know each other, not of a list.
    """

    cluster: str
    members: dict[str, str]
    by_order: bool


@dataclass(frozen=True, slots=True)
class Commit:
    """Everybody will: the cluster exists."""

    cluster: str


@dataclass(frozen=True, slots=True)
class CallOff:
    """Not everybody will: forget it."""

    cluster: str


@dataclass(frozen=True, slots=True)
class Adopt:
    """The leader adds you to a cluster that exists; others know you at ``address``."""

    cluster: str
    founders: tuple[str, ...]
    members: dict[str, str]
    address: str


@dataclass(frozen=True, slots=True)
class Removed:
    """The leader tells a sentinel that it is no longer a member."""

    cluster: str


@dataclass(frozen=True, slots=True)
class Forwarded:
    """An operator's order that only the leader can carry out."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """The answer to AskStanding. ``phase`` is the value of an ``identity.Phase``.

    ``listed`` are the ids behind its ``raft-peers`` once all are known, ``knows`` are the peers
    that it has discovered, ``founders`` are the members that the cluster began with, ``joining``
    are those that it is adding, ``leader`` is the Raft leader that it follows.
    """

    run_id: str
    cluster: str
    phase: str
    listed: tuple[str, ...]
    knows: tuple[str, ...]
    founders: tuple[str, ...]
    members: dict[str, str]
    joining: tuple[str, ...]
    leader: str


@dataclass(frozen=True, slots=True)
class Yes:
    """Done; ``text`` is an id or nothing."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class No:
    """Refused, and why."""

    reason: str


Question = AskStanding | Prepare | Commit | CallOff | Adopt | Removed | Forwarded
Answer = Standing | Yes | No
Value = Question | Answer

_KINDS: dict[str, type[Value]] = {
    kind.__name__: kind
    for kind in (
        *(AskStanding, Prepare, Commit, CallOff, Adopt, Removed, Forwarded),
        *(Standing, Yes, No),
    )
}


def encode(value: Value, ticket: int = 0) -> bytes:
    """A value with the number by which its answer is matched to it."""
    record = {"kind": type(value).__name__, "ticket": ticket, **asdict(value)}
    return json.dumps(record, separators=(",", ":")).encode()


def _check_members(members: dict[str, str]) -> None:
    """Refuse what no cluster has: it would be kept on disk, and shown to operators."""
    if len(members) > MEMBERS_MAX:
        raise ValueError("too many members")
    for run_id, address in members.items():
        is_id = 0 < len(run_id) <= ID_MAX_LENGTH and run_id.isascii() and run_id.isalnum()
        if not is_id or not (address == "" or is_address(address)):
            raise ValueError("no member")


def decode(data: bytes) -> tuple[Value, int]:
    try:
        record = json.loads(data)
        kind, ticket = _KINDS[record.pop("kind")], record.pop("ticket")
        if type(ticket) is not int:
            raise ValueError
        value = records.read(kind, record)
        if isinstance(value, Prepare | Adopt | Standing):
            _check_members(value.members)
        return value, ticket
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ProtocolError("neither a question nor an answer") from None
