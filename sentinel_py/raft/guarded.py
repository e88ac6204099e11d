"""PySyncObj, and every private name of it that we use: no other module knows them.

`Core` wraps one SyncObj. What a message may do to it is decided in `replication` and `election`;
here stands how it is done. The rule guarded: a version of PySyncObj that lacks a name, or is not
the one that the guards were made for, does not start.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from enum import Enum
from random import Random

from pysyncobj import FAIL_REASON, SyncObj, SyncObjConf
from pysyncobj.version import VERSION

from sentinel_py.raft.adapters import CLOCK, LibraryError, Log, Outgoing, SnapshotSender, member
from sentinel_py.raft.codec import BATCH_LIMIT, Message
from sentinel_py.raft.journal import Journal, Write
from sentinel_py.raft.membership import MEMBERS_LIMIT, REGULAR, Add, Membership, change_in
from sentinel_py.raft.snapshot import Entry, Snapshot
from sentinel_py.values import dataclass

_VERSION = "0.3.17"
_METHODS = """
    applyLogEntries doApplyCommand parseChangeClusterRequest changeCluster setState
    updateClusterConfiguration onReadonlyNodeConnected onReadonlyNodeDisconnected onMessageReceived
""".split()  # noqa: SIM905
_FIELDS = """
    commandsLocalCounter commandsWaitingCommit commandsWaitingReply conf connectedNodes
    leaderCommitIndex newAppendEntriesTime otherNodes raftCommitIndex raftElectionDeadline
    raftLastApplied raftLeader raftMatchIndex raftNextIndex raftState readonlyNodes serializer
""".split()  # noqa: SIM905

PROPOSALS_LIMIT = 1000
"""Proposals that wait for their outcome; who proposes more is faster than the disks."""

_NEVER = float("inf")


class Role(Enum):
    """What a member is. The first three are PySyncObj's."""

    FOLLOWER = 0
    CANDIDATE = 1
    LEADER = 2
    LEARNER = 3  # has no vote, or none any more
    HALTED = 4  # its disk has failed


@dataclass(frozen=True, slots=True)
class Timing:
    """How long without a leader until an election, and what follows from that."""

    min_election_ms: int = 300
    max_election_ms: int = 600
    heartbeat_ms: int = 80
    fallback_ms: int = 800  # a leader that hears of no majority for so long steps down


def timing_of(election_timeout_ms: int) -> Timing:
    """Return what follows from how long a member waits for its leader: all in one proportion."""
    return Timing(
        min_election_ms=election_timeout_ms,
        max_election_ms=2 * election_timeout_ms,
        heartbeat_ms=election_timeout_ms * 4 // 15,
        fallback_ms=election_timeout_ms * 8 // 3,
    )


LAN = timing_of(300)


Apply = Callable[[int, bytes], object]
Callback = Callable[[object, int], None]
"""Takes a result and one of PySyncObj's fail reasons."""


