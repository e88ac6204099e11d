"""How the Raft cluster stands, as rows for SENTINEL RAFT and INFO. Reads, and changes nothing.

Names of fields are part of the interface: new ones come at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sentinel_py.raft.identity import Phase

if TYPE_CHECKING:
    from sentinel_py.raft.engine import Status
    from sentinel_py.raft.member import Member

Pairs = list[tuple[str, object]]


def status(member: Member) -> Pairs:
    """This sentinel's place; what a field says of nothing is empty or 0."""
    pairs: Pairs = [
        ("raft_enabled", int(member.phase is not Phase.CLASSIC)),
        ("role", _role(member)),
        ("cluster", member.identity.cluster if member.identity else ""),
        ("id", member.run_id),
        ("address", member.own_address),
        ("waiting_for", member.waiting_for),
    ]
    if member.driver is None:
        return pairs
    at = member.driver.status
    return [
        *pairs,
        ("leader", at.leader or ""),
        ("leader_address", member.addresses.get(at.leader or "", "")),
        ("term", at.term),
        ("has_majority", int(at.has_majority)),
        ("has_lease", int(at.has_lease)),
        ("commit_index", at.commit_index),
        ("applied_index", at.applied_index),
        ("last_index", at.last_index),
        ("snapshot_index", at.snapshot_index),
        ("snapshot_age_ms", member.driver.snapshot_age_ms),
        ("journal_bytes", at.journal_bytes),
        ("members", len(at.members)),
    ]


def info(member: Member) -> Pairs:
    """The section Raft of INFO; in classic mode there is none."""
    if member.phase is Phase.CLASSIC:
        return []
    pairs = [
        (name if name.startswith("raft_") else f"raft_{name}", it) for name, it in status(member)
    ]
    for number, row in enumerate(members(member)):
        text = ",".join(f"{name}={row[name]}" for name in ("id", "addr", "match", "lag", "link"))
        pairs.append((f"raft_member{number}", text))
    return pairs


def members(member: Member) -> list[dict[str, str]]:
    """A row for each member; only the leader knows how far others are."""
    if member.driver is None:
        return []
    at = member.driver.status
    return [_row(member, at, run_id) for run_id in sorted(at.members)]


def _row(member: Member, at: Status, run_id: str) -> dict[str, str]:
    match = at.match.get(run_id)
    return {
        "id": run_id,
        "addr": member.addresses.get(run_id, ""),
        "role": "leader" if run_id == at.leader else "follower",
        "match": "" if match is None else str(match),
        "lag": "" if match is None else str(at.last_index - match),
        "link": "up" if run_id == member.run_id or member.is_up(run_id) else "down",
    }


def _role(member: Member) -> str:
    if member.driver is None:
        return member.phase
    return member.driver.status.role.name.lower()
