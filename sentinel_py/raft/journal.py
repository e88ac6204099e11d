"""The member's memory on disk: who it is, its snapshot, its entries, its term and its vote.

One file has it all: a line that names the format, and frames. A frame has its length, the place up
to which the file was durable when it was written, and a checksum over both, its own place and its
payload of records. A flush appends one frame and syncs. A compaction writes a new file and renames
it over the old one: snapshot and log change in the same instant, so no crash can find one without
the other.

A bad frame at the end is the torn tail of a write that nobody was told about; it is cut off. If a
good frame behind it says that its place was durable, it is damage. So that the last flush has such
a witness, too, a seal follows it: a frame that is not synced and tells the commit index, which need
not last.

A disk may take a second for a sync, so what waits for one is done elsewhere: `flushing` and
`compacting` give a `Write`, whose job any thread may do while the journal is left alone.

The rule guarded: what a settled write held comes back, whatever happens, or the journal is refused;
what is refused is not touched.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Callable, Iterator

from sentinel_py.raft import snapshot as snapshots
from sentinel_py.raft.disk import Disk
from sentinel_py.raft.membership import NO_OP
from sentinel_py.raft.snapshot import FIRST_INDEX, Entry, Snapshot
from sentinel_py.values import dataclass

NAME = "journal"
_NEW_NAME = "journal.new"

_FORMAT_VERSION = 1
_PREFIX = b"sentinel_py raft journal, format "
_HEADER = b"%s%d\n" % (_PREFIX, _FORMAT_VERSION)

_MAGIC = b"\xf7Frm"
_FRAME = struct.Struct("!4sIQI")  # magic, length of the payload, durable size, CRC
_CHECKED = struct.Struct("!QIQ")  # place, length, durable size

_ENTRY = struct.Struct("!QQI")
_NUMBER = struct.Struct("!Q")
_LENGTH = struct.Struct("!I")


class JournalDamagedError(Exception):
    """The journal cannot be trusted; one line for the operator."""


class CompactionError(Exception):
    """The new file could not be written; the old one is as good as before."""


def exists(disk: Disk) -> bool:
    try:
        disk.read(NAME)
    except FileNotFoundError:
        return False
    return True


def create(disk: Disk, member_id: str, members: tuple[str, ...]) -> None:
    """A journal for a new member. Without members it waits for those of the leader that adds it."""
    assert not exists(disk), "a journal is never replaced: its member has voted"
    # The same two entries in every new journal, so that any two logs have a beginning in common.
    previous, last = (Entry(NO_OP, index, 0) for index in (FIRST_INDEX - 1, FIRST_INDEX))
    start = Snapshot(previous, last, tuple(sorted(members)), b"")
    records = _text_record(b"I", member_id) + _snapshot_record(start)
    _write_new(disk, _HEADER + _frame(records, len(_HEADER), 0))
    disk.rename(_NEW_NAME, NAME)
    disk.sync_dir()


@dataclass(frozen=True, slots=True)
class Write:
    """Something to be put on disk: its ``job`` in any thread, and what follows once it is done."""

    job: Callable[[], None]
    settle: Callable[[], None]

    def do(self) -> None:
        """Do all of it here and now."""
        self.job()
        self.settle()


class Journal:
    """An open journal. Changes are in memory at once, and on disk after `flushing`'s write."""

    member_id: str
    snapshot: Snapshot

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.entries: list[Entry] = []
        self.term = 0
        self.voted_for: str | None = None
        self.promise_ms = 0  # how long we elect nobody else while we hear of a leader; see `pace`
        self.commit_index = FIRST_INDEX
        self._pending: list[bytes] = []
        self._is_anew = False  # the next write is a new file with all of it
        self._written_commit_index = FIRST_INDEX
        self.has_unsynced_vote = False
        data = disk.read(NAME)
        self.size = self._replay(data)
        self._base_size = self._durable_size = self._sealed_size = self.size
        self._make_durable(len(data))
        self.commit_index = min(self.commit_index, self.last.index)
        # What outlives a crash: the entries up to here, and this promise.
        self.durable_index, self.durable_promise_ms = self.last.index, self.promise_ms

    @property
    def last(self) -> Entry:
        return self.entries[-1]

    @property
    def grown(self) -> int:
        """Bytes written since the last compaction."""
        return self.size - self._base_size

    def term_at(self, index: int) -> int:
        return self.entries[index - self.entries[0].index].term

    # Changes

    def append(self, entry: Entry) -> None:
        assert entry.index == self.last.index + 1, "the log has no gaps"
        self.entries.append(entry)
        self._pending.append(_entry_record(entry))

    def cut(self, index: int) -> None:
        """Forget the entries from here on."""
        assert self.snapshot.index < index <= self.last.index + 1, "a snapshot is never cut"
        del self.entries[index - self.entries[0].index :]
        self.durable_index = min(self.durable_index, index - 1)
        self._pending.append(b"T" + _NUMBER.pack(index))

    def set_vote(self, term: int, voted_for: str | None) -> None:
        assert term >= self.term, "terms only grow"
        self.term, self.voted_for = term, voted_for
        self._pending.append(self._vote_record())
        self.has_unsynced_vote = True

    def set_promise(self, promise_ms: int) -> None:
        """Keep what is promised to leaders for after a restart."""
        self.promise_ms = promise_ms
        self._pending.append(self._promise_record())

    def flushing(self) -> Write | None:
        """What makes the changes durable; None if there are none."""
        if self._is_anew:
            return self._anew(self.snapshot, self.entries[2:])
        if not self._pending:
            return None
        frame = self._next_frame(b"".join(self._pending))
        self._pending.clear()

        def settle() -> None:
            self.size += len(frame)
            self._durable_size = self.size
            self._all_is_durable()

        return Write(lambda: self._append(frame), settle)

    def seal(self) -> None:
        """Leave a witness that the last flush was durable. Costs no sync, and nothing when idle."""
        assert not self._pending
        if self.size > self._sealed_size or self.commit_index != self._written_commit_index:
            frame = self._next_frame(b"")
            self._disk.append(NAME, frame)
            self.size += len(frame)
            self._sealed_size = self.size

    def compacting(self, snapshot: Snapshot) -> Write:
        """What puts a snapshot in the place of the entries up to its own; CompactionError fails."""
        assert not self._pending
        return self._anew(snapshot, self.entries[snapshot.index + 1 - self.entries[0].index :])

    def write_anew(self) -> None:
        """Put all of it into a new file: what a failed sync has left of the old one, nobody knows.

        The system may take pages that it could not write for clean ones, and sync them no more.
        """
        self.compacting(self.snapshot).do()

    def install(self, snapshot: Snapshot) -> None:
        """Put a leader's snapshot in the place of everything; the next write is a new file."""
        self._pending.clear()
        self._is_anew = True
        self.commit_index = snapshot.index
        self.durable_index = 0
        self._take(snapshot, [])

    # Writing

    def _next_frame(self, records: bytes) -> bytes:
        if self.commit_index != self._written_commit_index:
            records += self._commit_record()
            self._written_commit_index = self.commit_index
        return _frame(records, self.size, self._durable_size)

    def _anew(self, snapshot: Snapshot, tail: list[Entry]) -> Write:
        commit_index = self.commit_index
        records = [
            _text_record(b"I", self.member_id),
            _snapshot_record(snapshot),
            self._vote_record(),
            self._promise_record(),
            self._commit_record(),
            *map(_entry_record, tail),
        ]
        data = _HEADER + _frame(b"".join(records), len(_HEADER), 0)
        self._pending.clear()

        def settle() -> None:
            self._take(snapshot, tail)
            self._is_anew = False
            self._written_commit_index = commit_index
            self.size = self._base_size = self._durable_size = self._sealed_size = len(data)
            self._all_is_durable()

        return Write(lambda: self._replace(data), settle)

    def _append(self, frame: bytes) -> None:
        self._disk.append(NAME, frame)
        self._disk.sync(NAME)

    def _replace(self, data: bytes) -> None:
        try:
            _write_new(self._disk, data)
            self._disk.rename(_NEW_NAME, NAME)
        except OSError as error:
            with contextlib.suppress(OSError):
                self._disk.remove(_NEW_NAME)
            raise CompactionError(error.strerror) from error
        # Until this has worked a crash may bring back the old file, so no change may follow.
        self._disk.sync_dir()

    def _take(self, snapshot: Snapshot, tail: list[Entry]) -> None:
        self.snapshot = snapshot
        self.entries = [snapshot.previous, snapshot.last, *tail]

    def _all_is_durable(self) -> None:
        self.has_unsynced_vote = False
        self.durable_index, self.durable_promise_ms = self.last.index, self.promise_ms

    def _make_durable(self, found_size: int) -> None:
        # The process may have died before it synced what was just read; votes will depend on it.
        if self.size < found_size:
            self._disk.truncate(NAME, self.size)
        self._disk.sync(NAME)
        self._disk.sync_dir()

    def _vote_record(self) -> bytes:
        return _text_record(b"V" + _NUMBER.pack(self.term), self.voted_for or "")

    def _promise_record(self) -> bytes:
        return b"P" + _NUMBER.pack(self.promise_ms)

    def _commit_record(self) -> bytes:
        return b"C" + _NUMBER.pack(self.commit_index)

    # Reading

    def _replay(self, data: bytes) -> int:
        """Take over what the file says; the size of its good part."""
        if not data.startswith(_HEADER):
            raise JournalDamagedError(_bad_header(data))
        end = len(_HEADER)
        for payload, end in _frames(data):
            try:
                self._take_over(_Reader(payload))
            except (struct.error, ValueError, snapshots.SnapshotError) as error:
                raise JournalDamagedError(
                    f"The journal makes no sense before byte {end}"
                ) from error
        if not self.entries:
            raise JournalDamagedError("The journal has no beginning")
        return end

    def _take_over(self, reader: _Reader) -> None:
        while reader.left:
            _RECORDS[reader.kind()](self, reader)

    def _read_member_id(self, reader: _Reader) -> None:
        self.member_id = reader.text()

    def _read_snapshot(self, reader: _Reader) -> None:
        self.snapshot = snapshots.decode(reader.blob())
        self.entries = [self.snapshot.previous, self.snapshot.last]
        self.commit_index = self.snapshot.index

    def _read_entry(self, reader: _Reader) -> None:
        index, term, length = reader.numbers(_ENTRY)
        if not self.entries or index != self.last.index + 1:
            raise ValueError("a gap in the log")
        self.entries.append(Entry(reader.take(length), index, term))

    def _read_cut(self, reader: _Reader) -> None:
        (index,) = reader.numbers(_NUMBER)
        if not self.snapshot.index < index <= self.last.index + 1:
            raise ValueError("a cut that does not fit")
        del self.entries[index - self.entries[0].index :]

    def _read_vote(self, reader: _Reader) -> None:
        (self.term,) = reader.numbers(_NUMBER)
        self.voted_for = reader.text() or None

    def _read_promise(self, reader: _Reader) -> None:
        (self.promise_ms,) = reader.numbers(_NUMBER)

    def _read_commit(self, reader: _Reader) -> None:
        (self.commit_index,) = reader.numbers(_NUMBER)
        self._written_commit_index = self.commit_index


