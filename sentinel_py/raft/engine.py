"""One member of a Raft cluster, driven from outside: bytes in, bytes out, and a disk.

The engine has no thread, no loop and no socket. Its owner hands it what arrives, calls `step` soon
after that, and again after `next_tick_ms` at the latest. A step delivers, lets PySyncObj compute,
begins the write of the journal, and lets the messages go when it is done; again while something
changes. Until then the engine rests, but for signs of life (`writing`).

The rule guarded: no message leaves and no outcome is told before what it depends on is on disk.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Protocol

from sentinel_py.raft import codec
from sentinel_py.raft.codec import COMMAND_LIMIT, Message
from sentinel_py.raft.disk import Disk
from sentinel_py.raft.election import Election
from sentinel_py.raft.guarded import LAN, PROPOSALS_LIMIT, Core, Role, Timing
from sentinel_py.raft.joining import Joining, Learner
from sentinel_py.raft.journal import CompactionError, Journal, JournalDamagedError, Write
from sentinel_py.raft.membership import REGULAR, Add, Change, change_in, command_of, is_id
from sentinel_py.raft.proposals import REFUSED_REASON, Done, Outcome, Proposal, Proposals
from sentinel_py.raft.replication import Replication
from sentinel_py.raft.snapshot import FIRST_INDEX, STATE_LIMIT, Snapshot
from sentinel_py.raft.writing import Writing
from sentinel_py.values import dataclass

__all__ = ["Done", "Engine", "Outcome", "Role", "StateMachine", "Status", "Timing"]

INBOX_LIMIT = 4_096
"""Messages between two steps; a member that sends more will send again what it misses."""

COMPACT_ENTRIES = 2_000
COMPACT_BYTES = 4 * 1024 * 1024
"""A log of so many applied entries, or a journal grown by so many bytes, becomes a snapshot."""

_COMPACTION_PAUSE_MS = 60_000
"""After one that failed: the state is written anew each time, to a disk that may be full."""

_SEAL_PERIOD_MS = 1_000
_ROUNDS_LIMIT = 32
"""Rounds of one step. Each follows from the one before; what is left over waits for the next."""

_log = logging.getLogger(__name__)


class StateMachine(Protocol):
    """What the log is for. A call may not call the engine back."""

    def apply(self, index: int, command: bytes) -> object:
        """Carry out a committed command: the same way on every member, and without raising."""

    def snapshot(self) -> bytes:
        """The state after the last command applied."""

    def why_not(self, data: bytes) -> str:
        """Return why this cannot be the state; empty if it can."""

    def snapshot_refused(self, index: int, why: str) -> None:
        """A leader's snapshot was refused for this reason; tell whom it concerns."""

    def restore(self, index: int, data: bytes) -> None:
        """Take over the state after the command with this index, whatever the state was."""


@dataclass(frozen=True, slots=True)
class Status:
    """How one member sees the cluster. Only a leader knows ``match``, its followers' last index."""

    role: Role
    term: int
    leader: str | None
    has_lease: bool  # leads, and nobody else can
    has_majority: bool  # belongs to a majority that is led, as far as it can know
    members: tuple[str, ...]
    learner: str | None
    links: tuple[str, ...]
    match: dict[str, int]
    commit_index: int
    applied_index: int
    last_index: int
    snapshot_index: int
    journal_bytes: int
    is_disk_late: bool  # a write has been under way for too long, and nothing is said meanwhile


def monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class Engine:
    """The member whose journal is on this disk; `journal.create` makes one.

    ``transport`` takes the id of a peer and a message for it, and may lose it. ``clock`` is
    monotonic. ``wake`` asks for a step, because the disk has done what it was given. Raises
    FileNotFoundError and JournalDamagedError.
    """

    def __init__(
        self,
        disk: Disk,
        machine: StateMachine,
        transport: Callable[[str, bytes], None],
        rng: Random,
        *,
        clock: Callable[[], int] = monotonic_ms,
        timing: Timing = LAN,
        wake: Callable[[], None] = lambda: None,
        is_disk_doubted: bool = False,
    ) -> None:
        self._machine = machine
        self._transport = transport
        self._clock = clock
        self._journal = Journal(disk)
        if is_disk_doubted:
            self._journal.write_anew()
        self._check_snapshot()
        self._core = core = Core(
            self._journal,
            apply=self._apply,
            send=self._complete_and_send,
            timing=timing,
            rng=rng,
            now_ms=clock(),
        )
        self._timing = timing
        self._writing = Writing(disk, clock, wake)
        self._election = Election(core, timing, rng, self._send)
        self._replication = Replication(
            core, self._send, election=self._election, install=self._install
        )
        self._joining = Joining(
            core, heard_at=self._election.heard_at, promote=self._promote, refuse=self._refuse
        )
        self._proposals = Proposals()
        self._links: dict[str, None] = {}
        self._inbox: deque[tuple[str, Message]] = deque()
        self._outbox: list[tuple[str, Message]] = []
        self._waiting: list[tuple[str, Message]] = []  # for the write that is under way
        self._is_compacting = False
        self._alive_at = 0  # when a leader says again that it is there, during a write
        self._is_restored = False
        self._is_halted = False
        self._compact_at = self._seal_at = core.now_ms
        self._handlers: dict[str, Callable[[str, Message], None]] = {
            "append_entries": self._on_append_entries,
            "next_node_idx": self._replication.on_next_node_idx,
            "nack": self._election.on_nack,
            "request_vote": self._election.on_request_vote,
            "response_vote": self._election.on_response_vote,
            "pre_vote": self._election.on_pre_vote,
            "response_pre_vote": self._election.on_response_pre_vote,
            "timeout_now": self._election.on_timeout_now,
            "apply_command": self._on_apply_command,
            "apply_command_response": core.deliver,
        }

    @property
    def member_id(self) -> str:
        return self._core.id

    # What the owner hands in

    def receive(self, peer: str, message: bytes) -> bool:
        """A message of an authenticated peer; CodecError if it is none. Whether to step soon.

        Messages come in the order of their sending, and none of an earlier link after one of a
        later one.
        """
        decoded = codec.decode(message)
        if self._writing.is_under_way and not self._is_halted:
            return self._hear(peer, decoded)
        self._keep(peer, decoded)
        return not self._only_renews_the_lease(peer, decoded)

    def _keep(self, peer: str, message: Message) -> None:
        if len(self._inbox) < INBOX_LIMIT and not self._is_halted:
            self._inbox.append((peer, message))

    def _only_renews_the_lease(self, peer: str, message: Message) -> bool:
        """Whether it can wait for the next step, which saves an idle leader most of them."""
        core = self._core
        if message["type"] != "next_node_idx" or not core.is_leader or not message["success"]:
            return False
        last = core.last.index
        is_settled = core.commit_index == last and core.is_follower(peer)
        is_known = is_settled and core.match_index(peer) == last
        return is_known and self._election.has_lease(self._clock())

    def connected(self, peer: str) -> None:
        """Messages to this peer can be sent now."""
        self._links[peer] = None

    def disconnected(self, peer: str, *, is_dead: bool = False) -> None:
        """No longer. ``is_dead``: its process has ended for certain, for it refuses connections."""
        self._links.pop(peer, None)
        if is_dead:
            self._core.set_time(self._clock())
            self._election.lost(peer)

    def propose(self, command: bytes, done: Done) -> None:
        """Have a command applied on all members; ``done`` is called in a later step."""
        core = self._core
        # A leader that is silent may be stopped, and would carry out what it reads when it goes on.
        is_led = core.leader in self._links and self._election.has_leader(self._clock())
        is_reachable = core.is_leader or is_led
        is_acceptable = len(command) < COMMAND_LIMIT and len(self._proposals) < PROPOSALS_LIMIT
        if self._is_halted or not is_reachable or not is_acceptable:
            self._proposals.tell_later(done, Outcome.REFUSED)
            return
        core.submit(REGULAR + command, self._begin_proposal(done))

    def _begin_proposal(self, done: Done) -> Proposal:
        return self._proposals.begin(done, self._clock(), self._writing.took_ms)

    def change(self, change: Change, done: Done) -> None:
        """Add or remove a member; the leader does that, one at a time, and never to itself."""
        core = self._core
        if self._is_halted or not core.is_leader or not is_id(change.member):
            self._proposals.tell_later(done, Outcome.REFUSED)
        elif not isinstance(change, Add):
            core.submit(command_of(change), self._begin_proposal(done))
        elif change.member in core.membership.current or self._joining.member:
            self._proposals.tell_later(done, Outcome.REFUSED)
        else:
            core.set_time(self._clock())
            self._joining.begin(change.member, done)

    def transfer(self, to: str | None, done: Done) -> None:
        """Have this member lead instead of us, or whoever has most; DONE when we no longer lead."""
        self._core.set_time(self._clock())

        def settle(is_done: bool | None) -> None:
            self._proposals.tell_later(done, _TRANSFERRED[is_done])

        if self._is_halted or not self._election.hand_over(to, settle):
            self._proposals.tell_later(done, Outcome.REFUSED)

    # What the owner learns

    @property
    def next_tick_ms(self) -> int:
        """When to call `step` if nothing happens before."""
        if self._is_halted:
            return _SEAL_PERIOD_MS
        core = self._core
        if self._writing.is_under_way:
            wake_ats = [self._clock() + _SEAL_PERIOD_MS, self._proposals.next_at]
            if core.is_leader:
                wake_ats.append(self._alive_at)
        elif self._inbox:
            return 0
        else:
            wake_ats = [self._seal_at, self._election.next_at, self._proposals.next_at]
            if core.is_leader:
                wake_ats.append(core.heartbeat_at)
        return max(0, min(it for it in wake_ats if it is not None) - self._clock())

    @property
    def has_lease(self) -> bool:
        """Whether this member leads and nobody else can, by the clock."""
        return not self._is_halted and self._election.has_lease(self._clock())

    def status(self) -> Status:
        core, now_ms = self._core, self._clock()
        is_halted = self._is_halted
        return Status(
            role=Role.HALTED if is_halted else core.role,
            term=core.term,
            leader=None if is_halted else core.leader,
            has_lease=self.has_lease,
            has_majority=not is_halted and self._election.has_leader(now_ms),
            members=core.membership.current,
            learner=self._joining.member,
            links=tuple(sorted(self._links)),
            match=self._match(),
            commit_index=core.commit_index,
            applied_index=core.applied_index,
            last_index=core.last.index,
            snapshot_index=self._journal.snapshot.index,
            journal_bytes=self._journal.size,
            is_disk_late=self._writing.is_late(),
        )

    def _match(self) -> dict[str, int]:
        core = self._core
        if not core.is_leader:
            return {core.id: core.last.index}
        match = {it: core.match_index(it) for it in core.peers}
        if self._joining.member:
            match[self._joining.member] = core.match_index(self._joining.member)
        return match | {core.id: core.last.index}

    def _check_snapshot(self) -> None:
        """Refuse to start with a state that was written by a later version, or by nobody."""
        snapshot = self._journal.snapshot
        if snapshot.index > FIRST_INDEX and (why := self._machine.why_not(snapshot.state)):
            raise JournalDamagedError(f"The snapshot in the journal makes no sense: {why}")

    # Steps

    def step(self) -> None:
        """Do what there is to do. A disk that fails ends the member's part, and raises nothing."""
        if not self._is_halted:
            try:
                self._work()
            except (OSError, CompactionError) as error:
                self._halt(error)
        self._proposals.tell()

    def _work(self) -> None:
        core = self._core
        core.set_time(self._clock())
        self._restore_once()
        for _ in range(_ROUNDS_LIMIT):
            if not self._is_written():
                break
            before = core.progress
            core.set_links(self._links)
            self._deliver()
            self._election.before_tick()
            self._joining.before_tick()
            core.tick()
            self._flush()
            if core.progress == before and not self._inbox:
                break
        if self._is_written():
            self._tidy_up()
        else:
            self._stay_alive()

    def _restore_once(self) -> None:
        # Not at once: the owner may not be ready before its first step.
        if self._is_restored:
            return
        self._is_restored = True
        self._restore(self._journal.snapshot)

    def _restore(self, snapshot: Snapshot) -> None:
        if snapshot.index > FIRST_INDEX:
            self._machine.restore(snapshot.index, snapshot.state)

    def _deliver(self) -> None:
        for _ in range(len(self._inbox)):
            peer, message = self._inbox.popleft()
            self._handlers[message["type"]](peer, message)

    def _flush(self) -> None:
        # A leader's entries may be on their way to others while it syncs them itself, since it
        # counts itself only in the next round. Its term may not: it might forget it led in it.
        waits_for_nothing = "" if self._journal.has_unsynced_vote else "append_entries"
        outbox, self._outbox = self._outbox, []
        waiting = []
        for peer, message in outbox:
            if message["type"] == waits_for_nothing:
                self._transport(peer, codec.encode(message))
            else:
                waiting.append((peer, message))
        write = self._journal.flushing()
        if write is None:
            self._let_go(waiting)
        else:
            self._waiting = waiting
            self._begin(write)

    def _begin(self, write: Write) -> None:
        self._alive_at = self._core.now_ms + self._timing.heartbeat_ms
        self._writing.begin(write)

    def _is_written(self) -> bool:
        """Whether no write is under way; what has waited for it may go."""
        if self._writing.is_under_way:
            return False
        try:
            has_ended = self._writing.settle()
        except CompactionError as error:
            if not self._is_compacting:
                raise
            self._compaction_failed(error)
            has_ended = True
        if has_ended:
            self._is_compacting = False
            waiting, self._waiting = self._waiting, []
            self._let_go(waiting)
            self._election.rested(self._writing.took_ms)
        return True

    def _let_go(self, messages: list[tuple[str, Message]]) -> None:
        for peer, message in messages:
            self._transport(peer, codec.encode(message))

    # During a write

    def _stay_alive(self) -> None:
        """Commit what can be, and go on with a leader's heartbeats."""
        core = self._core
        self._proposals.expire(core.now_ms)
        if core.commit(self._committed_index()):
            self._alive_at = core.now_ms  # for the others to hear of it
        # A term that is not on disk may not be told: we might forget that we led in it.
        if not core.is_leader or self._journal.has_unsynced_vote or self._writing.is_late():
            self._alive_at = core.now_ms + _SEAL_PERIOD_MS
        elif core.now_ms >= self._alive_at:
            self._alive_at = core.now_ms + self._timing.heartbeat_ms
            for peer in self._links:
                if heartbeat := core.heartbeat(peer):
                    self._replication.stamp(heartbeat)
                    self._transport(peer, codec.encode(heartbeat))

    def _committed_index(self) -> int:
        """Up to where the log is committed, as is known during a write."""
        if self._core.is_leader:
            return self._core.acknowledged_index(self._journal.durable_index)
        return self._replication.told_index

    def _hear(self, peer: str, message: Message) -> bool:
        """Take a message in during a write; whether it is worth a step.

        What followers acknowledge, and where a command of ours stands, is taken at once: neither
        changes what is being written. So is a leader's sign of life. Whatever else there is waits.
        """
        core = self._core
        core.set_time(self._clock())
        if message["type"] == "next_node_idx":
            self._replication.on_next_node_idx(peer, message)
            return self._committed_index() > core.commit_index
        if message["type"] == "apply_command_response":
            core.deliver(peer, message)
            return False
        self._keep(peer, message)
        is_from_leader = message["type"] == "append_entries" and message["term"] == core.term
        if not is_from_leader or core.is_leader or self._writing.is_late():
            return False
        self._election.heard_leader()
        if answer := self._replication.sign_of_life(peer, message):
            self._transport(peer, codec.encode(answer))
        return self._committed_index() > core.commit_index

    def _tidy_up(self) -> None:
        core = self._core
        if self._proposals.expire(core.now_ms) or core.waiting:
            core.sweep(self._proposals.is_over)
        applied = core.applied_index - self._journal.snapshot.index
        is_long = applied >= COMPACT_ENTRIES or self._journal.grown >= COMPACT_BYTES
        if is_long and core.now_ms >= self._compact_at:
            self._compact()
        elif core.now_ms >= self._seal_at:
            self._seal_at = core.now_ms + _SEAL_PERIOD_MS
            self._journal.seal()

    def _compact(self) -> None:
        state = self._machine.snapshot()
        if len(state) > STATE_LIMIT:
            error = CompactionError(f"the state has more than {STATE_LIMIT} bytes")
            return self._compaction_failed(error)
        self._is_compacting = True
        self._begin(self._core.compacting(state))
        self._is_written()
        return None

    def _compaction_failed(self, error: CompactionError) -> None:
        self._compact_at = self._core.now_ms + _COMPACTION_PAUSE_MS
        _log.warning("Raft: the journal cannot be compacted: %s", error)

    def _halt(self, error: Exception) -> None:
        """What is in memory is not on disk, so nothing may follow from it any more."""
        _log.error("Raft: the journal cannot be written, and this member stops: %s", error)
        self._is_halted = True
        self._inbox.clear()
        self._outbox.clear()
        self._waiting.clear()
        self._joining.end(self._refuse)
        self._proposals.end_all()

    # Called back

    def _apply(self, index: int, command: bytes) -> object:
        # What it raises ends the process: PySyncObj would apply it again in each tick.
        return self._machine.apply(index, command)

    def _install(self, snapshot: Snapshot) -> bool:
        """Take over a leader's snapshot; one that the machine refuses leaves all as it was."""
        if why := self._machine.why_not(snapshot.state):
            self._machine.snapshot_refused(snapshot.index, why)
            return False
        self._core.install(snapshot)
        self._restore(snapshot)
        return True

    def _promote(self, learner: Learner) -> None:
        self._core.submit(command_of(Add(learner.id)), self._begin_proposal(learner.done))

    def _refuse(self, learner: Learner) -> None:
        self._proposals.tell_later(learner.done, Outcome.REFUSED)

    def _complete_and_send(self, peer: str, message: Message) -> None:
        """What PySyncObj sends, with what the guards need."""
        match message["type"]:
            case "next_node_idx":
                return  # `replication` answers itself
            case "append_entries":
                self._replication.stamp(message)
            case "request_vote":
                self._election.mark(message)
            case "apply_command" if change_in(message["command"]):
                # We led when it was asked for. Another leader has to let the member learn first.
                self._inbox.append((peer, _REFUSAL | {"request_id": message["request_id"]}))
                return
        self._send(peer, message)

    def _send(self, peer: str, message: Message) -> None:
        if peer in self._links:
            self._outbox.append((peer, message))

    def _on_append_entries(self, peer: str, message: Message) -> None:
        if message["term"] < self._core.term:
            self._send(peer, {"type": "nack", "term": self._core.term})
        elif not self._core.is_leader or message["term"] > self._core.term:
            self._election.heard_leader(message["wanted_ms"])
            self._replication.on_append_entries(peer, message)

    def _on_apply_command(self, peer: str, message: Message) -> None:
        if peer in self._core.peers:
            self._core.deliver(peer, message)


_REFUSAL = {"type": "apply_command_response", "error": REFUSED_REASON}

_TRANSFERRED = {True: Outcome.DONE, False: Outcome.REFUSED, None: Outcome.UNKNOWN}
