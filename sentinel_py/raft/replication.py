"""What a follower does with a leader's entries and snapshots, and a leader with the answers.

PySyncObj takes over entries, cuts the log, commits and sends. But it cuts what it should keep,
believes what it has not compared, and searches for the place where two logs part in a way that may
never end. So it only ever gets messages that fit: `on_append_entries` compares first, and the
answers are made here.

The rule guarded: an entry that agrees with the leader's log is never cut, no index is committed or
acknowledged that was not compared, and no answer counts that was given in another term, or to
something sent before the last answer that moved the search.
"""

from __future__ import annotations

from collections.abc import Callable

from sentinel_py.raft import snapshot as snapshots
from sentinel_py.raft.codec import Message
from sentinel_py.raft.election import Election
from sentinel_py.raft.guarded import Core
from sentinel_py.raft.snapshot import STATE_LIMIT, Entry, Snapshot, SnapshotError
from sentinel_py.values import dataclass

_RESEND_PAUSE_MS = 5
"""A follower that refuses again and again is not answered more often."""

_REFUSED_PAUSE_MS = 5_000
"""A leader whose snapshot says what cannot be is not asked for another one before that."""

_SNAPSHOT_LIMIT = STATE_LIMIT + 1024 * 1024  # its last two entries and the members


@dataclass(slots=True)
class _Transfer:
    """A snapshot that arrives in chunks."""

    peer: str
    term: int
    data: bytearray


