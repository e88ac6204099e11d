"""What operators change: who is a member, who leads, and a classic group that becomes a cluster.

Each order ends within a bound, with one line that says why where it was not carried out. The rule
guarded: one change at a time, only by the leader, and none that would leave the cluster without a
majority that answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from sentinel_py.core.model import LinkState, State
from sentinel_py.raft import addresses
from sentinel_py.raft.handshake import is_secret
from sentinel_py.raft.identity import Phase
from sentinel_py.raft.membership import Add, Remove
from sentinel_py.raft.questions import (
    MEMBERS_MAX,
    Adopt,
    AskStanding,
    Forwarded,
    No,
    Removed,
    Standing,
    Yes,
)

if TYPE_CHECKING:
    from sentinel_py.raft.member import Member

REACHED_WITHIN_S = 3.0
"""Name look-up, connection and proof; a sentinel that is up is reached in milliseconds."""

DONE_WITHIN_S = 25.0
"""A forwarded order; longer than all of its steps may take together."""

LOOK_EVERY_S = 0.02

_FORM_IS_OPEN = (
    "FORM needs a secret by which the sentinels prove themselves to each other: say "
    "'sentinel raft-secret <text>' in the file of each, the same text, and restart them one by one"
)
_NO_LEADER = "the Raft cluster has no leader at the moment, try again"


class Changes:
    """The orders of `SENTINEL RAFT` that change something; each gives the reason of a refusal."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._is_busy = False
        self.joining: tuple[str, ...] = ()  # who is being added

    async def carry_out(self, words: tuple[str, ...], *, is_forwarded: bool = False) -> str:
        """Obey here, or have the leader obey; empty when it is done."""
        member = self._member
        if member.driver is None:
            return "this sentinel is not a member of a Raft cluster"
        status = member.driver.status
        if status.leader == member.run_id:
            return await self._alone(words)
        if is_forwarded or status.leader is None:
            return _NO_LEADER
        return await self._forward(status.leader, words)

    async def _forward(self, leader: str, words: tuple[str, ...]) -> str:
        answer = await self._member.peers.ask(leader, Forwarded(words), DONE_WITHIN_S)
        return answer.reason if isinstance(answer, No) else ""

    async def _alone(self, words: tuple[str, ...]) -> str:
        order = _ORDERS.get((words[0], len(words) - 1)) if words else None
        if order is None:
            return "unknown order"
        if self._is_busy:
            return "another change of members is under way, try again"
        self._is_busy = True
        try:
            return await order(self, *words[1:])
        finally:
            self._is_busy = False

    # On the leader

    async def _add(self, address: str) -> str:
        member = self._member
        assert member.driver
        if address in member.addresses.values():
            return f"{address} is a member already"
        if not member.secret() and not addresses.is_loopback(address):
            return f"{address} is another host: members need a raft-secret before it can be added"
        if len(member.addresses) >= MEMBERS_MAX:
            return f"a Raft cluster has at most {MEMBERS_MAX} members"
        member.visit(address)
        try:
            return await self._add_visited(address)
        finally:
            self.joining = ()
            member.depart(address)

    async def _add_visited(self, address: str) -> str:
        member = self._member
        assert member.driver
        await _until(lambda: member.peers.is_decided(address))
        found = member.found_at(address)
        if found is None:
            return f"{address} is not reached: {member.peers.trouble_at(address)}"
        if found in member.addresses:
            return f"{address} is the member {found} already"
        assert member.identity
        founders = member.identity.founders
        question = Adopt(member.cluster, founders, member.addresses, address)
        answer = await member.peers.ask(found, question)
        if not isinstance(answer, Yes):
            return f"{address} refused: {answer.reason if isinstance(answer, No) else 'no answer'}"
        run_id = answer.text
        await _until(lambda: member.driver is None or member.driver.is_connected(run_id))
        self.joining = (run_id,)
        if reason := await member.driver.change(Add(run_id)):
            # If it is no member then, it learns so when it asks why it hears of no leader.
            return f"{address} was not added: {reason}"
        member.learn_address(run_id, address)
        return ""

    async def _remove(self, who: str) -> str:
        member = self._member
        assert member.driver
        run_id = self._member_called(who)
        if run_id is None:
            return f"{who} is not a member"
        if run_id == member.run_id:
            return await self._remove_ourselves()
        if reason := self._majority_trouble(run_id):
            return reason
        address = member.addresses[run_id]
        member.visit(address)
        try:
            if reason := await member.driver.change(Remove(run_id)):
                return f"{who} was not removed: {reason}"
            # If it is away now, it will ask why it hears of no leader.
            await member.peers.ask(run_id, Removed(member.cluster))
        finally:
            member.depart(address)
        return ""

    async def _remove_ourselves(self) -> str:
        """A leader cannot remove itself: another one has to lead first."""
        member = self._member
        driver = member.driver
        assert driver
        if len(member.addresses) == 1:
            return "the last member cannot be removed"
        if reason := await self._transfer():
            return reason
        leader = driver.status.leader
        reason = await self._forward(leader, ("remove", member.run_id)) if leader else _NO_LEADER
        # With our removal, by whomever, our streams end, maybe before the answer has come.
        return "" if member.phase is Phase.REMOVED else reason

    def _majority_trouble(self, removed: str) -> str:
        assert self._member.driver
        status = self._member.driver.status
        rest = [run_id for run_id in status.members if run_id != removed]
        present = [it for it in rest if it == self._member.run_id or self._member.is_up(it)]
        if len(present) > len(rest) // 2:
            return ""
        return (
            f"of the {len(rest)} members that would be left, {len(present)} answer: "
            "that is no majority"
        )

    async def _transfer(self, who: str = "") -> str:
        member = self._member
        assert member.driver
        run_id = self._member_called(who) if who else None
        if who and run_id is None:
            return f"{who} is not a member"
        if run_id == member.run_id:
            return ""
        return await member.driver.transfer(run_id)

    def _member_called(self, who: str) -> str | None:
        """The member with this id or at this address."""
        for run_id, address in self._member.addresses.items():
            if who in (run_id, address):
                return run_id
        return None

    # Out of a classic group

    async def form(self) -> str:
        """Make a Raft cluster of ourselves and all sentinels that we know; empty when it is one."""
        member = self._member
        if member.phase is not Phase.CLASSIC:
            return f"this sentinel is in Raft mode already ({member.phase})"
        if not is_secret(member.secret()):
            return _FORM_IS_OPEN
        members = _discovered(member.state)
        if len(members) < 2:
            return "no other sentinel is known yet"
        if len(members) > MEMBERS_MAX:
            return f"a Raft cluster has at most {MEMBERS_MAX} members"
        if member.leads_failover:
            return "a failover is under way"
        others = {run_id: at for run_id, at in members.items() if run_id != member.run_id}
        for address in others.values():
            member.visit(address)
        try:
            return await self._refusals(others) or await self._found(members)
        finally:
            for address in others.values():
                member.depart(address)

    async def _found(self, members: dict[str, str]) -> str:
        if self._member.run_id not in members:
            return "the own address is not known, set sentinel announce-ip"
        return await self._member.found(members)

    async def _refusals(self, others: dict[str, str]) -> str:
        """Why one of them cannot be a member, so that nobody need promise; empty if all can."""
        member = self._member
        await _until(lambda: all(map(member.peers.is_decided, others.values())))
        for run_id, address in others.items():
            found = member.found_at(address)
            if found is None:
                return f"{address} cannot be a member: {member.peers.trouble_at(address)}"
            if found != run_id:
                return f"{address} is {found}, and was known as {run_id}: SENTINEL RESET first"
            answer = await member.peers.ask(run_id, AskStanding())
            if not isinstance(answer, Standing):
                return f"{address} cannot be a member: no answer"
            if answer.phase != Phase.CLASSIC:
                return f"{address} is in Raft mode already ({answer.phase})"
        return ""


# By name and number of arguments; other members forward them.
_ORDERS: dict[tuple[str, int], Callable[..., Awaitable[str]]] = {
    ("add", 1): Changes._add,
    ("remove", 1): Changes._remove,
    ("transfer", 0): Changes._transfer,
    ("transfer", 1): Changes._transfer,
}


def _discovered(state: State) -> dict[str, str]:
    """Addresses by id of all sentinels of the group, ourselves included."""
    members = {
        peer.run_id: addresses.of(peer.address)
        for master in state.masters.values()
        for peer in master.peers.values()
    }
    settings = state.settings
    host = settings.announce_ip or next(
        (it.local_ip for it in state.links.values() if it.state is LinkState.UP and it.local_ip), ""
    )
    if host:
        members[state.myid] = addresses.join(host, settings.announce_port or settings.port)
    return members


async def _until(condition: Callable[[], object]) -> None:
    """Wait until the condition holds, but not for ever."""
    deadline = asyncio.get_running_loop().time() + REACHED_WITHIN_S
    while not condition() and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(LOOK_EVERY_S)
