"""When to stand, whom to let stand, and how long a leader may rely on being one.

PySyncObj elects; this decides when it may. Before it stands, a member asks whether it would get
the votes (PreVote, Raft dissertation, section 9.6), so that one that was cut off does not come back
with a higher term and bring the leader down. Whoever has heard of a leader grants nothing for as
long as the shortest election takes. From that follows the lease: a leader that knows of a majority
which heard of it less than that ago knows that there is no other.

The rule guarded: what the lease rests upon is never promised twice, neither to another candidate,
nor after a restart, nor by a leader that has told another one to stand.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from sentinel_py.raft.codec import Message
from sentinel_py.raft.guarded import Core, Role, Timing
from sentinel_py.values import dataclass

_EARLY_MS = 20, 100
"""How long to wait until an election if the leader is known to be dead."""

Send = Callable[[str, Message], None]


@dataclass(slots=True)
class _Handover:
    """The leader wants somebody else to lead."""

    to: str | None
    settle: Callable[[bool | None], None]  # done, not done, unknown
    deadline_at: int
    is_under_way: bool = False


class Election:
    """Elections of one member."""

    def __init__(self, core: Core, timing: Timing, rng: Random, send: Send) -> None:
        self._core = core
        self._timing = timing
        self._rng = rng
        self._send = send
        # A member that was just started may have promised something before.
        self._leader_heard_at = core.now_ms
        self._leader_is_dead = False
        self._deadline_at = 0
        self._put_off()
        self._round = 0
        self._grants: set[str] | None = None  # of the round, while it is open
        self._will_stand = False
        self._is_forced = False
        self._led = False
        self._heard_at: dict[str, int] = {}  # what the lease rests upon
        self._lease_term = 0
        self._ceded_term = 0
        self._handover: _Handover | None = None

    @property
    def next_at(self) -> int | None:
        """When there is something to do, if nothing happens before."""
        if self._handover:
            return self._handover.deadline_at
        return self._deadline_at if self._core.is_voter and not self._core.is_leader else None

    def before_tick(self) -> None:
        core = self._core
        if self._handover:
            self._hand_over(self._handover)
        if self._led and not core.is_leader:
            self._put_off()
        self._led = core.is_leader
        if core.is_voter and not core.is_leader and core.now_ms >= self._deadline_at:
            self._ask_around()
        if self._will_stand and not core.is_leader:
            core.stand()
        else:
            core.hold_election()
            self._is_forced = False
        self._will_stand = False

    def lost(self, peer: str) -> None:
        """The process of this peer is gone, and with it everything it was promised."""
        if peer == self._core.leader:
            self._leader_is_dead = True
            self._leader_heard_at = self._core.now_ms - self._timing.min_election_ms
            self._put_off()

    def rested(self, took_ms: int) -> None:
        """A write has ended that took so long: what was said meanwhile is still to be read.

        A candidate gives the others the time that its own vote took: theirs has to be on disk, too.
        """
        if self._core.role is Role.CANDIDATE and took_ms:
            self._put_off(took_ms)
        elif self._core.now_ms >= self._deadline_at:
            self._put_off()

    # Standing

    def _put_off(self, longer_ms: int = 0) -> None:
        shortest, longest = self._timing.min_election_ms, self._timing.max_election_ms
        if self._leader_is_dead:
            shortest, longest = _EARLY_MS
        self._deadline_at = self._core.now_ms + longer_ms + self._rng.randint(shortest, longest)

    def _ask_around(self) -> None:
        self._put_off()
        self._round += 1
        self._grants = {self._core.id}
        for peer in self._core.peers:
            self._send(
                peer,
                {
                    "type": "pre_vote",
                    "term": self._core.term + 1,
                    "last_log_index": self._core.last.index,
                    "last_log_term": self._core.last.term,
                    "round": self._round,
                },
            )
        self._count()

    def _count(self) -> None:
        assert self._grants is not None
        if 2 * len(self._grants) > len(self._core.membership.current):
            self._stand(is_forced=False)

    def _stand(self, *, is_forced: bool) -> None:
        self._grants = None
        self._will_stand = True
        self._is_forced = is_forced
        self._leader_is_dead = False
        self._put_off()

    def mark(self, request: Message) -> None:
        """Complete a request for a vote: it is forced if the leader told us to stand."""
        request["forced"] = self._is_forced

    # Letting others stand

    def _is_led(self) -> bool:
        if self._core.is_leader:
            return self.has_lease(self._core.now_ms)
        return self._core.now_ms < self._leader_heard_at + self._timing.min_election_ms

    def heard_leader(self) -> None:
        self._leader_heard_at = self._core.now_ms
        self._leader_is_dead = False
        self._grants = None
        self._will_stand = False
        self._put_off()

    def on_pre_vote(self, peer: str, message: Message) -> None:
        core = self._core
        theirs = (message["last_log_term"], message["last_log_index"])
        granted = (
            message["term"] > core.term
            and theirs >= (core.last.term, core.last.index)
            and not core.is_leader
            and not self._is_led()
        )
        if granted:
            self._put_off()
        answer = {"term": core.term, "round": message["round"], "granted": granted}
        self._send(peer, {"type": "response_pre_vote", **answer})

    def on_response_pre_vote(self, peer: str, message: Message) -> None:
        self.on_nack(peer, message)
        if self._grants is None or message["round"] != self._round or not message["granted"]:
            return
        if peer in self._core.membership.current and not self._core.is_leader:
            self._grants.add(peer)
            self._count()

    def on_request_vote(self, peer: str, message: Message) -> None:
        core = self._core
        if self._is_led() and not message["forced"]:
            return
        core.deliver(peer, message)
        if core.voted_for == peer and core.term == message["term"]:
            # As good as a leader: another candidate has to wait until this one had its time.
            self.heard_leader()

    def on_response_vote(self, peer: str, message: Message) -> None:
        if peer in self._core.membership.current:
            self._core.deliver(peer, message)

    def on_nack(self, peer: str, message: Message) -> None:  # noqa: ARG002
        """Somebody has a higher term, so nothing of ours would be accepted."""
        if message["term"] > self._core.term:
            self._core.adopt_term(message["term"])

    def on_timeout_now(self, peer: str, message: Message) -> None:
        self._core.hold_election()
        self._core.deliver(peer, message)
        if self._core.is_told_to_stand and self._core.is_voter:
            self._stand(is_forced=True)

    # The lease

    def acknowledged(self, peer: str, sent_at: int) -> None:
        """A follower has answered what we sent then, so it heard of us not earlier."""
        if self._lease_term != self._core.term:
            self._lease_term = self._core.term
            self._heard_at.clear()
        self._heard_at[peer] = max(sent_at, self._heard_at.get(peer, 0))

    def heard_at(self, peer: str) -> int | None:
        return self._heard_at.get(peer) if self._lease_term == self._core.term else None

    def has_lease(self, now_ms: int) -> bool:
        core = self._core
        if not core.is_leader or core.term == self._ceded_term:
            return False
        needed = len(core.membership.current) // 2  # besides ourselves
        if needed == 0:
            return True
        heard = sorted(it for it in map(self.heard_at, core.peers) if it is not None)
        # A tenth less than was promised, for clocks that run at different speeds.
        lease_ms = self._timing.min_election_ms * 9 // 10
        return len(heard) >= needed and now_ms < heard[-needed] + lease_ms

    def has_leader(self, now_ms: int) -> bool:
        """Whether somebody leads a majority, as far as this member can know."""
        if self._core.is_leader:
            return self.has_lease(now_ms)
        is_fresh = now_ms < self._leader_heard_at + self._timing.max_election_ms
        return self._core.leader is not None and not self._leader_is_dead and is_fresh

    # Handing over

    def hand_over(self, to: str | None, settle: Callable[[bool | None], None]) -> bool:
        """Let another member lead, as soon as it has everything; False if that cannot be."""
        if self._handover or not self._core.is_leader:
            return False
        if not self._core.peers or (to is not None and to not in self._core.peers):
            return False
        deadline_at = self._core.now_ms + self._timing.max_election_ms
        self._handover = _Handover(to, settle, deadline_at)
        return True

    def _hand_over(self, handover: _Handover) -> None:
        core = self._core
        if not core.is_leader:
            self._end_handover(handover, handover.is_under_way)
        elif core.now_ms < handover.deadline_at:
            if not handover.is_under_way and core.transfer(handover.to):
                handover.is_under_way = True
                handover.deadline_at = core.now_ms + self._timing.max_election_ms
                self._ceded_term = core.term
        elif handover.is_under_way:
            # It may still stand at any time, so in this term there can be no lease.
            core.step_down()
            self._end_handover(handover, None)
        else:
            self._end_handover(handover, False)

    def _end_handover(self, handover: _Handover, result: bool | None) -> None:
        self._handover = None
        handover.settle(result)
