"""Failovers, timed from outside: ours in both modes, and redis-sentinel's, in turn."""

import asyncio
import os
import random
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median

import click
import redis
from rich.console import Console
from rich.table import Table

from sentinel_py.local import (
    HOST,
    LocalError,
    Sandbox,
    Server,
    eventually,
    monitor,
    wait_ready,
)

from . import results
from .contenders import CONTENDERS, ORIGINAL, SENTINELS, start_sentinels
from .figures import p90
from .raft import NAME, ask, knows_all, leader_of
from .witness import Asker, Listener, Worker, connect, write_through_sentinel, write_to_one

ENDS_WITHIN_S = 60
DEMOTED_WITHIN_MS = 20_000
# Pings and hellos of a group that has just been started would all fall into the same instants.
PHASE_S = 2.0
# The mark of each notice, about the master: the first sentinel that publishes it counts.
NOTICES = {"+sdown": "sdown", "+odown": "odown", "+promoted-slave": "promoted"}
FIRST, LAST, WRITE = "first sentinel", "last sentinel", "first write"
LOST = "lost writes"
MARKS = (*NOTICES.values(), FIRST, LAST, WRITE)


@dataclass
class Group:
    """A master, two replicas and three sentinels that know each other."""

    contender: str
    master: Server
    sentinels: list[Server]
    leader: Server | None
    armed: list[Server] = field(default_factory=list)


def kill_master(group):
    os.kill(group.master.pid, signal.SIGKILL)


def kill_both(group):
    os.kill((group.leader or group.sentinels[0]).pid, signal.SIGKILL)
    kill_master(group)


def stop_master(group):
    group.master.pause()


def kill_leader_half_way(group):
    group.armed = [group.leader] if group.leader else list(group.sentinels)
    for sentinel in group.armed:
        ask(sentinel, "SIMULATE-FAILURE", "crash-after-election")
    kill_master(group)


def order(group):
    ask(group.sentinels[0], "FAILOVER", NAME)


MODES = {
    "killed": kill_master,
    "both": kill_both,
    "stopped": stop_master,
    "leader": kill_leader_half_way,
    "manual": order,
}


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Failovers of each kind.")
@click.option("--down-after", default="200,1000", show_default=True, help="Milliseconds.")
@click.option("--mode", default=",".join(MODES), show_default=True, help="What happens.")
@click.option("--only", default=",".join(CONTENDERS), show_default=True, help="Whose sentinels.")
@click.option("--failover-timeout", default=5000, show_default=True, help="Milliseconds.")
@click.option("--save", default="", help="A file for the figures, as JSON.")
def failover(rounds, down_after, mode, only, failover_timeout, save):  # noqa: PLR0917
    """Time from the end of a master to each step of its failover."""
    rows = []
    for wait_ms in map(int, down_after.split(",")):
        for name in mode.split(","):
            if name == "manual" and wait_ms != int(down_after.split(",")[0]):
                continue  # nothing is waited for
            for _ in range(rounds):
                for contender in only.split(","):
                    marks = one_round(contender, name, wait_ms, failover_timeout)
                    rows.append(
                        {"mode": name, "down_after": wait_ms, "contender": contender, **marks}
                    )
            show(name, wait_ms, rows)
            options = {"rounds": rounds, "failover_timeout": failover_timeout}
            results.save(save, "failover", options, rows)


def one_round(contender, mode, down_after, failover_timeout):
    """The marks of one failover, in milliseconds since it was caused."""
    with Sandbox() as sandbox, ExitStack() as stack:
        group = start(sandbox, contender, down_after, failover_timeout)
        ports = [sentinel.port for sentinel in group.sentinels]
        old_port = group.master.port
        client = stack.enter_context(Worker(write_through_sentinel, ports, NAME, old_port))
        stubborn = None
        if mode == "manual":
            stubborn = stack.enter_context(Worker(write_to_one, old_port))
        time.sleep(random.uniform(0, PHASE_S))
        marks = asyncio.run(watch(group, MODES[mode], client))
        if stubborn:
            marks[LOST] = lost_writes(group, stubborn)
        return marks


def start(sandbox, contender, down_after, failover_timeout):
    master = sandbox.redis()
    replicas = [sandbox.redis(replica_of=master) for _ in range(2)]
    wait_ready([master, *replicas])
    eventually(lambda: all(map(is_in_sync, replicas)), what="synchronization")
    times = {"down-after-milliseconds": down_after, "failover-timeout": failover_timeout}
    lines = monitor(NAME, master, options=times)
    nodes = start_sentinels(sandbox, contender, lines)
    wait_ready(nodes)
    eventually(lambda: all(knows_all(node, SENTINELS) for node in nodes), what="discovery")
    leader = eventually(lambda: leader_of(nodes), what="leader") if contender == "raft" else None
    return Group(contender, master, nodes, leader)


