"""A long run: what memory, files and journal do while clients come and go and orders are given."""

import asyncio
import contextlib
import random
import time

import click

from sentinel_py.local import HOST, Sandbox, eventually, monitor, wait_ready

from .figures import show
from .raft import NAME, ask, knows_all, section, start_members
from .usage import memory_mib, open_files

ORDER_EVERY_S = 1
LIFE_S = (1, 60)
MEMBERS = 3
_SUBSCRIBE = b"SUBSCRIBE +switch-master\r\nPING\r\n"


@click.command()
@click.option("--minutes", default=60.0, show_default=True, help="How long.")
@click.option("--clients", default=1000, show_default=True, help="Clients of one member at once.")
def soak(minutes, clients):
    """Three Raft members, a watched master, and clients that connect, subscribe and leave."""
    with Sandbox() as sandbox:
        nodes = start_members(sandbox, MEMBERS)
        master = sandbox.redis()
        wait_ready([master, sandbox.redis(replica_of=master)])
        ask(nodes[0], *monitor(NAME, master)[0].split()[1:])
        eventually(lambda: all(facts_known(node) for node in nodes), what="discovery")
        rows = asyncio.run(run(nodes, minutes * 60, clients))
        assert all(node.alive for node in nodes)
    quarter = max(1, len(rows) // 4)
    for number, node in enumerate(nodes):
        named = []
        for name, unit in (("memory", "MiB"), ("journal", "KiB"), ("open files", "")):
            values = [row[number][name] for row in rows]
            named.append((f"{name}, first quarter", values[:quarter], unit))
            named.append((f"{name}, last quarter", values[-quarter:], unit))
        show(f"{node}, {minutes:g} minutes", named)


def facts_known(node):
    return knows_all(node, MEMBERS, replicas=1)


async def run(nodes, seconds, count):
    """Samples of all nodes, one a minute or a quarter of the time."""
    crowd = [asyncio.create_task(visit_for_ever(nodes[0].port)) for _ in range(count)]
    orders = asyncio.create_task(give_orders(nodes))
    rows = []
    period = min(60, seconds / 8)
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        await asyncio.sleep(period)
        rows.append([await asyncio.to_thread(sample, node) for node in nodes])
        click.echo("  ".join(f"{it['memory']:.1f} MiB {it['journal']:.0f} KiB" for it in rows[-1]))
    for task in (*crowd, orders):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    return rows


def sample(node):
    return {
        "memory": memory_mib(node.pid),
        "journal": section(node)["raft_journal_bytes"] / 1024,
        "open files": open_files(node.pid),
    }


async def visit_for_ever(port):
    while True:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(_SUBSCRIBE)
        await reader.readuntil(b"+switch-master")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(random.uniform(*LIFE_S)):
                while await reader.read(4096):
                    pass
        writer.close()


async def give_orders(nodes):
    number = 0
    while True:
        number += 1
        node = nodes[number % len(nodes)]
        timeout = str(60_000 + number)
        await asyncio.to_thread(ask, node, "SET", NAME, "failover-timeout", timeout)
        await asyncio.sleep(ORDER_EVERY_S)