class Core:
    """One member's SyncObj. ``apply`` gets each committed command with its index."""

    def __init__(
        self,
        journal: Journal,
        *,
        apply: Apply,
        send: Callable[[str, Message], None],
        timing: Timing,
        rng: Random,
        now_ms: int,
    ) -> None:
        self.journal = journal
        self.membership = Membership(journal.snapshot.members, journal.entries[2:])
        self._checked_members: tuple[str, ...] = ()
        self.now_ms = now_ms
        self.set_time(now_ms)
        self._raft = _Raft(
            journal=journal,
            membership=self.membership,
            apply=apply,
            transport=Outgoing(send),
            timing=timing,
        )
        self._raft._SyncObj__serializer = SnapshotSender(journal)
        # Answers that are still on their way to the last run of this member must find nobody.
        self._raft._SyncObj__commandsLocalCounter = rng.getrandbits(60)
        self._raft._SyncObj__raftLastApplied = journal.snapshot.index
        _check_fields(self._raft)

    # What it is

    @property
    def id(self) -> str:
        return self.journal.member_id

    @property
    def role(self) -> Role:
        return Role(self._raft._SyncObj__raftState) if self.is_voter else Role.LEARNER

    @property
    def is_leader(self) -> bool:
        return bool(self._raft._SyncObj__raftState == Role.LEADER.value)

    @property
    def is_voter(self) -> bool:
        return self.id in self.membership.current

    @property
    def is_blank(self) -> bool:
        """Whether it joins and has nothing yet: the entries alone do not tell the founders."""
        return not self.journal.snapshot.members

    @property
    def term(self) -> int:
        return int(self._raft.raftCurrentTerm)

    @property
    def voted_for(self) -> str | None:
        return self.journal.voted_for

    @property
    def leader(self) -> str | None:
        node = self._raft._SyncObj__raftLeader
        return node and str(node.id)

    @property
    def last(self) -> Entry:
        return self.journal.last

    @property
    def commit_index(self) -> int:
        return int(self._raft.raftCommitIndex)

    @property
    def applied_index(self) -> int:
        return int(self._raft.raftLastApplied)

    @property
    def peers(self) -> list[str]:
        """The other voters."""
        return [it for it in self.membership.current if it != self.id]

    @property
    def progress(self) -> tuple[object, ...]:
        """What a tick can change, so that another tick may have something to do."""
        raft = self._raft
        indices = (raft.raftCommitIndex, raft.raftLastApplied, self.last.index)
        return raft._SyncObj__raftState, raft.raftCurrentTerm, *indices

    def match_index(self, peer: str) -> int:
        return int(self._raft._SyncObj__raftMatchIndex.get(member(peer), 0))

    def next_index(self, peer: str) -> int:
        return int(self._raft._SyncObj__raftNextIndex[member(peer)])

    def is_follower(self, peer: str) -> bool:
        """Whether this leader sends the log there: to voters, and to a member that joins."""
        return member(peer) in self._raft._SyncObj__raftNextIndex

    def heartbeat(self, peer: str) -> Message | None:
        """What tells a follower that we lead, and nothing else; None if it lacks what we forgot."""
        if not self.is_follower(peer):
            return None
        previous = self.next_index(peer) - 1
        if not self.journal.entries[0].index <= previous <= self.last.index:
            return None
        return {
            "type": "append_entries",
            "term": self.term,
            "commit_index": self.commit_index,
            "prevLogIdx": previous,
            "prevLogTerm": self.journal.term_at(previous),
            "entries": [],
        }

    # What happens to it

    def set_time(self, now_ms: int) -> None:
        self.now_ms = now_ms
        CLOCK.now_ms = now_ms

    def set_links(self, peers: Iterable[str]) -> None:
        self._raft._SyncObj__connectedNodes = {member(it) for it in peers}

    def deliver(self, peer: str, message: Message) -> None:
        self._raft._SyncObj__onMessageReceived(member(peer), message)

    def acknowledged_index(self, durable_index: int) -> int:
        """Return up to where a leader's log is on a majority, with what is on our own disk."""
        index = self.commit_index
        members = len(self.membership.current)
        while index < durable_index:
            others = sum(self.match_index(peer) > index for peer in self.peers)
            if 2 * (1 + others) <= members:
                break
            index += 1
        # Raft, section 5.4.2: only an entry of its own term tells a leader that those before are.
        is_ours = index > self.commit_index and self.journal.term_at(index) == self.term
        return index if is_ours else self.commit_index

    def commit(self, index: int) -> bool:
        """Apply what is committed up to there, without a tick; whether there was something."""
        raft = self._raft
        if index <= self.commit_index:
            return False
        raft._SyncObj__raftCommitIndex = raft._SyncObj__leaderCommitIndex = index
        self.journal.commit_index = index
        raft._SyncObj__applyLogEntries()
        return True

    def tick(self) -> None:
        self._raft.doTick(0)
        if self._checked_members is not self.membership.current:
            self._checked_members = self.membership.current
            expected = {member(it) for it in self.peers}
            assert self._raft.otherNodes == expected, "the members follow from the log"

    def hold_election(self) -> None:
        """It would stand as soon as its own deadline passed; ours decides."""
        self._raft._SyncObj__raftElectionDeadline = _NEVER

    def stand(self) -> None:
        self._raft._SyncObj__raftElectionDeadline = -_NEVER

    @property
    def is_told_to_stand(self) -> bool:
        """Whether the leader has just handed over to us."""
        return bool(self._raft._SyncObj__raftElectionDeadline <= 0)

    def set_fallback(self, fallback_ms: int) -> None:
        """Have a leader that hears of no majority step down after so long."""
        self._raft._SyncObj__conf.leaderFallbackTimeout = fallback_ms / 1000

    def step_down(self) -> None:
        self._raft._SyncObj__setState(Role.FOLLOWER.value)
        self._raft._SyncObj__raftLeader = None

    def adopt_term(self, term: int) -> None:
        """Take over a higher term, by a request for a vote that nobody could grant."""
        request = {"type": "request_vote", "term": term, "last_log_index": -1, "last_log_term": -1}
        self.deliver(self.id, request)

    def transfer(self, peer: str | None) -> bool:
        """Tell a member that has everything to stand at once; False if there is none."""
        answers: list[int] = []
        node = None if peer is None else member(peer)
        self._raft.transferLeadership(node, lambda _, error: answers.append(error))
        return answers == [FAIL_REASON.SUCCESS]

    def submit(self, command: bytes, callback: Callback) -> None:
        self._raft._applyCommand(command, callback)

    def sweep(self, is_over: Callable[[Callback], bool]) -> None:
        """Settle and forget callbacks that PySyncObj would keep for ever."""
        waiting = self._raft._SyncObj__commandsWaitingCommit
        # A snapshot took the applied index past them.
        for index in [it for it in waiting if it <= self.applied_index]:
            for _, callback in waiting.pop(index):
                callback(None, FAIL_REASON.UNKNOWN_OUTCOME)
        for index in list(waiting):
            waiting[index] = [it for it in waiting[index] if not is_over(it[1])]
        replies = self._raft._SyncObj__commandsWaitingReply
        for request_id in [it for it in replies if is_over(replies[it])]:
            del replies[request_id]

    @property
    def waiting(self) -> int:
        """How many callbacks it keeps."""
        commits = self._raft._SyncObj__commandsWaitingCommit.values()
        return sum(map(len, commits)) + len(self._raft._SyncObj__commandsWaitingReply)

    def set_next_index(self, peer: str, index: int) -> None:
        self._raft._SyncObj__raftNextIndex[member(peer)] = index

    def send_at(self, at: int) -> None:
        """Send to everybody then, not at the next heartbeat."""
        soon = (at - 1) / 1000  # it waits until the time is over
        raft = self._raft
        raft._SyncObj__newAppendEntriesTime = min(raft._SyncObj__newAppendEntriesTime, soon)

    @property
    def heartbeat_at(self) -> int:
        return int(self._raft._SyncObj__newAppendEntriesTime * 1000 + 0.5) + 1

    def attach(self, peer: str) -> None:
        """Send the log to somebody that has no vote yet."""
        self._raft._SyncObj__onReadonlyNodeConnected(member(peer))

    def detach(self, peer: str) -> None:
        if member(peer) in self._raft._SyncObj__readonlyNodes:
            self._raft._SyncObj__onReadonlyNodeDisconnected(member(peer))

    # Snapshots

    def compacting(self, state: bytes) -> Write:
        """What puts a snapshot of what is applied in the place of the log before it."""
        index = self.applied_index
        first = self.journal.entries[0].index
        previous, last = self.journal.entries[index - 1 - first : index + 1 - first]
        members = self.membership.as_of(index)
        write = self.journal.compacting(Snapshot(previous, last, members, state))

        def settle() -> None:
            write.settle()
            self.membership.compact(index)

        return Write(write.job, settle)

    def install(self, snapshot: Snapshot) -> None:
        """Put a leader's snapshot in the place of the whole log."""
        self.journal.install(snapshot)
        self.membership.reset(snapshot.members)
        raft = self._raft
        raft._SyncObj__raftLastApplied = raft._SyncObj__raftCommitIndex = snapshot.index
        raft._SyncObj__updateClusterConfiguration([member(it) for it in self.peers])


