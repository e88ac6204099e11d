"""How sentinels become a Raft cluster: what to do next, decided from what the listed ones say.

Pure rules; who asks and who writes is `member`. The rule guarded: never a second cluster by
accident. A cluster is founded only when everybody in it is there, has never been in one, and names
the same set; an id that a cluster knows is not taken up again without its journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sentinel_py.raft.identity import Phase
from sentinel_py.raft.questions import Prepare, Standing
from sentinel_py.values import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """One address of ``raft-peers``: who was found there, and what it says of itself."""

    address: str
    run_id: str | None
    standing: Standing | None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do yet; the text says what for."""

    text: str


@dataclass(frozen=True, slots=True)
class Join:
    """A cluster that counts on us exists: take our place in it."""

    by: Standing


@dataclass(frozen=True, slots=True)
class ChangeId:
    """A cluster knows our id, but we have lost what we promised it under that id."""

    text: str


@dataclass(frozen=True, slots=True)
class Found:
    """It is on us to found the cluster: addresses by id."""

    members: dict[str, str]


Decision = Wait | Join | ChangeId | Found


def decide(own_id: str, phase: Phase, places: Iterable[Place]) -> Decision:
    """What a sentinel that belongs to no cluster does next."""
    places = list(places)
    if decision := _existing(own_id, phase, places):
        return decision
    if missing := [it for it in places if it.run_id is None]:
        text = ", ".join(f"{it.address} ({it.trouble})" for it in missing)
        return Wait(f"waiting for {text}")
    members = {it.run_id: it.address for it in places if it.run_id is not None}
    if text := _list_trouble(own_id, places, members):
        return Wait(text)
    if text := _others_trouble(own_id, places, members):
        return Wait(text)
    first = min(members)
    if own_id != first:
        return Wait(f"waiting for {members[first]} to found the cluster")
    return Found(members)


def _existing(own_id: str, phase: Phase, places: Iterable[Place]) -> Decision | None:
    standings = [it.standing for it in places if it.standing and it.standing.cluster]
    clusters = {it.cluster: it for it in standings if it.phase == Phase.MEMBER}
    if len(clusters) > 1:
        names = " and ".join(sorted(clusters))
        return Wait(f"raft-peers names members of different Raft clusters: {names}")
    for cluster, standing in clusters.items():
        if own_id not in standing.members:
            return Wait(
                f"waiting to be added to Raft cluster {cluster}: "
                "SENTINEL RAFT ADD on one of its members"
            )
        if phase is Phase.PREPARED:
            return Join(standing)
        return ChangeId(
            f"Raft cluster {cluster} has a member with our id {own_id}, but its journal is not "
            f"here: taking a new id. Remove the old one with SENTINEL RAFT REMOVE {own_id}"
        )
    return None


def _list_trouble(own_id: str, places: list[Place], members: Mapping[str, str]) -> str:
    for place in places:
        assert place.run_id is not None
        if members[place.run_id] != place.address:
            return (
                f"raft-peers names one sentinel twice: {place.address} and {members[place.run_id]}"
            )
    if own_id not in members:
        return "raft-peers does not name this sentinel"
    return ""


def _others_trouble(own_id: str, places: list[Place], members: Mapping[str, str]) -> str:
    for place in places:
        standing = place.standing
        if place.run_id == own_id:
            continue
        if standing is None:
            return f"waiting for an answer of {place.address}"
        if standing.phase == Phase.CLASSIC:
            return f"{place.address} has no raft-peers"
        if standing.phase == Phase.REMOVED:
            return f"{place.address} was removed from Raft cluster {standing.cluster}"
        if not standing.listed:
            return f"waiting until {place.address} has found all of its raft-peers"
        if set(standing.listed) != set(members):
            return f"{place.address} has another set of raft-peers"
    return ""


def refusal(
    question: Prepare,
    *,
    own_id: str,
    asker: str,
    is_listed: bool,
    listed: Iterable[str],
    knows: Iterable[str],
) -> str:
    """Why a sentinel that is in no cluster would not be in this one; empty if it would."""
    members = set(question.members)
    if own_id not in members or asker not in members:
        return "the set is without one of us"
    if not question.by_order:
        if set(listed) != members:
            return "it has another set of raft-peers"
        return "" if asker == min(members) else "another one founds the cluster"
    if is_listed:
        return "it has raft-peers of its own"
    if strangers := sorted(set(knows) - members):
        return f"it knows {strangers[0]}, which is not in the set"
    return ""


def advice(count: int) -> str:
    """What a cluster of that many members cannot survive; empty if there is nothing to say."""
    survives = (count - 1) // 2
    if count == 1:
        return "A Raft cluster of one member does not survive its loss."
    if count % 2 == 0:
        return (
            f"A Raft cluster of {count} members survives the loss of {survives}, "
            f"as one of {count - 1} does: use an odd number."
        )
    return ""
