"""Who votes: the members as of the snapshot and the changes in the log behind it. Pure.

A change counts from the moment its entry is in the log, committed or not, and no longer counts when
the entry is cut off (Raft dissertation, section 4.1). The rule guarded: the members are a function
of the log and of nothing else, so a restart finds the same ones.
"""

from __future__ import annotations

from collections.abc import Iterable

from sentinel_py.raft.snapshot import Entry
from sentinel_py.values import dataclass

REGULAR, NO_OP, MEMBERSHIP = b"\0", b"\1", b"\2"
"""The first byte of a command says what it is."""

MEMBERS_LIMIT = 15
"""The leader sends everything to each of them; more voters only make a cluster slower."""

ID_LIMIT = 255
"""Bytes of a member's id: its length is one byte in the journal."""

_ADD, _REMOVE = "+", "-"


@dataclass(frozen=True, slots=True)
class Add:
    member: str


@dataclass(frozen=True, slots=True)
class Remove:
    member: str


Change = Add | Remove


def command_of(change: Change) -> bytes:
    sign = _ADD if isinstance(change, Add) else _REMOVE
    return MEMBERSHIP + (sign + change.member).encode()


def change_in(command: bytes) -> Change | None:
    """The change that this command makes, None if it is no such command; ValueError if garbage."""
    if command[:1] != MEMBERSHIP:
        return None
    text = command[1:].decode()
    if text[:1] not in (_ADD, _REMOVE) or not is_id(text[1:]):
        raise ValueError("not a change of members")
    return Add(text[1:]) if text[0] == _ADD else Remove(text[1:])


def is_id(text: str) -> bool:
    return 0 < len(text.encode()) <= ID_LIMIT


class Membership:
    """The members by the log."""

    def __init__(self, members: Iterable[str], entries: Iterable[Entry]) -> None:
        self._changes: list[tuple[int, Change]] = []
        self.reset(members)
        for entry in entries:
            self.add(entry)

    @property
    def last_change_index(self) -> int:
        """Where the newest change stands; 0 if the snapshot has them all."""
        return self._changes[-1][0] if self._changes else 0

    def reset(self, members: Iterable[str]) -> None:
        """A snapshot took the place of the log."""
        self._base = self.current = tuple(sorted(members))
        self._changes.clear()

    def add(self, entry: Entry) -> None:
        change = change_in(entry.command)
        if change:
            self._changes.append((entry.index, change))
            self.current = _changed(self.current, change)

    def cut(self, index: int) -> None:
        """The entries from here on are gone."""
        self._changes = [it for it in self._changes if it[0] < index]
        self.current = self.as_of(index)

    def as_of(self, index: int) -> tuple[str, ...]:
        """The members after this entry."""
        members = self._base
        for changed_at, change in self._changes:
            if changed_at <= index:
                members = _changed(members, change)
        return members

    def compact(self, index: int) -> None:
        """The entries up to this one are in the snapshot now."""
        self._base = self.as_of(index)
        self._changes = [it for it in self._changes if it[0] > index]


def _changed(members: tuple[str, ...], change: Change) -> tuple[str, ...]:
    others = {*members} - {change.member}
    return tuple(sorted(others | {change.member} if isinstance(change, Add) else others))