class _Reader:
    """The records of a payload, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> bool:
        return self._at < len(self._data)

    def kind(self) -> bytes:
        kind = self.take(1)
        if kind not in _RECORDS:
            raise ValueError("an unknown record")
        return kind

    def numbers(self, layout: struct.Struct) -> tuple[int, ...]:
        return layout.unpack(self.take(layout.size))

    def blob(self) -> bytes:
        return self.take(*self.numbers(_LENGTH))

    def text(self) -> str:
        return self.blob().decode()

    def take(self, length: int) -> bytes:
        start, self._at = self._at, self._at + length
        if self._at > len(self._data):
            raise ValueError("a record beyond its frame")
        return self._data[start : self._at]


_RECORDS: dict[bytes, Callable[[Journal, _Reader], None]] = {
    b"I": Journal._read_member_id,
    b"S": Journal._read_snapshot,
    b"E": Journal._read_entry,
    b"T": Journal._read_cut,
    b"V": Journal._read_vote,
    b"C": Journal._read_commit,
    b"P": Journal._read_promise,
}


def _entry_record(entry: Entry) -> bytes:
    return b"E" + _ENTRY.pack(entry.index, entry.term, len(entry.command)) + entry.command


def _text_record(kind: bytes, text: str) -> bytes:
    data = text.encode()
    return kind + _LENGTH.pack(len(data)) + data


def _snapshot_record(snapshot: Snapshot) -> bytes:
    data = snapshots.encode(snapshot)
    return b"S" + _LENGTH.pack(len(data)) + data


def _write_new(disk: Disk, data: bytes) -> None:
    disk.create(_NEW_NAME)
    disk.append(_NEW_NAME, data)
    disk.sync(_NEW_NAME)


def _frame(payload: bytes, place: int, durable_size: int) -> bytes:
    length = len(payload)
    head = _FRAME.pack(_MAGIC, length, durable_size, _crc(payload, place, durable_size))
    return head + payload


def _crc(payload: bytes, place: int, durable_size: int) -> int:
    return zlib.crc32(payload, zlib.crc32(_CHECKED.pack(place, len(payload), durable_size)))


def _frames(data: bytes) -> Iterator[tuple[bytes, int]]:
    """The payloads of the good frames and where each ends; JournalDamagedError if one is lost."""
    place = len(_HEADER)
    while frame := _frame_at(data, place):
        payload, _ = frame
        place += _FRAME.size + len(payload)
        yield payload, place
    witness = data.find(_MAGIC, place + 1)
    while witness != -1:
        frame = _frame_at(data, witness)
        if frame and frame[1] > place:
            raise JournalDamagedError(f"The journal is damaged at byte {place}")
        witness = data.find(_MAGIC, witness + 1)


def _frame_at(data: bytes, place: int) -> tuple[bytes, int] | None:
    """Payload and durable size of the frame at this place, if a good one is there."""
    if place + _FRAME.size > len(data):
        return None
    magic, length, durable_size, crc = _FRAME.unpack_from(data, place)
    start = place + _FRAME.size
    if magic != _MAGIC or start + length > len(data):
        return None
    payload = data[start : start + length]
    return (payload, durable_size) if _crc(payload, place, durable_size) == crc else None


def _bad_header(data: bytes) -> str:
    if data.startswith(_PREFIX):
        return "The journal has a format that only another version of this program reads"
    return "The journal is damaged at byte 0"
