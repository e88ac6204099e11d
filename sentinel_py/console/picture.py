"""What one sentinel says of all it watches, gathered in two rounds of questions.

Only what redis-sentinel answers, too, and SENTINEL RAFT where there is one. The rule guarded: what
a server does not say is None, never a guess.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from sentinel_py.console.wire import (
    Answer,
    Connection,
    ErrorText,
    Unreachable,
    address,
    info_fields,
    pairs,
    rows,
)

_LISTED = re.compile(r"ip=(?P<host>.*),port=(?P<port>\d+),.*\boffset=(?P<offset>\d+)")
_STATES = (
    ("foreign", "foreign"),
    ("o_down", "odown"),
    ("s_down", "sdown"),
    ("disconnected", "disconnected"),
)


@dataclass(frozen=True, slots=True)
class Replica:
    """A replica; ``lag_bytes`` is by the master's own count where that is known."""

    address: str
    state: str
    lag_bytes: int | None
    link: str
    priority: int
    silent_ms: int
    foreign: str = ""  # why it is none of the group's, if it is not


@dataclass(frozen=True, slots=True)
class Peer:
    """Another sentinel that watches the same master."""

    address: str
    id: str
    state: str
    silent_ms: int


@dataclass(frozen=True, slots=True)
class Master:
    """A master and everybody around it; ``phase`` is that of a failover led from here."""

    name: str
    address: str
    state: str
    phase: str | None
    quorum: int
    epoch: int
    silent_ms: int
    replica_count: int
    sentinel_count: int
    replicas: tuple[Replica, ...] = ()
    sentinels: tuple[Peer, ...] = ()


@dataclass(frozen=True, slots=True)
class Member:
    """A member of the Raft cluster; only the leader knows how far others are behind."""

    address: str
    id: str
    role: str
    link: str
    lag: int | None


@dataclass(frozen=True, slots=True)
class Raft:
    """The Raft cluster as this member sees it."""

    role: str
    leader: str
    term: int
    has_majority: bool
    applied: int
    members: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """One sentinel and what it watches."""

    sentinel: str
    id: str
    program: str
    uptime_s: int
    is_tilted: bool
    masters: tuple[Master, ...] = ()
    raft: Raft | None = field(default=None)


async def take(connection: Connection, details: int | None = None) -> Picture:
    """Ask for all of it; replicas and sentinels of so many masters at most, the troubled first."""
    info_text, myid, masters, status, members = await connection.ask_all(
        (
            ("INFO",),
            ("SENTINEL", "MYID"),
            ("SENTINEL", "MASTERS"),
            ("SENTINEL", "RAFT", "STATUS"),
            ("SENTINEL", "RAFT", "MEMBERS"),
        )
    )
    if isinstance(masters, ErrorText):
        raise Unreachable(f"{connection.place}: {masters}")
    info = info_fields(info_text)
    found = rows(masters)
    found.sort(key=lambda row: (row["flags"] == "master", row["name"]))
    return Picture(
        sentinel=str(connection.place),
        id=myid if isinstance(myid, str) else "",
        program=_program(info),
        uptime_s=_number(info, "uptime_in_seconds"),
        is_tilted=info.get("sentinel_tilt", "0") != "0",
        masters=await _masters(connection, found, details),
        raft=_raft(status, members),
    )


def _program(info: dict[str, str]) -> str:
    if version := info.get("sentinel_py_version"):
        return f"sentinel_py {version}"
    return f"redis-sentinel {info['redis_version']}" if "redis_version" in info else "?"


def _number(row: dict[str, str], name: str) -> int:
    text = row.get(name, "")
    return int(text) if text.lstrip("-").isdecimal() else 0


def state_of(flags: str) -> str:
    """The worst that the flags of a row say."""
    words = flags.split(",")
    return next((state for flag, state in _STATES if flag in words), "ok")


async def _masters(
    connection: Connection, found: Sequence[dict[str, str]], details: int | None
) -> tuple[Master, ...]:
    detailed = found[:details]
    answers = await connection.ask_all(
        [
            ("SENTINEL", word, row["name"])
            for row in detailed
            for word in ("REPLICAS", "SENTINELS", "INFO-CACHE")
        ]
    )
    made = [
        _master(row, *answers[3 * number : 3 * number + 3]) for number, row in enumerate(detailed)
    ]
    return (*made, *(_master(row) for row in found[len(detailed) :]))


def _master(
    row: dict[str, str], replicas: Answer = None, peers: Answer = None, cache: Answer = None
) -> Master:
    info = _cached_info(cache)
    return Master(
        name=row["name"],
        address=address(row["ip"], row["port"]),
        state=state_of(row["flags"]),
        phase=row.get("failover-state"),
        quorum=_number(row, "quorum"),
        epoch=_number(row, "config-epoch"),
        silent_ms=_number(row, "last-ok-ping-reply"),
        replica_count=_number(row, "num-slaves"),
        sentinel_count=1 + _number(row, "num-other-sentinels"),
        replicas=tuple(_replica(it, info) for it in sorted(rows(replicas), key=_place_of)),
        sentinels=tuple(_peer(it) for it in sorted(rows(peers), key=_place_of)),
    )


def _place_of(row: dict[str, str]) -> tuple[str, int]:
    return row["ip"], int(row["port"])


def _cached_info(cache: Answer) -> dict[str, str]:
    """The master's INFO out of ``[name, [[age, text], ...]]``, which begins with the master's."""
    match cache:
        case [str(), [[int(), str(text)], *_], *_]:
            return info_fields(text)
        case _:
            return {}


def _replica(row: dict[str, str], info: dict[str, str]) -> Replica:
    return Replica(
        address=address(row["ip"], row["port"]),
        state=state_of(row["flags"]),
        lag_bytes=lag_of(row, info),
        link=row.get("master-link-status", "?"),
        priority=_number(row, "slave-priority"),
        silent_ms=_number(row, "last-ok-ping-reply"),
        foreign=row.get("foreign", ""),
    )


def lag_of(row: dict[str, str], info: dict[str, str]) -> int | None:
    """How far it is behind, by one INFO of the master; else by what both last said of themselves.

    The latter are of different instants, and the replica's may be the later one.
    """
    if "master_repl_offset" not in info:
        return None
    head = int(info["master_repl_offset"])
    for name, text in info.items():
        found = _LISTED.search(text) if re.fullmatch(r"slave\d+", name) else None
        if found and (found["host"], found["port"]) == (row["ip"], row["port"]):
            return max(0, head - int(found["offset"]))
    return max(0, head - _number(row, "slave-repl-offset"))


def _peer(row: dict[str, str]) -> Peer:
    return Peer(
        address=address(row["ip"], row["port"]),
        id=row["runid"],
        state=state_of(row["flags"]),
        silent_ms=_number(row, "last-ok-ping-reply"),
    )


def _raft(status: Answer, members: Answer) -> Raft | None:
    row = pairs(status)
    if row.get("raft_enabled") != "1":
        return None
    return Raft(
        role=row.get("role", "?"),
        leader=row.get("leader_address", ""),
        term=_number(row, "term"),
        has_majority=row.get("has_majority") == "1",
        applied=_number(row, "applied_index"),
        members=tuple(map(_member, rows(members))),
    )


def _member(row: dict[str, str]) -> Member:
    lag = int(row["lag"]) if row["lag"] else None
    return Member(row["addr"], row["id"], row["role"], row["link"], lag)
