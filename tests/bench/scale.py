"""How the cost of a sentinel grows with what it watches, and what half of it dying at once does."""

import asyncio
import resource
import time
from dataclasses import dataclass, field

import click
import redis
from rich.console import Console
from rich.table import Table

from sentinel_py.local import (
    HOST,
    LocalError,
    Sandbox,
    wait_ready,
)

from . import results
from .contenders import CONTENDERS, SENTINELS, start_sentinels
from .farm import run_farm, template_of
from .figures import p99
from .raft import as_text
from .usage import cpu_s, memory_mib, open_files
from .witness import Listener, Worker, connect

FILES_PER_MASTER = 16  # a master and a replica, two links each from three sentinels, two ports
FILES_BESIDE = 1000
LOOK_EVERY_S = 0.25
ASK_EVERY_S = 0.01
DISCOVERED_WITHIN_S = 90
SWITCHED_WITHIN_S = 60
SETTLE_S = 3
FALSE_SDOWNS, TILTS = "false SDOWNs", "TILTs"
FIGURES = {
    "sentinel CPU": "% of a core",
    "memory": "MiB",
    "open files": "",
    "discovery": "s",
    "query p99": "ms",
    "last switch": "s",
    FALSE_SDOWNS: "",
    TILTS: "",
    "farm CPU": "% of a core",
}


@dataclass
class Setting:
    """Three sentinels that watch a farm."""

    farm: Worker
    nodes: list
    listeners: list = field(default_factory=list)

    @property
    def masters(self):
        return len(self.farm.greeting)

    @property
    def ports(self):
        return [node.port for node in self.nodes]


@click.command()
@click.option("--masters", default="10,100,300,1000", show_default=True, help="How many.")
@click.option("--only", default=",".join(CONTENDERS), show_default=True, help="Whose sentinels.")
@click.option("--down-after", default=1000, show_default=True, help="Milliseconds.")
@click.option("--sentinels", default=SENTINELS, show_default=True, help="How many watch them.")
@click.option("--seconds", default=10, show_default=True, help="How long to watch them idle.")
@click.option("--save", default="", help="A file for the figures, as JSON.")
def scale(*, masters, only, down_after, sentinels, seconds, save):
    """Many masters with a replica each: cost, discovery, and half of them killed at once."""
    rows = []
    for count in map(int, masters.split(",")):
        for contender in only.split(","):
            figures = measure(contender, count, down_after, sentinels, seconds)
            rows.append({"masters": count, "contender": contender, **figures})
            how = {"down_after": down_after, "sentinels": sentinels}
            results.save(save, "scale", how, rows)
        show([row for row in rows if row["masters"] == count], sentinels)
    show_growth(rows)


def measure(contender, count, down_after, sentinels, seconds):
    """The figures of one contender that watches so many masters."""
    raise_file_limit(count)
    with Sandbox() as sandbox, Worker(run_farm, count, template(sandbox)) as farm:
        lines = watch_lines(farm.greeting, down_after, quorum=sentinels // 2 + 1)
        began_at = time.monotonic()
        setting = Setting(farm, start_sentinels(sandbox, contender, lines, sentinels))
        return asyncio.run(measure_all(setting, began_at, seconds))


def raise_file_limit(masters):
    wanted = FILES_PER_MASTER * masters + FILES_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))


def template(sandbox):
    """The INFO of a real server, so that the farm's is as long."""
    server = sandbox.redis()
    wait_ready([server])
    with redis.Redis(HOST, server.port) as client:
        client.set_response_callback("INFO", bytes.decode)
        text = client.execute_command("INFO")
    server.kill()
    return template_of(text)


def watch_lines(pairs, down_after, quorum):
    lines = []
    for number, (port, _) in enumerate(pairs):
        lines.append(f"sentinel monitor m{number} {HOST} {port} {quorum}")
        lines.append(f"sentinel down-after-milliseconds m{number} {down_after}")
    return lines


async def measure_all(setting, began_at, seconds):
    await asyncio.to_thread(wait_ready, setting.nodes)
    setting.listeners = await connect(setting.ports, Listener)
    figures = {"discovery": await discovered(setting) - began_at}
    await asyncio.sleep(SETTLE_S)
    figures |= await idle(setting, seconds)
    killed, figures["last switch"] = await kill_half(setting)
    return figures | troubles(setting, killed)


