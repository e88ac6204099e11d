"""The way into a cluster: asking those that ``raft-peers`` names until there is one with us in it.

What follows from their answers is decided in `formation`. The rule guarded: a cluster comes to be
in two rounds, and its founder's own file is the point of no return. Before it, everybody has
promised, on disk, and nobody acts; behind it, whoever has promised and finds a member takes its
place, however often anybody was killed in between.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sentinel_py.core.messages import Level
from sentinel_py.raft import formation
from sentinel_py.raft.formation import ChangeId, Found, Join, Place, Wait
from sentinel_py.raft.identity import Identity, Phase
from sentinel_py.raft.questions import (
    AskStanding,
    CallOff,
    Commit,
    No,
    Prepare,
    Question,
    Standing,
    Yes,
)

if TYPE_CHECKING:
    from sentinel_py.raft.member import Member

ROUND_EVERY_S = 0.2
"""Listed sentinels are usually started together, and wait for each other no longer than this."""


class Seeker:
    """Looks for the cluster while this sentinel is in none; also founds it."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self.said = ""
        self.found_ids: tuple[str, ...] = ()  # the ids behind raft-peers, once all are known
        self.is_founding = False

    async def run(self) -> None:
        """Until there is nothing to look for any more."""
        member = self._member
        while member.phase in (Phase.SEEKING, Phase.PREPARED):
            if not self.is_founding:
                await self._round()
            await asyncio.sleep(ROUND_EVERY_S)

    async def _round(self) -> None:
        member = self._member
        promised = member.identity
        by_order = promised is not None and promised.by_order
        asked = list(promised.addresses.values()) if promised and by_order else member.listed
        places = await asyncio.gather(*map(self._place, asked))
        if member.phase not in (Phase.SEEKING, Phase.PREPARED) or self.is_founding:
            return
        if promised and by_order:
            self._keep_promise(promised, places)
            return
        found = [place.run_id for place in places if place.run_id is not None]
        self.found_ids = tuple(sorted(found)) if len(found) == len(places) else ()
        await self._act(formation.decide(member.run_id, member.phase, places))

    async def _place(self, address: str) -> Place:
        member = self._member
        run_id = member.found_at(address)
        if run_id is None or run_id == member.run_id:
            return Place(address, run_id, None, member.peers.trouble_at(address))
        answer = await member.peers.ask(run_id, AskStanding())
        return Place(address, run_id, answer if isinstance(answer, Standing) else None)

    async def _act(self, decision: formation.Decision) -> None:
        match decision:
            case Wait(text):
                self._say(Level.NOTICE, text)
            case Join(by):
                self._member.take_place(by)
            case ChangeId(text):
                self._say(Level.WARNING, text)
                self._member.change_id()
            case Found(members):
                if reason := await self.found(members, by_order=False):
                    self._say(Level.WARNING, f"the Raft cluster was not formed: {reason}")

    def _keep_promise(self, promised: Identity, places: Iterable[Place]) -> None:
        """Settle what an operator has begun elsewhere: the cluster exists, or it never will."""
        if promised.founder == self._member.run_id:
            # We were ended in between, and did not come to the point of no return.
            self._member.forget_promise()
            return
        standings = {it.run_id: it.standing for it in places if it.standing}
        for standing in standings.values():
            if standing.phase == Phase.MEMBER and standing.cluster == promised.cluster:
                self._member.take_place(standing)
                return
        founder = standings.get(promised.founder)
        if founder and (founder.phase, founder.cluster) != (Phase.PREPARED, promised.cluster):
            self._member.forget_promise()

    def _say(self, level: Level, text: str) -> None:
        """Tell the log, once, what is the matter."""
        if text != self.said:
            self.said = text
            self._member.log(level, f"Raft: {text}")

    # Founding

    async def found(self, members: dict[str, str], *, by_order: bool) -> str:
        """Form a cluster of these; empty if it exists now, or why it does not."""
        if self.is_founding:
            return "this sentinel is forming a cluster already"
        self.is_founding = True
        try:
            return await self._found(members, by_order=by_order)
        finally:
            self.is_founding = False

    async def _found(self, members: dict[str, str], *, by_order: bool) -> str:
        member = self._member
        cluster = secrets.token_hex(20)
        identity = Identity(
            phase=Phase.PREPARED,
            run_id=member.run_id,
            cluster=cluster,
            founder=member.run_id,
            founders=tuple(sorted(members)),
            addresses=members,
            by_order=by_order,
        )
        if not member.promise(identity):
            return "its own disk does not take it"
        others = [run_id for run_id in members if run_id != member.run_id]
        answers = await self._ask_all(others, Prepare(cluster, members, by_order))
        refusals = [
            f"{members[run_id]}: {answer.reason if isinstance(answer, No) else 'no answer'}"
            for run_id, answer in zip(others, answers, strict=True)
            if not isinstance(answer, Yes)
        ]
        if not refusals and not member.become(identity.at(Phase.MEMBER)):
            refusals = ["its own disk does not take it"]
        if refusals:
            await self._ask_all(others, CallOff(cluster))
            member.forget_promise()
            return ", ".join(refusals)
        # Whoever does not hear this asks by itself, and finds a member.
        await self._ask_all(others, Commit(cluster))
        member.begin_anew()
        return ""

    async def _ask_all(self, run_ids: list[str], question: Question) -> list[object]:
        asked = (self._member.peers.ask(run_id, question) for run_id in run_ids)
        return list(await asyncio.gather(*asked))