class _Raft(SyncObj):  # type: ignore[misc]
    """SyncObj with commands of ours in the place of pickled calls of methods."""

    def __init__(
        self,
        *,
        journal: Journal,
        membership: Membership,
        apply: Apply,
        transport: Outgoing,
        timing: Timing,
    ) -> None:
        self._membership = membership
        self._apply = apply
        # Those in the log as well as those in the snapshot: PySyncObj alone would not know the
        # former before it applies them, and elect a leader with the votes of too few.
        others = [member(it) for it in membership.current if it != journal.member_id]
        conf = SyncObjConf(
            autoTick=False,
            dynamicMembershipChange=True,
            # Else a command waits for any later leader, and is carried out when nobody expects it.
            commandsWaitLeader=False,
            # Else a command waits for the next heartbeat.
            appendEntriesUseBatch=False,
            appendEntriesBatchSizeBytes=BATCH_LIMIT,
            commandsQueueSize=PROPOSALS_LIMIT,
            raftMinTimeout=timing.min_election_ms / 1000,
            raftMaxTimeout=timing.max_election_ms / 1000,
            appendEntriesPeriod=timing.heartbeat_ms / 1000,
            leaderFallbackTimeout=timing.fallback_ms / 1000,
            connectionTimeout=3600,  # of its own transport, which is never made
            # The engine compacts.
            logCompactionMinEntries=sys.maxsize,
            logCompactionMinTime=_NEVER,
            useFork=False,
            journalFile=Log(journal, membership),
        )
        super().__init__(
            member(journal.member_id), others, conf, nodeClass=member, transport=transport
        )

    def _SyncObj__doApplyCommand(self, command: bytes) -> object:  # noqa: N802
        # Members have changed when the entry came into the log.
        if command[:1] != REGULAR:
            return None
        return self._apply(self.raftLastApplied + 1, command[1:])

    def _SyncObj__parseChangeClusterRequest(self, command: bytes) -> list[str] | None:  # noqa: N802
        change = change_in(command)
        if change is None:
            return None
        return ["add" if isinstance(change, Add) else "rem", change.member]

    def _SyncObj__changeCluster(self, request: list[str]) -> bool:  # noqa: N802
        # Two changes under way could make two majorities. PySyncObj looks for the first one in a
        # field that it never sets.
        if self._membership.last_change_index > self.raftLastApplied:
            return False
        if request[0] == "add" and len(self._membership.current) >= MEMBERS_LIMIT:
            return False
        return bool(super()._SyncObj__changeCluster(request))


def _check_library() -> None:
    missing = [name for name in _METHODS if not hasattr(SyncObj, f"_SyncObj__{name}")]
    if missing or VERSION != _VERSION:
        raise LibraryError(f"PySyncObj {_VERSION} is needed, and this is {VERSION}")


def _check_fields(raft: _Raft) -> None:
    missing = [name for name in _FIELDS if not hasattr(raft, f"_SyncObj__{name}")]
    if missing:
        raise LibraryError(f"PySyncObj {VERSION} has no {', '.join(missing)}")


_check_library()
