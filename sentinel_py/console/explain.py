"""``sentinel-py explain``: why a master is or is not failed over, condition by condition.

A server with SENTINEL EXPLAIN tells it itself. Of any other, the same conditions are computed from
the replies that every sentinel gives, as far as those tell; what they do not tell is marked so.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sentinel_py.console.options import Failed, place_of, run, takes_place
from sentinel_py.console.paint import quiet
from sentinel_py.console.wire import (
    Answer,
    Connection,
    ErrorText,
    Place,
    address,
    info_fields,
    pairs,
    rows,
)

Row = dict[str, str]

_REPLICA_FAULTS = (("s_down", "is down"), ("disconnected", "is not connected"))
_INFO_AGE_MAX_MS = 5_000  # of a replica's INFO, once the master is down
_MARKS = {True: Text("yes", "green"), False: Text("no", "bold red"), None: Text("?", "yellow")}


@dataclass(frozen=True, slots=True)
class Condition:
    """What a failover needs; ``met`` is None where the server does not tell."""

    condition: str
    value: str
    met: bool | None
    meaning: str


@click.command(help="Say why a master is or is not failed over: each condition, with its value.")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@takes_place
def main(name: str, as_json: bool, **given: Any) -> None:
    sys.exit(run(_explain(place_of(given), name, as_json)))


async def _explain(place: Place, name: str, as_json: bool) -> None:
    async with Connection(place) as connection:
        master = await connection.ask("SENTINEL", "MASTER", name)
        if isinstance(master, ErrorText):
            raise Failed(f"{place}: {master}")
        found = await conditions(connection, pairs(master))
    if as_json:
        said = {"master": name, "verdict": verdict(found), "conditions": [*map(asdict, found)]}
        click.echo(json.dumps(said, indent=2))
        return
    where = address(pairs(master)["ip"], pairs(master)["port"])
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(Text.assemble((name, "bold"), f" {where} {verdict(found)}\n"))
    console.print(_table(found))


async def conditions(connection: Connection, master: Row) -> list[Condition]:
    """What the server says of the conditions, or what its other replies say."""
    told = await connection.ask("SENTINEL", "EXPLAIN", master["name"])
    if isinstance(told, ErrorText):
        return await _computed(connection, master)
    return [
        Condition(row["condition"], row["value"], row["met"] == "yes", row["meaning"])
        for row in rows(told)
    ]


def verdict(found: Sequence[Condition]) -> str:
    """The first condition that is not met is the answer."""
    *needed, failover = found
    if failover.met:
        return f"is being failed over. {failover.meaning}"
    missing = next((it for it in needed if it.met is False), None)
    if missing is None:
        return "is about to be failed over, as far as is known."
    return f"is not failed over. {missing.meaning}"


def _table(found: Sequence[Condition]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for it in found:
        told = Text.assemble(it.value, "\n", quiet(it.meaning))
        table.add_row(_MARKS[it.met], Text(it.condition, "bold"), told)
    return table


# Without SENTINEL EXPLAIN -------------------------------------------------------------------------


async def _computed(connection: Connection, master: Row) -> list[Condition]:
    name = master["name"]
    info, quorum, replicas, peers = await connection.ask_all(
        (
            ("INFO", "sentinel"),
            ("SENTINEL", "CKQUORUM", name),
            ("SENTINEL", "REPLICAS", name),
            ("SENTINEL", "SENTINELS", name),
        )
    )
    return [
        _down(master),
        _quorum(master, rows(peers)),
        _tilt(info_fields(info)),
        _voters(quorum),
        Condition("turn", "not told", None, "This server does not say when it tries next."),
        _replica(master, rows(replicas)),
        _failover(master),
    ]


def _has(row: Row, flag: str) -> bool:
    return flag in row["flags"].split(",")


def _down(master: Row) -> Condition:
    if _has(master, "s_down"):
        value = f"down for {master.get('s-down-time', '?')} ms"
        return Condition("down", value, True, "This sentinel finds the master down.")
    limit_ms = master["down-after-milliseconds"]
    value = f"last good reply {master['last-ok-ping-reply']} ms ago, limit {limit_ms} ms"
    return Condition("down", value, False, "This sentinel does not find the master down.")


def _quorum(master: Row, peers: Sequence[Row]) -> Condition:
    seen = _has(master, "s_down") + sum(_has(peer, "master_down") for peer in peers)
    value = f"{seen} of {1 + len(peers)} sentinels, quorum {master['quorum']}"
    is_met = _has(master, "o_down")
    many = "Enough" if is_met else "Too few"
    return Condition("quorum", value, is_met, f"{many} sentinels find the master down.")


def _tilt(info: Row) -> Condition:
    if info.get("sentinel_tilt", "0") == "0":
        return Condition("tilt", "no", True, "This sentinel trusts its clock.")
    meaning = "The clock jumped or the process stood still; until TILT ends it decides nothing."
    return Condition("tilt", "yes", False, meaning)


def _voters(answer: Answer) -> Condition:
    is_met = not isinstance(answer, ErrorText)
    meaning = "can be authorized." if is_met else "could not be agreed on or authorized."
    return Condition("voters", str(answer), is_met, f"A failover {meaning}")


def _replica(master: Row, replicas: Sequence[Row]) -> Condition:
    faults = {address(row["ip"], row["port"]): fault_of(master, row) for row in replicas}
    value = ", ".join(f"{name} {fault or 'is fit'}" for name, fault in faults.items()) or "none"
    is_met = "" in faults.values()
    meaning = "There is a replica to promote." if is_met else "No replica is fit to be promoted."
    return Condition("replica", value, is_met, meaning)


def fault_of(master: Row, replica: Row) -> str:
    """What keeps a replica from being promoted, by the fields of its row; empty for nothing."""
    if fault := next((text for flag, text in _REPLICA_FAULTS if _has(replica, flag)), ""):
        return fault
    if replica.get("slave-priority") == "0":
        return "has priority 0"
    info_age_ms = int(replica.get("info-refresh", 0))
    if _has(master, "s_down") and info_age_ms > _INFO_AGE_MAX_MS:
        return f"told its INFO {info_age_ms} ms ago"
    lost_ms = int(replica.get("master-link-down-time", 0))
    limit_ms = 10 * int(master["down-after-milliseconds"]) + int(master.get("s-down-time", 0))
    return f"was without its master for {lost_ms} ms" if lost_ms > limit_ms else ""


def _failover(master: Row) -> Condition:
    if phase := master.get("failover-state"):
        return Condition("failover", phase, True, "This sentinel leads a failover.")
    return Condition("failover", "none", False, "This sentinel leads no failover.")
