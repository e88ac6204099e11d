"""The engine at work: driven by the loop, with the core behind it and the streams before it.

What is committed goes to the core as inputs; how the cluster stands goes there, to operators and to
clients. The rules guarded: the engine steps when something came for it and when it asks to be
woken, never inside its own calls; whatever was asked of it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from sentinel_py.core import fencing, ledger, snapshot
from sentinel_py.core.checks import InvalidError
from sentinel_py.core.messages import (
    Committed,
    Installed,
    Level,
    Notice,
    ProposalEnded,
    Propose,
    RaftContact,
    RaftView,
    Tell,
)
from sentinel_py.raft import addresses, faulty, reports
from sentinel_py.raft.codec import CodecError
from sentinel_py.raft.contact import ASK_EVERY_MS, Contact
from sentinel_py.raft.disk import Disk
from sentinel_py.raft.engine import Engine, Role, Status
from sentinel_py.raft.faulty import FaultyEntries
from sentinel_py.raft.guarded import timing_of
from sentinel_py.raft.journal import CompactionError
from sentinel_py.raft.membership import Change
from sentinel_py.raft.proposals import Done, Outcome
from sentinel_py.raft.reopening import Reopening
from sentinel_py.resp import ProtocolError

if TYPE_CHECKING:
    from sentinel_py.raft.member import Member

HAND_OVER_WITHIN_S = 1.0
"""What a shutdown waits for another leader; an election without one takes half of that."""

REFUSED_AFTER_S = 1.0
"""A change of members that is refused for so long is refused."""

YIELD_EVERY_S = 5.0
"""A leader in TILT, or that reaches no replica, lets another one lead; not more often than this,
as the other one may be no better off."""

LONELY_AFTER_S = 3.0
LONELY_AFTER_ELECTIONS = 10
"""Without a leader for so long, or so many election timeouts: elections have failed, or we were
removed."""


class Driver:
    """One engine; also the state machine that it applies entries to."""

    def __init__(self, member: Member, disk: Disk, rng: Random) -> None:
        self._member = member
        self._loop = asyncio.get_running_loop()
        self._disk, self._rng = disk, rng
        self._engine = self._engine_on(disk, is_disk_doubted=False)
        self._reopening = Reopening(self._reopen)
        self._faulty = FaultyEntries(disk)
        self._applying: int | None = None  # the index of the entry that the core is taking in
        self._contact = Contact(member.run_id, member.peers.send, member.host.now)
        self._timer: asyncio.TimerHandle | None = None
        self._contact_timer: asyncio.TimerHandle | None = None
        self._is_due = False
        self._is_behind = False  # by what the core was told last
        self._is_closed = False
        self._leader_lost_at = self._loop.time()
        self._snapshot_at = self._loop.time()
        self._yielded_at = self._loop.time() - YIELD_EVERY_S
        self._view: RaftView | None = None
        self._links: set[str] = set()
        self._unsettled: dict[Callable[[Outcome], None], None] = {}  # in the order of asking
        self._proposed: list[tuple[bytes, Done]] = []  # since the last step
        self.status: Status = self._engine.status()

    def start(self) -> None:
        """Load what is on disk into the core, and go on from there."""
        self._drive()
        self._keep_contact()

    def _engine_on(self, disk: Disk, *, is_disk_doubted: bool) -> Engine:
        member = self._member
        return Engine(
            disk,
            self,
            member.peers.send,
            self._rng,
            clock=member.host.now,
            timing=timing_of(member.state.settings.raft_election_timeout_ms),
            wake=self._soon,
            is_disk_doubted=is_disk_doubted,
        )

    def _reopen(self) -> str:
        """Go on from what the journal has, after it could not be written; or say why not."""
        try:
            self._engine = self._engine_on(self._disk, is_disk_doubted=True)
        except (OSError, CompactionError) as error:
            return str(error)
        for link in self._links:
            self._engine.connected(link)
        self._soon()
        return ""

    def close(self) -> None:
        self._is_closed = True
        self._reopening.close()
        for timer in (self._timer, self._contact_timer):
            if timer:
                timer.cancel()

    def abandon(self) -> None:
        """Stop for good while the core goes on: it leads nothing, and waits for nothing."""
        self.close()
        for settle in list(self._unsettled):
            settle(Outcome.UNKNOWN)
        self._member.host.feed(RaftView((), None, False, False, self.status.term))

    # Steps

    def _soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._drive)

    def _drive(self) -> None:
        if self._is_closed:
            return
        self._is_due = False
        if self._timer:
            self._timer.cancel()
        proposed, self._proposed = self._proposed, []
        for command, done in proposed:
            self._engine.propose(command, done)
        self._engine.step()
        self._timer = self._loop.call_later(self._engine.next_tick_ms / 1000, self._drive)
        self._look()

    # Links

    def receive(self, run_id: str, message: bytes) -> None:
        """Take a message in; ProtocolError if it is none."""
        if reports.is_about(message):
            report = reports.decode(run_id, message)
            if run_id in self.status.members:
                self._member.host.feed(report)
            return
        if self._contact.is_about(message):
            if self._contact.take(run_id, message, self._lease, self.status.leader):
                self._tell_contact()
            return
        try:
            is_urgent = self._engine.receive(run_id, message)
        except CodecError as error:
            raise ProtocolError(str(error)) from None
        if is_urgent:
            self._soon()

    def tell(self, effect: Tell) -> None:
        """Tell a member what we see of a master."""
        if message := reports.encode(effect):
            self._member.peers.send(effect.run_id, message)

    def connected(self, run_id: str) -> None:
        self._links.add(run_id)
        self._engine.connected(run_id)
        self._soon()

    def disconnected(self, run_id: str) -> None:
        self._links.discard(run_id)
        self._engine.disconnected(run_id)
        self._soon()

    def died(self, run_id: str) -> None:
        """It refuses connections: its process has ended, so whoever followed it need not wait.

        Or a firewall refuses in its place, and it still has its lease. An election is safe all the
        same; what a fence promises is not, since it counts on nobody being elected in that time.
        """
        is_dead = not fencing.is_wanted(self._member.state)
        self._engine.disconnected(run_id, is_dead=is_dead)
        self._soon()

    def is_connected(self, run_id: str) -> bool:
        return run_id in self._links

    # Proof of contact

    def _keep_contact(self) -> None:
        """Ask for proof in time, as long as any master needs it; a leader proves it to itself."""
        self._contact_timer = self._loop.call_later(ASK_EVERY_MS / 1000, self._keep_contact)
        if not fencing.is_wanted(self._member.state):
            return
        status = self._engine.status()
        if status.has_lease:
            self._contact.hold(status.members)
            self._tell_contact()
        elif status.leader and not self._contact.is_late:
            self._contact.ask([status.leader])
        else:
            # One who cannot write its log any more knows of no leader, and may have one.
            self._contact.ask(it for it in status.members if it != self._member.run_id)

    def _lease(self, is_relayed: bool) -> int | None:
        """The commit index if we lead, which is the newest one of all then.

        Whom we reach through others only would not hear of a switch in time: as long as there may
        be one, it is not told that all is well.
        """
        status, state = self._engine.status(), self._member.state
        may_switch = any(master.failover or master.mandate for master in state.masters.values())
        leads = status.has_lease and state.raft is not None and state.raft.leads
        return status.commit_index if leads and not (is_relayed and may_switch) else None

    def _tell_contact(self) -> None:
        contact = self._contact
        assert contact.at is not None
        self._is_behind = self._engine.status().applied_index < contact.commit_index
        heard, relayed = tuple(contact.heard_at.items()), tuple(contact.relayed_at.items())
        is_current = not self._is_behind
        self._member.host.feed(RaftContact(contact.at, heard, relayed, is_current))

    # What is asked of it

    def propose(self, effect: Propose) -> None:
        def ended(outcome: Outcome) -> None:
            if outcome is not Outcome.DONE:
                is_certain = outcome is Outcome.REFUSED
                self._member.host.feed(ProposalEnded(effect.entry_id, certain=is_certain))

        # Maybe from within a step, by the core that has just applied an entry.
        command = ledger.encode(effect.entry_id, effect.entry)
        self._proposed.append((command, self._settling(ended)))
        self._soon()

    def _settling(self, act: Callable[[Outcome], None]) -> Done:
        """What the engine calls with an outcome; ``act`` gets it once, outside of the engine."""

        def settle(outcome: Outcome) -> None:
            if settle in self._unsettled:
                del self._unsettled[settle]
                self._loop.call_soon(act, outcome)

        self._unsettled[settle] = None
        return lambda outcome, _result: settle(outcome)

    async def change(self, change: Change) -> str:
        """Change the members; empty when it is done, or why it is not.

        A new leader refuses it until it has applied the change before, of which it may have just
        been a part.
        """
        deadline = self._loop.time() + REFUSED_AFTER_S
        while True:
            outcome: asyncio.Future[Outcome] = self._loop.create_future()
            self._engine.change(change, self._settling(partial(_settle, outcome)))
            self._soon()
            is_refused = await outcome is Outcome.REFUSED and self.status.role is Role.LEADER
            if not is_refused or self._loop.time() > deadline:
                return _CHANGE_TEXTS[outcome.result()]
            await asyncio.sleep(0.02)

    async def transfer(self, run_id: str | None = None) -> str:
        """Have another one lead; empty when it does, or why it does not."""
        outcome: asyncio.Future[Outcome] = self._loop.create_future()
        self._engine.transfer(run_id, self._settling(partial(_settle, outcome)))
        self._soon()
        if await outcome is Outcome.REFUSED:
            return "no member can take the lead"
        deadline = self._loop.time() + HAND_OVER_WITHIN_S
        while self.status.leader in (None, self._member.run_id):
            if self._loop.time() > deadline:
                return "no other member has taken the lead in time"
            await asyncio.sleep(0.01)
        return ""

    async def hand_over(self) -> None:
        """Before the end: let somebody else lead, if we do."""
        if self.status.leader == self._member.run_id and len(self.status.members) > 1:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HAND_OVER_WITHIN_S):
                    await self.transfer()

    @property
    def snapshot_age_ms(self) -> int:
        """Since the last snapshot, or since the start if there was none."""
        return int((self._loop.time() - self._snapshot_at) * 1000)

    @property
    def is_lonely(self) -> bool:
        """Whether no leader has been heard of for too long."""
        lost = self.status.leader is None
        timeout_s = self._member.state.settings.raft_election_timeout_ms / 1000
        patience_s = max(LONELY_AFTER_S, LONELY_AFTER_ELECTIONS * timeout_s)
        return lost and self._loop.time() > self._leader_lost_at + patience_s

    # StateMachine

    def apply(self, index: int, command: bytes) -> None:
        if self._faulty.is_skipped(index):
            text = f"{index} #has ended this process {faulty.TIMES} times, and is skipped"
            self._notice("+rejected-entry", text)
            return
        self._applying = index
        self._member.host.feed(Committed(index, *ledger.decode(command)))
        self._applying = None

    def note_fault(self, error: BaseException) -> None:
        """A bug ends the process: if an entry has brought it to light, remember which."""
        if self._applying is not None and not isinstance(error, MemoryError | OSError):
            self._faulty.count(self._applying)

    def snapshot(self) -> bytes:
        return snapshot.dump(self._member.state)

    def why_not(self, data: bytes) -> str:
        try:
            snapshot.read(data)
        except InvalidError as error:
            return str(error)
        return ""

    def snapshot_refused(self, index: int, why: str) -> None:
        self._notice("+rejected-snapshot", f"{index} #{why}")

    def restore(self, index: int, data: bytes) -> None:
        self._member.host.feed(Installed(index, data))

    # How it stands

    def _look(self) -> None:
        before, self.status = self.status, self._engine.status()
        now = self.status
        if now.role is Role.HALTED:
            self._reopening.begin()
        if now.leader is None and before.leader is not None:
            self._leader_lost_at = self._loop.time()
        if now.snapshot_index != before.snapshot_index:
            self._snapshot_at = self._loop.time()
        if now.has_lease and self._member.state.is_tilted:
            self.give_lead(None)
        if self._is_behind and now.applied_index >= self._contact.commit_index:
            self._tell_contact()
        view = RaftView(
            tuple(now.members),
            now.leader,
            now.has_lease,
            now.has_majority,
            now.term,
            self._member.places_of_members(),
            self._trouble(now),
        )
        if view == self._view:
            return
        first, self._view = self._view is None, view
        self._tell(before, now, first=first)
        self._member.host.feed(view)

    def check_lease(self) -> None:
        """Tell the core at once that its lease is over.

        A process that was stopped for a moment would find it in its next step, and what it had to
        do before that with the right of a leader.
        """
        if self._view is not None and self._view.leads and not self._engine.has_lease:
            self._look()

    def _trouble(self, now: Status) -> str:
        """Return what keeps us from a majority, in words for an operator; empty if we have one."""
        if now.role is Role.HALTED:
            return "its Raft journal cannot be written, and is tried again"
        if now.is_disk_late:
            return "its Raft journal is being written, and its disk does not answer"
        return "" if now.has_majority else self._member.why_alone()

    def _tell(self, before: Status, now: Status, *, first: bool) -> None:
        come, gone = {*now.members} - {*before.members}, {*before.members} - {*now.members}
        for run_id in sorted(gone):
            self._notice("-raft-member", self._described(run_id))
        if first or come or gone:
            self._member.members_changed()
        for run_id in sorted(come):
            self._notice("+raft-member", self._described(run_id))
        if now.leader is None and before.leader is not None:
            self._notice("-raft-leader", self._described(before.leader))
        elif now.leader is not None and (first or _lead(before) != _lead(now)):
            self._notice("+raft-leader", f"{self._described(now.leader)} term {now.term}")
        if before.has_majority != now.has_majority:
            sign = "+" if now.has_majority else "-"
            self._notice(f"{sign}raft-majority", f"term {now.term}")

    def give_lead(self, run_id: str | None) -> None:
        """Let that member lead, or any other, because we would leave a failover undone."""
        if self._loop.time() >= self._yielded_at + YIELD_EVERY_S:
            self._yielded_at = self._loop.time()
            self._engine.transfer(run_id, lambda _outcome, _result: None)
            self._soon()

    def _described(self, run_id: str) -> str:
        """A member as notices name it: ``<id> <ip> <port>``."""
        address = self._member.address_of(run_id)
        host, port = addresses.split(address) if address else ("?", 0)
        return f"{run_id} {host} {port}"

    def _notice(self, name: str, text: str) -> None:
        self._member.host.notice(Notice(Level.WARNING, name, text))


def _settle(future: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not future.done():
        future.set_result(outcome)


def _lead(status: Status) -> tuple[str | None, int]:
    return status.leader, status.term


_CHANGE_TEXTS = {
    Outcome.DONE: "",
    Outcome.REFUSED: "the change was refused, try again",
    Outcome.UNKNOWN: "it was not confirmed in time, and may still come: see SENTINEL RAFT MEMBERS",
}
