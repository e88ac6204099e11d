"""What ``doctor`` asks a running sentinel and the other sentinels that it knows."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from sentinel_py.console.findings import Finding, Watched, error, group_findings, warning
from sentinel_py.console.wire import (
    Connection,
    Denied,
    ErrorText,
    Login,
    Place,
    Unreachable,
    address,
    info_fields,
    pairs,
    rows,
)

Row = dict[str, str]

SPARE_FILES = 1_000
"""Descriptors to be left for clients, beside the connections that a sentinel keeps open itself."""

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_FULL = 0.8  # of maxclients
_THERE = "start it there, or see sentinel announce-ip and announce-port, bind, firewalls"


async def examine(place: Place, node_login: Login) -> tuple[list[Watched], list[Finding]]:
    """What a sentinel watches, and what is wrong with it and with its group."""
    async with Connection(place) as connection:
        info_text, masters = await connection.ask_all((("INFO",), ("SENTINEL", "MASTERS")))
        if isinstance(masters, ErrorText):
            raise Unreachable(f"{place}: {masters}")
        info = info_fields(info_text)
        found = [*_process(place, info, rows(masters)), *await _raft(connection)]
        watched = []
        for row in rows(masters):
            its, findings = await _master(connection, row, node_login)
            watched.append(its)
            found += findings
    if not watched:
        found.append(error("it watches nothing", place, "SENTINEL MONITOR"))
    return watched, found


async def _master(
    connection: Connection, row: Row, node_login: Login
) -> tuple[Watched, list[Finding]]:
    name = row["name"]
    quorum, replicas, peers, explained = await connection.ask_all(
        [("SENTINEL", word, name) for word in ("CKQUORUM", "REPLICAS", "SENTINELS", "EXPLAIN")]
    )
    watched = Watched(
        name=name,
        master=_place(row, node_login),
        replicas=tuple(_place(it, node_login) for it in rows(replicas)),
        sentinels=1 + len(rows(peers)),
        quorum=int(row["quorum"]),
    )
    found = group_findings(watched)
    if isinstance(quorum, ErrorText):
        way_out = "start the sentinels that are down, or SENTINEL RESET those that are gone"
        found.append(error(str(quorum), f"{name} at {connection.place}", way_out))
    found += _refused(f"{name} at {connection.place}", rows(explained))
    for replica in rows(replicas):
        if reason := replica.get("foreign"):
            text = f"a foreign instance at the address of a replica of {name}: it {reason}"
            where = f"{replica['ip']} {replica['port']}"
            way_out = (
                f"take it away; or, if its data may be overwritten, SENTINEL ADMIT {name} {where}"
            )
            found.append(error(text, address(replica["ip"], replica["port"]), way_out))
    checks = (_peer(connection.place, row, peer) for peer in rows(peers))
    return watched, [*found, *(it for some in await asyncio.gather(*checks) for it in some)]


def _refused(where: str, explained: Sequence[Row]) -> Iterator[Finding]:
    """What the sentinel was refused by the servers, as it says itself."""
    for row in explained:
        if row.get("condition") == "refused":
            tell = warning if row["met"] == "yes" else error
            yield tell(row["value"], where, row["meaning"])


def _place(row: Row, login: Login) -> Place:
    return Place(row["ip"], int(row["port"]), login)


# The others ---------------------------------------------------------------------------------------


async def _peer(ours: Place, row: Row, peer: Row) -> list[Finding]:
    """Whether a sentinel is where it says it is, and watches the same."""
    place, name = ours.beside(peer["ip"], int(peer["port"])), row["name"]
    try:
        async with Connection(place) as connection:
            myid, theirs = await connection.ask_all(
                (("SENTINEL", "MYID"), ("SENTINEL", "MASTER", name))
            )
    except Denied as refused:
        return [warning(str(refused), place, "doctor can look into it with its password alone")]
    except Unreachable as silent:
        return [error(f"a sentinel of {name}: {silent}", place, _THERE)]
    if isinstance(myid, str) and myid != peer["runid"]:
        text = f"another sentinel answers here ({myid[:8]}), not {peer['runid'][:8]}"
        return [error(text, place, "sentinel announce-ip and announce-port; then SENTINEL RESET")]
    if isinstance(theirs, ErrorText):
        return [error(f"it does not watch {name}: {theirs}", place, "SENTINEL MONITOR there")]
    return list(_differences(ours, row, place, pairs(theirs)))


def _differences(ours: Place, row: Row, place: Place, theirs: Row) -> Iterator[Finding]:
    name = row["name"]
    here, there = address(row["ip"], row["port"]), address(theirs["ip"], theirs["port"])
    if here != there:
        text = f"{name} is {there} here, and {here} at {ours}"
        yield error(text, place, "a failover is under way, or hello does not come through Redis")
    for option in ("quorum", "down-after-milliseconds", "failover-timeout"):
        if row.get(option) != theirs.get(option):
            text = f"{option} of {name} is {theirs.get(option)} here, {row.get(option)} at {ours}"
            yield warning(text, place, f"SENTINEL SET {name} {option} …")


# Itself -------------------------------------------------------------------------------------------


async def _raft(connection: Connection) -> list[Finding]:
    status, members = await connection.ask_all(
        (("SENTINEL", "RAFT", "STATUS"), ("SENTINEL", "RAFT", "MEMBERS"))
    )
    row = pairs(status)
    if row.get("raft_enabled") != "1":
        return []
    where, found = connection.place, []
    if row.get("has_majority") != "1":
        text = "it has no majority of its Raft cluster"
        found.append(error(text, where, "start the members that are down: SENTINEL RAFT MEMBERS"))
    for member in rows(members):
        if member["link"] != "up":
            text = f"the Raft member {member['addr']} cannot be reached"
            found.append(warning(text, where, "start it, or SENTINEL RAFT REMOVE it"))
    return found


def _process(place: Place, info: Row, masters: Sequence[Row]) -> Iterator[Finding]:
    if trouble := info.get("sentinel_save_error"):
        since_s = info.get("sentinel_unsaved_since_seconds")
        text = f"it cannot save its config file, for {since_s} s: {trouble}"
        yield error(text, place, "give it room and rights there; or sentinel state-dir <directory>")
    if info.get("sentinel_tilt", "0") != "0":
        text = "it is in TILT and decides nothing: its clock jumped or it stood still"
        yield error(text, place, "find out what stopped it; TILT ends 30 s after the last time")
    clients, limit = int(info.get("connected_clients", 0)), int(info.get("maxclients", 0))
    if limit and clients > limit * _FULL:
        text = f"{clients} of at most {limit} clients are connected"
        yield warning(text, place, "maxclients; or find out who does not close connections")
    nodes = sum(1 + int(row["num-slaves"]) for row in masters)
    peers = max((int(row["num-other-sentinels"]) for row in masters), default=0)
    yield from files_findings(place, _files_of_process(place, info), nodes, peers)


def files_findings(where: object, limit: int | None, nodes: int, peers: int) -> Iterator[Finding]:
    """Two connections for each Redis and each sentinel, and what is left for clients."""
    wanted = 2 * nodes + 2 * peers + SPARE_FILES
    if limit is not None and limit < wanted:
        text = f"at most {limit} open files; with {nodes} Redis servers {wanted} are wanted"
        yield warning(text, where, "LimitNOFILE= of the systemd unit, or ulimit -n")


def _files_of_process(place: Place, info: Row) -> int | None:
    """How many files the sentinel may open, if its process is on this host and shows it."""
    folder = Path("/proc", info.get("process_id", "none"))
    try:
        is_here = place.host in _LOOPBACK and b"sentinel" in (folder / "cmdline").read_bytes()
        limits = (folder / "limits").read_text() if is_here else ""
    except OSError:
        return None
    found = re.search(r"^Max open files\s+(\d+)", limits, re.MULTILINE)
    return int(found[1]) if found else None
