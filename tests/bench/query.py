"""Queries as clients ask them: throughput, latency and CPU, beside those of redis-sentinel."""

import csv
import io
import subprocess
import time
from dataclasses import asdict, dataclass
from statistics import median

import click
import redis
from rich.console import Console
from rich.table import Table

from sentinel_py.local import HOST, Sandbox, eventually, wait_ready

from . import results
from .contenders import ORIGINAL, program_of
from .farm import run_farm
from .scale import raise_file_limit, template, watch_lines
from .usage import cpu_s
from .witness import Worker

NAME = "m0"
QUERIES = {
    "GET-MASTER-ADDR": ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME),
    "PING": ("PING",),
    "MASTERS": ("SENTINEL", "MASTERS"),
    "INFO": ("INFO",),
}
WAYS = {
    "1 connection": ("-c", "1"),
    "50 connections": ("-c", "50"),
    "pipelines of 16": ("-c", "50", "-P", "16"),
    "a new connection each": ("-c", "50", "-k", "0"),
}
# How many requests of another kind cost about as much as one of these.
WEIGHTS = {"INFO": 10, "1 connection": 3, "pipelines of 16": 0.2, "a new connection each": 5}
MASTERS_PER_WEIGHT = 2
IDLE_S = 3
DOWN_AFTER_MS = 30_000
COMPARED = ("classic", ORIGINAL)


@dataclass(frozen=True)
class Sample:
    """One run of redis-benchmark."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float  # of the sentinel, per request


@dataclass
class Contender:
    """A sentinel under load, and the CPU that it needs without any."""

    server: object
    idle_share: float = 0.0

    def measure_idle(self):
        before = cpu_s(self.server.pid)
        time.sleep(IDLE_S)
        self.idle_share = (cpu_s(self.server.pid) - before) / IDLE_S

    def run(self, query, way, requests):
        argv = ("redis-benchmark", "-h", HOST, "-p", str(self.server.port), "--csv")
        cpu_before_s, began_at = cpu_s(self.server.pid), time.monotonic()
        done = subprocess.run(
            [*argv, "-n", str(requests), *WAYS[way], *QUERIES[query]],
            check=True,
            capture_output=True,
            text=True,
        )
        idle_s = self.idle_share * (time.monotonic() - began_at)
        used_s = cpu_s(self.server.pid) - cpu_before_s - idle_s
        (row,) = csv.DictReader(io.StringIO(done.stdout))
        return Sample(
            float(row["rps"]),
            float(row["p50_latency_ms"]),
            float(row["p99_latency_ms"]),
            used_s / requests * 1e6,
        )


@click.command()
@click.option("--masters", default="1,300", show_default=True, help="Numbers of masters watched.")
@click.option("--rounds", default=5, show_default=True, help="Rounds of each measurement.")
@click.option("--requests", default=50_000, show_default=True, help="Requests per run, about.")
@click.option("--only", default="", help="Queries and ways that contain this.")
@click.option("--save", default="", help="A file for the figures, as JSON.")
def query(*, masters, rounds, requests, only, save):
    """Queries on one sentinel, ours and the original's in turn."""
    rows = []
    for count in map(int, masters.split(",")):
        raise_file_limit(count)
        with Sandbox() as sandbox, Worker(run_farm, count, template(sandbox)) as farm:
            contenders = start(sandbox, farm.greeting)
            table = new_table(f"{count} watched, medians of {rounds}: ours / original")
            for name, way in ((name, way) for name in QUERIES for way in WAYS):
                if only.lower() in f"{name} {way}".lower():
                    size = max(200, int(requests / weight(name, way, count)))
                    samples = [
                        [contender.run(name, way, size) for contender in contenders]
                        for _ in range(rounds)
                    ]
                    ours, theirs = map(summed_up, zip(*samples, strict=True))
                    table.add_row(name, way, *cells(ours, theirs))
                    kind = {"masters": count, "query": name, "way": way}
                    pairs = zip(COMPARED, (ours, theirs), strict=True)
                    rows += [{**kind, "contender": who, **asdict(found)} for who, found in pairs]
            Console(width=140).print(table)
        results.save(save, "query", {"rounds": rounds, "requests": requests}, rows)


def weight(name, way, masters):
    rows = masters / MASTERS_PER_WEIGHT if name == "MASTERS" else 1
    is_long = name in ("MASTERS", "INFO")
    by_way = 1 if is_long and way == "pipelines of 16" else WEIGHTS.get(way, 1)
    return max(1, rows) * WEIGHTS.get(name, 1) * by_way


def start(sandbox, pairs):
    """Both sentinels, which watch the same masters, each with a replica."""
    lines = watch_lines(pairs, DOWN_AFTER_MS, quorum=2)
    programs = [program_of(contender) for contender in COMPARED]
    servers = [sandbox.sentinel(lines, program=program) for program in programs]
    wait_ready(servers)
    contenders = [Contender(server) for server in servers]
    for contender in contenders:
        eventually(lambda at=contender.server.port: all_seen(at), what="discovery")
    for contender in contenders:
        contender.measure_idle()
    return contenders


def all_seen(port):
    with redis.Redis(HOST, port, protocol=2, decode_responses=True) as client:
        rows = client.execute_command("SENTINEL", "MASTERS")
    return all(row["flags"] == "master" and row["runid"] for row in map(as_row, rows))


def as_row(flat):
    return flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))


def new_table(title):
    table = Table(title=title, title_justify="left")
    for column in ("query", "way"):
        table.add_column(column)
    for column in ("1000/s", "x", "p50 ms", "p99 ms", "CPU s per 100,000", "x"):
        table.add_column(column, justify="right")
    return table


def cells(ours, theirs):
    """Our figures and the original's."""
    return (
        f"{ours.per_second / 1000:.1f} / {theirs.per_second / 1000:.1f}",
        f"{ours.per_second / theirs.per_second:.2f}",
        f"{ours.p50_ms:.3f} / {theirs.p50_ms:.3f}",
        f"{ours.p99_ms:.3f} / {theirs.p99_ms:.3f}",
        f"{ours.cpu_us / 10:.3f} / {theirs.cpu_us / 10:.3f}",
        f"{ours.cpu_us / theirs.cpu_us:.2f}",
    )


def summed_up(samples):
    fields = ("per_second", "p50_ms", "p99_ms", "cpu_us")
    return Sample(*(median(getattr(sample, field) for sample in samples) for field in fields))
