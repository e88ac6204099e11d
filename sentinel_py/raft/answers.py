"""What this sentinel answers to the questions of others about clusters and its place in them.

The rule guarded: whoever is a member, or has promised to be one, is in no other cluster; a Yes is
on disk before it leaves.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sentinel_py.raft import formation
from sentinel_py.raft.identity import Identity, Phase
from sentinel_py.raft.questions import (
    Adopt,
    Answer,
    AskStanding,
    CallOff,
    Commit,
    Forwarded,
    No,
    Prepare,
    Question,
    Removed,
    Standing,
    Yes,
)

if TYPE_CHECKING:
    from sentinel_py.raft.member import Member

_DISK = No("its disk does not take it")
_FAILOVER = No("it leads a failover just now")


class Answers:
    """One method per question."""

    def __init__(self, member: Member) -> None:
        self._member = member

    def asked(self, run_id: str, question: Question) -> Answer | asyncio.Future[Answer]:
        match question:
            case AskStanding():
                return self.standing()
            case Prepare():
                return self._prepare(run_id, question)
            case Commit(cluster):
                return self._commit(cluster)
            case CallOff(cluster):
                return self._call_off(cluster)
            case Adopt():
                return self._adopt(run_id, question)
            case Removed(cluster):
                return self._removed(run_id, cluster)
            case Forwarded(words):
                return self._forwarded(run_id, words)

    def standing(self) -> Standing:
        member = self._member
        is_member = member.phase is Phase.MEMBER
        return Standing(
            run_id=member.run_id,
            cluster=member.identity.cluster if member.identity else "",
            phase=member.phase,
            listed=member.found_ids,
            knows=member.known_peers,
            founders=member.identity.founders if member.identity else (),
            members=member.addresses if is_member else {},
            joining=member.changes.joining,
            leader=member.leader or "",
        )

    def _prepare(self, run_id: str, question: Prepare) -> Answer:
        member = self._member
        if member.phase in (Phase.MEMBER, Phase.REMOVED) and member.identity:
            return No(f"it belongs to Raft cluster {member.identity.cluster}")
        if member.is_founding:
            return No("it is forming a cluster itself")
        if member.leads_failover:
            return _FAILOVER
        reason = formation.refusal(
            question,
            own_id=member.run_id,
            asker=run_id,
            is_listed=bool(member.listed),
            listed=member.found_ids,
            knows=member.known_peers,
        )
        if reason:
            return No(reason)
        identity = Identity(
            phase=Phase.PREPARED,
            run_id=member.run_id,
            cluster=question.cluster,
            founder=run_id,
            founders=tuple(sorted(question.members)),
            addresses=question.members,
            by_order=question.by_order,
        )
        return Yes() if member.promise(identity) else _DISK

    def _commit(self, cluster: str) -> Answer:
        member, identity = self._member, self._member.identity
        if identity is None or identity.cluster != cluster:
            return No("it has made no such promise")
        if member.phase is Phase.PREPARED:
            if not member.become(identity.at(Phase.MEMBER)):
                return _DISK
            member.begin_anew()
        return Yes()

    def _call_off(self, cluster: str) -> Answer:
        member = self._member
        if member.identity and member.identity.cluster == cluster:
            member.forget_promise()
        return Yes()

    def _adopt(self, run_id: str, question: Adopt) -> Answer:
        """Join a running cluster, as its leader says; always without a past of ours."""
        member, identity = self._member, self._member.identity
        if member.phase is Phase.MEMBER:
            same = question.cluster == member.cluster
            return Yes(member.run_id) if same else No(f"it is in Raft cluster {member.cluster}")
        if run_id not in question.members:
            return No("who adds it is no member of that Raft cluster")
        if member.is_founding or self._is_promised_elsewhere(question.cluster):
            return No("it is about to be in another Raft cluster")
        if member.leads_failover:
            return _FAILOVER
        if member.phase is Phase.REMOVED:
            member.forget_past(question.cluster)
        identity = Identity(
            phase=Phase.MEMBER,
            run_id=member.run_id,
            cluster=question.cluster,
            founder="",
            founders=question.founders,
            addresses={**question.members, member.run_id: question.address},
        )
        if not member.become(identity):
            return _DISK
        member.begin_anew()
        return Yes(member.run_id)

    def _is_promised_elsewhere(self, cluster: str) -> bool:
        """Whether it is to be in another cluster, which an operator may still bring about.

        Whoever was to found that one on order and is gone cannot: who adds us has another plan.
        """
        member, identity = self._member, self._member.identity
        if identity is None or member.phase is not Phase.PREPARED or identity.cluster == cluster:
            return False
        return not identity.by_order or member.peers.is_connected(identity.founder)

    def _removed(self, run_id: str, cluster: str) -> Answer:
        """Take it for a hint: whether it is so, the members say whom we dial ourselves."""
        member = self._member
        if cluster == member.cluster and run_id in member.addresses:
            member.ask_for_removal()
        return Yes()

    def _forwarded(self, run_id: str, words: tuple[str, ...]) -> Answer | asyncio.Future[Answer]:
        if run_id not in self._member.addresses:
            return No("orders are taken from members only")
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        async def carry_out() -> None:
            reason = await self._member.changes.carry_out(words, is_forwarded=True)
            if not answer.done():
                answer.set_result(No(reason) if reason else Yes())

        self._member.spawn(carry_out())
        return answer