class Replication:
    """The log of one member and its leader's, or its followers'."""

    def __init__(
        self,
        core: Core,
        send: Callable[[str, Message], None],
        *,
        election: Election,
        install: Callable[[Snapshot], bool],
    ) -> None:
        self._core = core
        self._send = send
        self._election = election
        self._install = install
        self._transfer: _Transfer | None = None
        self._refused_until = 0  # no snapshot is wanted before that
        self.told_index = 0
        """Up to where a leader has said during a write that the log is committed."""
        self._agreed = ("", 0, 0)  # leader, term, and up to where its log and ours are the same
        self._sequence = 0
        self._search_from: dict[str, int] = {}  # the answers that count for each follower
        self._resend_at = 0

    # Follower

    def on_append_entries(self, peer: str, message: Message) -> None:
        """Something from a leader whose term is not out of date."""
        if "serialized" in message:
            self._on_chunk(peer, message)
        else:
            self._on_entries(peer, message)

    def _on_entries(self, peer: str, message: Message) -> None:
        previous, entries = message["prevLogIdx"], message["entries"]
        if entries and entries[0].index != previous + 1:
            return
        hint = self._parts_at(previous, message["prevLogTerm"])
        if hint is not None:
            self._follow(peer, message, commit_index=0)
            if self._core.now_ms >= self._refused_until:
                self._answer(peer, message, hint, success=False)
            return
        matched = max(previous + len(entries), self._core.journal.snapshot.index)
        missing = self._missing(entries)
        commit_index = min(message["commit_index"], matched)
        self._follow(peer, message, missing, commit_index=commit_index)
        self._agreed = (peer, message["term"], matched)
        self._answer(peer, message, matched + 1, success=True)

    def _parts_at(self, index: int, term: int) -> int | None:
        """From where on our log must be sent anew if it lacks this entry, None if it has it."""
        journal = self._core.journal
        if self._core.is_blank:
            return 0
        if index > journal.last.index:
            return journal.last.index + 1
        # What the snapshot covers was committed, so the leader has the same.
        if index <= journal.snapshot.index or journal.term_at(index) == term:
            return None
        # The whole term is another leader's; one entry at a time would take for ever.
        other = journal.term_at(index)
        while journal.term_at(index - 1) == other and index - 1 > journal.snapshot.index:
            index -= 1
        return index

    def _missing(self, entries: list[Entry]) -> list[Entry]:
        """The entries without those at the beginning that our log has already."""
        journal = self._core.journal
        for position, entry in enumerate(entries):
            if entry.index > journal.last.index or (
                entry.index > journal.snapshot.index and journal.term_at(entry.index) != entry.term
            ):
                return entries[position:]
        return []

    def _follow(
        self, peer: str, message: Message, entries: list[Entry] | None = None, *, commit_index: int
    ) -> None:
        """Follow this leader, and add these entries behind those that agree with them."""
        core = self._core
        previous = entries[0].index - 1 if entries else core.last.index
        assert previous >= min(core.commit_index, core.last.index), "what is committed stays"
        core.deliver(
            peer,
            {
                "type": "append_entries",
                "term": message["term"],
                "commit_index": commit_index,
                "prevLogIdx": previous,
                "prevLogTerm": core.journal.term_at(previous),
                "entries": entries or [],
            },
        )

    def _answer(self, peer: str, message: Message, next_index: int, *, success: bool) -> None:
        promise_ms = self._election.promise_ms(is_write_under_way=False)
        self._send(peer, _answer_to(message, next_index, promise_ms, success=success))

    def sign_of_life(self, peer: str, message: Message) -> Message | None:
        """Answer a leader during a write, with what outlives a crash; None if that is not known."""
        leader, term, index = self._agreed
        if (leader, term) != (peer, message["term"]):
            return None
        self.told_index = max(self.told_index, min(message.get("commit_index", 0), index))
        index = min(index, self._core.journal.durable_index)
        promise_ms = self._election.promise_ms(is_write_under_way=True)
        return _answer_to(message, index + 1, promise_ms, success=True)

    # Follower: snapshots

    def _on_chunk(self, peer: str, message: Message) -> None:
        # Our own tail was not compared with anything: whatever the leader has committed, we do
        # not know that we have it.
        self._follow(peer, message, commit_index=0)
        data, is_first, is_last = message["serialized"]
        if self._core.now_ms < self._refused_until:
            return
        if is_first:
            self._transfer = _Transfer(peer, message["term"], bytearray())
        transfer = self._transfer
        if transfer is None or (transfer.peer, transfer.term) != (peer, message["term"]):
            return
        transfer.data += data
        if len(transfer.data) > _SNAPSHOT_LIMIT:
            self._transfer = None
        elif is_last:
            self._transfer = None
            self._take_over(peer, message, bytes(transfer.data))

    def _take_over(self, peer: str, message: Message, data: bytes) -> None:
        try:
            snapshot = snapshots.decode(data)
        except SnapshotError:
            return  # the leader sends it again when we refuse what comes next
        if not self._has(snapshot.last) and not self._install(snapshot):
            self._refused_until = self._core.now_ms + _REFUSED_PAUSE_MS
            return
        self._answer(peer, message, snapshot.index + 1, success=True)

    def _has(self, entry: Entry) -> bool:
        """Whether our log has everything up to this entry, which is committed."""
        journal = self._core.journal
        if self._core.is_blank:
            return False
        if entry.index <= self._core.applied_index:
            return True
        return entry.index <= journal.last.index and journal.term_at(entry.index) == entry.term

    # Leader

    def stamp(self, message: Message) -> None:
        """Complete a message for a follower: its answer will tell what it answers."""
        self._sequence += 1
        message["sequence"] = self._sequence
        message["sent_at"] = self._core.now_ms
        message["wanted_ms"] = self._election.wanted_ms()

    def renew(self, peer: str, message: Message) -> bool:
        """Count an answer as a sign of life; False if it is none to what we said in this term."""
        core = self._core
        if not core.is_leader or message["term"] != core.term or not core.is_follower(peer):
            return False
        if message["sequence"] > self._sequence or message["sent_at"] > core.now_ms:
            return False
        self._election.acknowledged(peer, message["sent_at"], message["promise_ms"])
        return True

    def on_next_node_idx(self, peer: str, message: Message) -> None:
        """Take the answer of a follower."""
        core = self._core
        if not self.renew(peer, message):
            return
        next_index = core.next_index(peer)
        is_success = message["success"] and message["next_node_idx"] <= core.last.index + 1
        # PySyncObj counts an answer of any kind as a sign of life.
        core.deliver(peer, {**message, "success": is_success, "reset": False})
        if is_success:
            # It goes back to what is acknowledged, and would send again all that is on its way.
            core.set_next_index(peer, max(next_index, message["next_node_idx"]))
        elif message["sequence"] >= self._search_from.get(peer, 0):
            self._search(peer, min(next_index, message["next_node_idx"]))

    def _search(self, peer: str, next_index: int) -> None:
        core = self._core
        if core.match_index(peer):
            next_index = max(next_index, core.match_index(peer) + 1)
        core.set_next_index(peer, next_index)
        followers = [it for it in self._search_from if core.is_follower(it)]
        self._search_from = {it: self._search_from[it] for it in followers}
        self._search_from[peer] = self._sequence + 1
        self._resend_at = max(self._resend_at, core.now_ms)
        core.send_at(self._resend_at)
        self._resend_at += _RESEND_PAUSE_MS


def _answer_to(message: Message, next_index: int, promise_ms: int, *, success: bool) -> Message:
    return {
        "type": "next_node_idx",
        "term": message["term"],
        "next_node_idx": next_index,
        "reset": not success,
        "success": success,
        "sequence": message["sequence"],
        "sent_at": message["sent_at"],
        "promise_ms": promise_ms,
    }
