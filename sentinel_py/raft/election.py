"""When to stand, whom to let stand, and how long a leader may rely on being one.

PySyncObj elects; this decides when it may. Before it stands, a member asks whether it would get
the votes (PreVote, Raft dissertation, section 9.6), so that one that was cut off does not come back
with a higher term and bring the leader down. Whoever has heard of a leader grants nothing for as
long as it has promised (`pace`). From that follows the lease: a leader that knows of a majority
which heard of it less than that ago knows that there is no other.

The rule guarded: what the lease rests upon is never promised twice, neither to another candidate,
nor after a restart, nor by a leader that has told another one to stand.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random

from sentinel_py.raft.codec import Message
from sentinel_py.raft.guarded import Core, Role, Timing, timing_of
from sentinel_py.raft.pace import LONGEST_MS, ROUND_TRIPS, Pace
from sentinel_py.values import dataclass

_EARLY_MS = 20, 100
"""How long to wait until an election if the leader is known to be dead."""

_ROUNDS_KEPT = 16
"""Questions whose late answers still tell how long a round trip takes."""

_PROMISE_MAX_MS = 600_000
"""Ten minutes: nobody's file says more."""

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
        self._pace = Pace(timing.min_election_ms, core.journal)
        self._leader_heard_at = core.now_ms
        # A member that was just started may have promised something before.
        self._promised_until = core.now_ms + self._pace.kept_ms()
        self._leader_is_dead = False
        self._deadline_at = 0
        self._put_off()
        self._round = 0
        self._asked_at: deque[tuple[int, int]] = deque(maxlen=_ROUNDS_KEPT)
        self._round_trip_ms = 0  # of the last answer to a question before an election
        self._grants: set[str] | None = None  # of the round, while it is open
        self._will_stand = False
        self._is_forced = False
        self._led = False
        self._heard_at: dict[str, int] = {}
        self._lease_until: dict[str, int] = {}  # what the lease rests upon: by each one's promise
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
            self._promised_until = self._core.now_ms
            self._put_off()

    def rested(self, took_ms: int) -> None:
        """A write has ended that took so long: what was said meanwhile is still to be read.

        A candidate gives the others the time that its own vote took: theirs has to be on disk, too.
        """
        if self._core.role is Role.CANDIDATE and took_ms:
            self._put_off(took_ms + self._round_trip_ms)
        elif self._core.now_ms >= self._deadline_at:
            self._put_off()

    # Standing

    def _put_off(self, longer_ms: int = 0) -> None:
        shortest, longest = self._pace.promise_ms, self._longest_ms
        if self._leader_is_dead:
            shortest, longest = _EARLY_MS
        self._deadline_at = self._core.now_ms + longer_ms + self._rng.randint(shortest, longest)

    @property
    def _longest_ms(self) -> int:
        """Without a leader for so long, each member has stood or let another one stand."""
        return 2 * self._pace.promise_ms

    def _ask_around(self) -> None:
        self._put_off(self._round_trip_ms)
        self._round += 1
        self._asked_at.append((self._round, self._core.now_ms))
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
        self._put_off(self._round_trip_ms)

    def mark(self, request: Message) -> None:
        """Complete a request for a vote: it is forced if the leader told us to stand."""
        request["forced"] = self._is_forced

    # Letting others stand

    def _is_led(self) -> bool:
        if self._core.is_leader:
            return self.has_lease(self._core.now_ms)
        return self._core.now_ms < self._promised_until

    def heard_leader(self, wanted_ms: int | None = None) -> None:
        """Promise to elect nobody else for a while; a leader may ask for how long."""
        now_ms = self._core.now_ms
        if wanted_ms is not None:
            self._pace.follow(wanted_ms, now_ms, self._promised_until)
        self._promised_until = max(self._promised_until, now_ms + self._pace.promise_ms)
        self._leader_heard_at = now_ms
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
        asked_at = dict(self._asked_at).get(message["round"])
        if asked_at is not None:
            self._round_trip_ms = min(self._core.now_ms - asked_at, LONGEST_MS)
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

    def promise_ms(self, *, is_write_under_way: bool) -> int:
        """Return how long after its last sign of life a leader may count on us."""
        return self._pace.certain_ms() if is_write_under_way else self._pace.promise_ms

    def wanted_ms(self) -> int:
        """Return how long a promise we ask for, as the leader."""
        core = self._core
        self._forget_earlier_lead()
        peers, needed = core.peers, len(core.membership.current) // 2
        wanted_ms = self._pace.wanted_ms(peers, needed, core.now_ms)
        patience_ms = max(timing_of(wanted_ms).fallback_ms, ROUND_TRIPS * self._round_trip_ms)
        core.set_fallback(max(self._timing.fallback_ms, patience_ms))
        return wanted_ms

    def acknowledged(self, peer: str, sent_at: int, promise_ms: int) -> None:
        """A follower has answered what we sent then, so it heard of us not earlier."""
        self._forget_earlier_lead()
        if sent_at > self._heard_at.get(peer, 0):
            self._heard_at[peer] = sent_at
            self._pace.measure(peer, self._core.now_ms - sent_at)
        # A tenth less than was promised, for clocks that run at different speeds.
        until = sent_at + min(promise_ms, _PROMISE_MAX_MS) * 9 // 10
        self._lease_until[peer] = max(until, self._lease_until.get(peer, 0))

    def _forget_earlier_lead(self) -> None:
        if self._lease_term != self._core.term:
            self._lease_term = self._core.term
            self._heard_at.clear()
            self._lease_until.clear()
            self._pace.begin(self._core.now_ms)

    def heard_at(self, peer: str) -> int | None:
        return self._heard_at.get(peer) if self._lease_term == self._core.term else None

    def has_lease(self, now_ms: int) -> bool:
        core = self._core
        if not core.is_leader or core.term == self._ceded_term:
            return False
        needed = len(core.membership.current) // 2  # besides ourselves
        if needed == 0:
            return True
        if self._lease_term != core.term:
            return False
        untils = sorted(self._lease_until.get(it, 0) for it in core.peers)
        return now_ms < untils[-needed]

    def has_leader(self, now_ms: int) -> bool:
        """Whether somebody leads a majority, as far as this member can know."""
        if self._core.is_leader:
            return self.has_lease(now_ms)
        is_fresh = now_ms < self._leader_heard_at + self._longest_ms
        return self._core.leader is not None and not self._leader_is_dead and is_fresh

    # Handing over

    def hand_over(self, to: str | None, settle: Callable[[bool | None], None]) -> bool:
        """Let another member lead, as soon as it has everything; False if that cannot be."""
        if self._handover or not self._core.is_leader:
            return False
        if not self._core.peers or (to is not None and to not in self._core.peers):
            return False
        deadline_at = self._core.now_ms + self._longest_ms
        self._handover = _Handover(to, settle, deadline_at)
        return True

    def _hand_over(self, handover: _Handover) -> None:
        core = self._core
        if not core.is_leader:
            self._end_handover(handover, handover.is_under_way)
        elif core.now_ms < handover.deadline_at:
            if not handover.is_under_way and core.transfer(handover.to):
                handover.is_under_way = True
                handover.deadline_at = core.now_ms + self._longest_ms
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