async def discovered(setting):
    """The instant at which every sentinel knows each replica, and the other sentinels by it."""
    clients = [redis.asyncio.Redis(host=HOST, port=port, protocol=2) for port in setting.ports]
    ends_at = time.monotonic() + DISCOVERED_WITHIN_S
    for client in clients:
        client.response_callbacks.clear()
        while not is_complete(await client.execute_command("SENTINEL", "MASTERS"), setting):
            await asyncio.sleep(LOOK_EVERY_S)
            if time.monotonic() > ends_at:
                raise LocalError(f"not all is discovered within {DISCOVERED_WITHIN_S} s")
        await client.aclose()
    return time.monotonic()


def is_complete(masters, setting):
    """Whether these rows name a replica and all other sentinels each."""
    wanted = "1", str(len(setting.nodes) - 1)
    texts = [[as_text(word) for word in flat] for flat in masters]
    rows = [dict(zip(words[::2], words[1::2], strict=True)) for words in texts]
    return all((row["num-slaves"], row["num-other-sentinels"]) == wanted for row in rows)


async def idle(setting, seconds):
    """What watching costs while nothing happens, and how long a query takes meanwhile."""
    pids = [setting.farm.pid, *(node.pid for node in setting.nodes)]
    before = [cpu_s(pid) for pid in pids]
    began_at = time.monotonic()
    latencies = await ask(setting.nodes[0], seconds)
    taken_s = time.monotonic() - began_at
    after = [cpu_s(pid) for pid in pids]
    farm, *sentinels = (100 * (b - a) / taken_s for a, b in zip(before, after, strict=True))
    return {
        "sentinel CPU": max(sentinels),
        "farm CPU": farm,
        "memory": max(memory_mib(node.pid) for node in setting.nodes),
        "open files": max(open_files(node.pid) for node in setting.nodes),
        "query p99": p99(latencies),
    }


async def ask(node, seconds):
    """Milliseconds that single queries took, one after the other."""
    reader, writer = await asyncio.open_connection(HOST, node.port)
    latencies = []
    ends_at = time.monotonic() + seconds
    while (began_at := time.monotonic()) < ends_at:
        writer.write(b"SENTINEL GET-MASTER-ADDR-BY-NAME m0\r\n")
        for _ in range(5):  # an array of two: its header, then length and text of each
            await reader.readline()
        latencies.append((time.monotonic() - began_at) * 1000)
        await asyncio.sleep(ASK_EVERY_S)
    writer.close()
    return latencies


async def kill_half(setting):
    """Kill every second master; the dead ports, and seconds until all sentinels named the last."""
    killed = [master for master, _ in setting.farm.greeting[::2]]
    setting.farm.pipe.send(killed)
    while not setting.farm.pipe.poll():
        await asyncio.sleep(0)
    began_at = setting.farm.pipe.recv()
    ends_at = time.monotonic() + SWITCHED_WITHIN_S
    while time.monotonic() < ends_at:
        switched = [switches(listener) for listener in setting.listeners]
        if all(len(found) >= len(killed) for found in switched):
            last_at = max(at for found in switched for at in found.values())
            return set(map(str, killed)), last_at - began_at
        await asyncio.sleep(LOOK_EVERY_S)
    return set(map(str, killed)), None


def switches(listener):
    """When each master was switched, by name."""
    return {text.split()[0]: at for at, name, text in listener.notices if name == "+switch-master"}


def troubles(setting, killed):
    """What sentinels said that was not so: a living server or sentinel down, or time gone wrong."""
    notices = [notice for listener in setting.listeners for notice in listener.notices]
    down = [text.split() for _, name, text in notices if name == "+sdown"]
    return {
        FALSE_SDOWNS: sum(words[3] not in killed for words in down),
        TILTS: sum(name == "+tilt" for _, name, _ in notices),
    }


def show(rows, sentinels):
    table = Table(
        title=f"{rows[0]['masters']} masters, sentinels: {sentinels}", title_justify="left"
    )
    table.add_column("")
    for row in rows:
        table.add_column(row["contender"], justify="right")
    for figure, unit in FIGURES.items():
        table.add_row(f"{figure} {unit}", *(cell(row[figure]) for row in rows))
    Console(width=120).print(table)


def cell(value):
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.2f}"


def show_growth(rows):
    """What one master more costs, at each size."""
    table = Table(title="Per master watched", title_justify="left")
    for column in ("masters", "whose", "CPU, thousandths of a core", "memory KiB", "open files"):
        table.add_column(column, justify="right")
    for row in rows:
        count = row["masters"]
        table.add_row(
            str(count),
            row["contender"],
            f"{row['sentinel CPU'] * 10 / count:.3f}",
            f"{row['memory'] * 1024 / count:.1f}",
            f"{row['open files'] / count:.2f}",
        )
    Console(width=120).print(table)
