"""What PySyncObj gets in the place of its own parts: node, journal, serializer, transport, clock.

Nothing here decides anything; the names and signatures are PySyncObj's. The rule guarded: once this
module is imported, PySyncObj opens no file, socket or pipe, asks no clock and unpickles nothing.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pysyncobj.journal
import pysyncobj.pickle
from pysyncobj import SERIALIZER_STATE, syncobj
from pysyncobj.node import Node
from pysyncobj.transport import Transport
from pysyncobj.version import VERSION

from sentinel_py.raft import snapshot as snapshots
from sentinel_py.raft.codec import CHUNK_LIMIT, Chunk, Message
from sentinel_py.raft.journal import Journal
from sentinel_py.raft.membership import Membership
from sentinel_py.raft.snapshot import Entry, Snapshot


class LibraryError(Exception):
    """The installed PySyncObj is not the one that the guards were made for."""


class Member(Node):  # type: ignore[misc]  # PySyncObj has no types
    """A member is its id. The hash is the same in every run, and with it the order of sets."""

    def __init__(self, id: str) -> None:  # noqa: A002
        super().__init__(id)
        self._crc = zlib.crc32(id.encode())

    def __hash__(self) -> int:
        return self._crc


@functools.lru_cache(maxsize=256)
def member(member_id: str) -> Member:
    """The node of this id. Each message needs one, and nodes that are the same compare fast."""
    return Member(member_id)


class Log(pysyncobj.journal.Journal):  # type: ignore[misc]
    """Our journal and members, as PySyncObj wants to see a journal."""

    def __init__(self, journal: Journal, membership: Membership) -> None:
        self._journal = journal
        self._membership = membership

    def add(self, command: bytes, idx: int, term: int) -> None:
        entry = Entry(command, idx, term)
        self._journal.append(entry)
        self._membership.add(entry)

    def deleteEntriesFrom(self, entryFrom: int) -> None:  # noqa: N802, N803
        index = self._journal.entries[entryFrom].index
        self._journal.cut(index)
        self._membership.cut(index)

    def __getitem__(self, item: Any) -> Any:
        return self._journal.entries[item]

    def __len__(self) -> int:
        return len(self._journal.entries)

    def _destroy(self) -> None:
        pass

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:  # noqa: N802, N803
        self._journal.commit_index = raftCommitIndex

    def getRaftCommitIndex(self) -> int:  # noqa: N802
        return self._journal.commit_index

    def setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:  # noqa: N802, N803
        self._journal.set_vote(term, votedForNodeId)

    def getCurrentTerm(self) -> int:  # noqa: N802
        return self._journal.term

    def getVotedForNodeId(self) -> str | None:  # noqa: N802
        return self._journal.voted_for


class SnapshotSender:
    """PySyncObj's Serializer, as far as it sends: the snapshot in chunks. Its names are its own."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._snapshot: Snapshot | None = None
        self._data = b""
        self._sent: dict[Member, int] = {}

    def checkSerializing(self) -> tuple[int, None]:  # noqa: N802
        return SERIALIZER_STATE.NOT_SERIALIZING, None

    def getTransmissionData(self, node: Member) -> Chunk:  # noqa: N802
        if self._snapshot is not self._journal.snapshot:
            self._snapshot = self._journal.snapshot
            self._data = snapshots.encode(self._snapshot)
            self._sent.clear()
        start = self._sent.pop(node, 0)
        end = start + CHUNK_LIMIT
        is_last = end >= len(self._data)
        if not is_last:
            self._sent[node] = end
        return self._data[start:end], start == 0, is_last

    def cancelTransmisstion(self, node: Member) -> None:  # noqa: N802
        self._sent.pop(node, None)


class Outgoing(Transport):  # type: ignore[misc]
    """A transport that only hands over what is to be sent. Links are the business of others."""

    ready = True

    def __init__(self, send: Callable[[str, Message], None]) -> None:
        super().__init__(None, None, [])
        self._send = send

    def send(self, node: Member, message: Message) -> None:
        self._send(node.id, message)

    # PySyncObj takes changes back and makes them again whenever it reads an entry twice.
    def addNode(self, node: Member) -> None:  # noqa: N802
        pass

    def dropNode(self, node: Member) -> None:  # noqa: N802
        pass


class _Clock:
    """The time of the member that is driven; it stands still while PySyncObj computes."""

    now_ms = 0

    def __call__(self) -> float:
        return self.now_ms / 1000


class _NoPoller:
    def poll(self, timeout: float) -> None:
        pass


def _refuse(*_: object, **__: object) -> None:
    raise AssertionError("nothing is pickled here")


def _replaced() -> Iterator[tuple[Any, str, object]]:
    yield syncobj, "monotonicTime", CLOCK
    yield syncobj, "createJournal", lambda journal: journal
    yield syncobj, "createPoller", lambda _: _NoPoller()
    yield syncobj, "PIPE_NOTIFIER_ENABLED", False
    for name in ("load", "loads", "dump", "dumps"):
        yield pysyncobj.pickle, name, _refuse
    for name in ("loads", "dumps"):
        yield pysyncobj.journal, name, _refuse


CLOCK = _Clock()
for _module, _name, _value in _replaced():
    if not hasattr(_module, _name):
        raise LibraryError(f"PySyncObj {VERSION} has no {_module.__name__}.{_name}")
    setattr(_module, _name, _value)