def is_in_sync(replica):
    with redis.Redis(HOST, replica.port) as client:
        return client.info("replication")["master_link_status"] == "up"


async def watch(group, strike, client):
    """Strike, and see what becomes of it."""
    ports = [sentinel.port for sentinel in group.sentinels]
    listeners = await connect(ports, Listener)
    askers = await connect(ports, lambda: Asker(NAME, group.master.port))
    began_at = time.monotonic()
    strike(group)
    while not all(asker.is_done for asker in askers) or not client.pipe.poll():
        await asyncio.sleep(0.001)
        if group.armed and any(asker.is_lost for asker in askers):
            spare_the_others(group, askers)
        if time.monotonic() > began_at + ENDS_WITHIN_S:
            raise LocalError(f"no failover by {group.contender} within {ENDS_WITHIN_S} s")
    marks = marks_of(listeners)
    switched = [asker.switched_at for asker in askers if asker.switched_at]
    marks |= {FIRST: min(switched), LAST: max(switched), WRITE: client.pipe.recv()}
    return {name: (at - began_at) * 1000 for name, at in marks.items()}


def spare_the_others(group, askers):
    """Whoever leads next shall live; a sentinel asked for help forgets what it was told before."""
    group.armed.clear()
    for sentinel, asker in zip(group.sentinels, askers, strict=True):
        if not asker.is_lost:
            ask(sentinel, "SIMULATE-FAILURE", "help")


def marks_of(listeners):
    notices = sorted(notice for listener in listeners for notice in listener.notices)
    marks = {}
    for at, name, text in notices:
        if name in NOTICES and (text.startswith("master ") or name == "+promoted-slave"):
            marks.setdefault(NOTICES[name], at)
    return marks


def lost_writes(group, stubborn):
    """Acknowledged by the old master and unknown to the new one, when that has been demoted."""
    old = redis.Redis(HOST, group.master.port)
    eventually(lambda: old.role()[0] == b"slave", DEMOTED_WITHIN_MS, "demotion")
    stubborn.pipe.send("enough")
    keys = [f"write:{number}" for number in stubborn.pipe.recv()]
    port = int(ask(group.sentinels[0], "GET-MASTER-ADDR-BY-NAME", NAME)[1])
    with redis.Redis(HOST, port) as new:
        return sum(value is None for value in new.mget(keys))


def show(mode, down_after, rows):
    """A table of one mode, medians and the slowest tenth, ours beside the original's."""
    chosen = [row for row in rows if (row["mode"], row["down_after"]) == (mode, down_after)]
    by_contender = {
        contender: [row for row in chosen if row["contender"] == contender]
        for contender in CONTENDERS
    }
    by_contender = {contender: found for contender, found in by_contender.items() if found}
    table = Table(title=title(mode, down_after, chosen), title_justify="left")
    table.add_column("ms, median (p90)")
    for contender in by_contender:
        table.add_column(contender, justify="right")
    for contender in by_contender:
        if contender != ORIGINAL and ORIGINAL in by_contender:
            table.add_column(f"{contender} / original", justify="right")
    for mark in marks_in(chosen):
        table.add_row(mark, *cells(mark, by_contender))
        if mark == LAST and mode != "manual":
            table.add_row(f"{mark}, over", *cells(mark, by_contender, less=down_after))
    Console(width=120).print(table)


def title(mode, down_after, rows):
    wait = "" if mode == "manual" else f", down-after {down_after}"
    return f"{mode}{wait}, {len(rows)} failovers"


def marks_in(rows):
    return [mark for mark in (*MARKS, LOST) if any(mark in row for row in rows)]


def cells(mark, by_contender, less=0):
    figures = {
        contender: [row[mark] - less for row in rows if mark in row]
        for contender, rows in by_contender.items()
    }
    medians = {contender: median(values) for contender, values in figures.items() if values}
    shown = [
        f"{medians[contender]:.0f} ({p90(values):.0f})" if values else "-"
        for contender, values in figures.items()
    ]
    original = medians.get(ORIGINAL)
    ratios = [
        f"{medians[contender] / original:.3f}" if original and contender in medians else "-"
        for contender in by_contender
        if contender != ORIGINAL and ORIGINAL in by_contender
    ]
    return [*shown, *ratios]
