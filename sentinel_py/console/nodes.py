"""What ``doctor`` asks the Redis servers: a master and its replicas, with the sentinel's login."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from time import time

from sentinel_py.console import rights
from sentinel_py.console.findings import Finding, Watched, error, warning
from sentinel_py.console.wire import (
    Answer,
    Connection,
    Denied,
    ErrorText,
    Place,
    Unreachable,
    info_fields,
)

CLOCKS_APART_MAX_MS = 1_000
"""More than that, and what logs say of one failover cannot be put in order."""

NODES_AT_ONCE = 20
"""Servers that are asked at the same time."""

_LISTED = re.compile(r"ip=(?P<host>.*?),port=(?P<port>\d+)")


async def examine(watched: Watched) -> list[Finding]:
    """All that can be found out about a master and its replicas."""
    known = {str(place): place for place in watched.replicas}
    known |= {str(place): place for place in await _replicas_of(watched.master)}
    known.pop(str(watched.master), None)
    gate = asyncio.Semaphore(NODES_AT_ONCE)
    reports = await asyncio.gather(
        _examine_master(watched, gate),
        *(_examine_replica(watched, place, gate) for place in known.values()),
    )
    found = [finding for _, findings in reports for finding in findings]
    (master_info, _), *replicas = reports
    if master_info or replicas:
        found += _fit_to_promote(watched, [info for info, _ in replicas])
    return found


Report = tuple[dict[str, str], list[Finding]]


async def _replicas_of(master: Place) -> list[Place]:
    """The replicas by the addresses that the master has of them, which sentinels go by."""
    try:
        async with Connection(master) as connection:
            info = info_fields(await connection.ask("INFO", "replication"))
    except Unreachable:
        return []
    lines = [_LISTED.match(text) for name, text in info.items() if re.fullmatch(r"slave\d+", name)]
    return [master.beside(found["host"], int(found["port"])) for found in lines if found]


async def _examine_master(watched: Watched, gate: asyncio.Semaphore) -> Report:
    info, found = await _examine(watched, watched.master, gate)
    if info.get("role") == "slave":
        where = f"{info.get('master_host', '?')}:{info.get('master_port', '?')}"
        text = f"{watched.name} is not a master but a replica of {where}"
        found.append(error(text, watched.master, "watch that one: SENTINEL MONITOR"))
    return info, found


async def _examine_replica(watched: Watched, place: Place, gate: asyncio.Semaphore) -> Report:
    info, found = await _examine(watched, place, gate)
    if info.get("master_link_status") == "down":
        text = "this replica has no connection to its master"
        found.append(warning(text, place, "see its log; masterauth, and the network between them"))
    return info, found


async def _examine(watched: Watched, place: Place, gate: asyncio.Semaphore) -> Report:
    async with gate:
        try:
            async with Connection(place) as connection:
                began_ms = time() * 1000
                clock, info = await connection.ask_all((("TIME",), ("INFO",)))
                took_ms = time() * 1000 - began_ms
            found = [*clock_findings(place, clock, began_ms, took_ms), *_no_info(place, info)]
            return info_fields(info), [*found, *await rights.missing(place, watched.renamed)]
        except Denied as refused:
            way_out = f"SENTINEL SET {watched.name} auth-user … auth-pass …, for doctor --node-pass"
            return {}, [error(str(refused), place, way_out)]
        except Unreachable as silent:
            text = f"{silent}; the sentinels may see it so, too"
            return {}, [error(text, place, "start it, or see bind, replica-announce-ip, firewalls")]


def clock_findings(
    place: Place, answer: Answer, began_ms: float, took_ms: float
) -> Iterator[Finding]:
    match answer:
        case [str(seconds), str(micros)]:
            apart_ms = abs(int(seconds) * 1000 + int(micros) / 1000 - began_ms - took_ms / 2)
            if apart_ms > CLOCKS_APART_MAX_MS + took_ms:
                text = f"its clock is {apart_ms / 1000:.1f} s from the one of this host"
                yield warning(text, place, "keep all clocks by NTP")


def _no_info(place: Place, answer: Answer) -> Iterator[Finding]:
    if isinstance(answer, ErrorText) and not answer.is_denied:
        yield error(f"it answers INFO with: {answer}", place, "wait until it is ready")


def _fit_to_promote(watched: Watched, infos: Sequence[dict[str, str]]) -> Iterator[Finding]:
    if not infos:
        yield error("there is no replica to promote", watched.name, "add one, on another host")
        return
    priorities = [info["slave_priority"] for info in infos if "slave_priority" in info]
    if priorities and set(priorities) == {"0"}:
        text = "all replicas have priority 0, so none may be promoted"
        yield error(text, watched.name, "there: CONFIG SET replica-priority 100")
