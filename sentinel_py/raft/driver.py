"""The engine at work: driven by the loop, with the core behind it and the streams before it.

What is committed goes to the core as inputs; how the cluster stands goes there, to operators and to
clients. The rules guarded: the engine steps when something came for it and when it asks to be
woken, never inside its own calls; whatever was asked of it ends.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

from sentinel_py.raft.engine import Engine, Outcome, Status

from sentinel_py.core import ledger, snapshot
from sentinel_py.core.messages import (
    Committed,
    Installed,
    Level,
    Notice,
    ProposalEnded,
    Propose,
    RaftView,
)
from sentinel_py.raft import addresses
from sentinel_py.raft.disk import Disk
from sentinel_py.raft.membership import Change

if TYPE_CHECKING:
    from sentinel_py.raft.member import Member

HAND_OVER_WITHIN_S = 1.0
"""What a shutdown waits for another leader; an election without one takes half of that."""

LONELY_AFTER_S = 3.0
"""Without a leader for so long: several elections have failed, or we were removed."""


class Driver:
    """One engine; also the state machine that it applies entries to."""

    def __init__(self, member: Member, disk: Disk, rng: Random) -> None:
        self._member = member
        self._loop = asyncio.get_running_loop()
        self._engine = Engine(disk, self, member.peers.send, rng)
        self._timer: asyncio.TimerHandle | None = None
        self._is_due = False
        self._is_closed = False
        self._leader_lost_at = self._loop.time()
        self._snapshot_at = self._loop.time()
        self._view: RaftView | None = None
        self._links: set[str] = set()
        self.status: Status = self._engine.status()

    def start(self) -> None:
        """Load what is on disk into the core, and go on from there."""
        self._drive()

    def close(self) -> None:
        self._is_closed = True
        if self._timer:
            self._timer.cancel()

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
        self._engine.step()
        self._timer = self._loop.call_later(self._engine.next_tick_ms / 1000, self._drive)
        self._look()

    # Links

    def receive(self, run_id: str, message: bytes) -> None:
        self._engine.receive(run_id, message)
        self._soon()

    def connected(self, run_id: str) -> None:
        self._links.add(run_id)
        self._engine.connected(run_id)
        self._soon()

    def disconnected(self, run_id: str) -> None:
        self._links.discard(run_id)
        self._engine.disconnected(run_id)
        self._soon()

    def is_connected(self, run_id: str) -> bool:
        return run_id in self._links

    # What is asked of it

    def propose(self, effect: Propose) -> None:
        def done(outcome: Outcome, _result: object) -> None:
            if outcome is not Outcome.DONE:
                ended = ProposalEnded(effect.entry_id, certain=outcome is Outcome.REFUSED)
                self._loop.call_soon(self._member.host.feed, ended)

        self._engine.propose(ledger.encode(effect.entry_id, effect.entry), done)
        self._soon()

    async def change(self, change: Change) -> str:
        """Change the members; empty when it is done, or why it is not."""
        outcome = self._loop.create_future()
        self._engine.change(change, lambda *result: _settle(outcome, result[0]))
        self._soon()
        return _CHANGE_TEXTS[await outcome]

    async def transfer(self, run_id: str | None = None) -> str:
        """Have another one lead; empty when it does, or why it does not."""
        outcome = self._loop.create_future()
        self._engine.transfer(run_id, lambda *result: _settle(outcome, result[0]))
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
            await self.transfer()

    @property
    def snapshot_age_ms(self) -> int:
        """Since the last snapshot, or since the start if there was none."""
        return int((self._loop.time() - self._snapshot_at) * 1000)

    @property
    def is_lonely(self) -> bool:
        """Whether no leader has been heard of for too long."""
        lost = self.status.leader is None
        return lost and self._loop.time() > self._leader_lost_at + LONELY_AFTER_S

    # StateMachine

    def apply(self, index: int, command: bytes) -> None:
        entry = ledger.decode(command)
        if entry:
            self._member.host.feed(Committed(index, *entry))

    def snapshot(self) -> bytes:
        return snapshot.dump(self._member.state)

    def restore(self, index: int, data: bytes) -> None:
        self._member.host.feed(Installed(index, data))

    # How it stands

    def _look(self) -> None:
        before, self.status = self.status, self._engine.status()
        now = self.status
        if now.leader is None and before.leader is not None:
            self._leader_lost_at = self._loop.time()
        if now.snapshot_index != before.snapshot_index:
            self._snapshot_at = self._loop.time()
        view = RaftView(tuple(now.members), now.leader, now.has_lease, now.has_majority, now.term)
        if view == self._view:
            return
        first, self._view = self._view is None, view
        self._tell(before, now, first=first)
        self._member.host.feed(view)

    def _tell(self, before: Status, now: Status, *, first: bool) -> None:
        if first or set(before.members) != set(now.members):
            self._member.members_changed()
        if not first:
            for run_id in sorted({*now.members} - {*before.members}):
                self._notice("+raft-member", self._described(run_id))
            for run_id in sorted({*before.members} - {*now.members}):
                self._notice("-raft-member", self._described(run_id))
        if before.leader != now.leader or (now.leader and before.term != now.term):
            if now.leader is None:
                self._notice("-raft-leader", self._described(before.leader or ""))
            else:
                self._notice("+raft-leader", f"{self._described(now.leader)} term {now.term}")
        if before.has_majority != now.has_majority:
            self._notice(
                "+raft-majority" if now.has_majority else "-raft-majority", f"term {now.term}"
            )

    def _described(self, run_id: str) -> str:
        """An id as notices name it: ``<id> <ip> <port>``."""
        address = self._member.addresses.get(run_id)
        host, port = addresses.split(address) if address else ("?", 0)
        return f"{run_id} {host} {port}"

    def _notice(self, name: str, text: str) -> None:
        self._member.host.notice(Notice(Level.WARNING, name, text))


_CHANGE_TEXTS = {
    Outcome.DONE: "",
    Outcome.REFUSED: "the change was refused, try again",
    Outcome.UNKNOWN: "it was not confirmed in time, and may still come: see SENTINEL RAFT MEMBERS",
}


def _settle(future: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not future.done():
        future.set_result(outcome)
