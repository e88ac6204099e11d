"""Metrics for Prometheus: gauges read from the state at each scrape, and what is counted meanwhile.

Names that redis_exporter has for a sentinel are the same here, with the same labels; our own begin
with ``sentinel_py_``. The rule it guards: with hundreds of masters, a scrape is made in pieces, and
what the sentinel has to do comes between them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from aiohttp import web
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sentinel_py.core import members, views
from sentinel_py.core.model import Master, State
from sentinel_py.raft import report
from sentinel_py.raft.member import Member
from sentinel_py.scripts import Scripts
from sentinel_py.server.info import Stats
from sentinel_py.web.answers import Orders
from sentinel_py.web.picture import lag_of, status_of
from sentinel_py.web.timeline import SWITCHED, Failover

PATH = "/metrics"

LAG_PERIOD_S = 0.25
"""How often the loop is asked whether it comes in time."""

_PHASE_BUCKETS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25),
    *(0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0),
)
_LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

Labels = tuple[str, ...]
Samples = Iterable[tuple[Labels, float]]


@dataclass(frozen=True, slots=True)
class Sources:
    """What metrics and pages are read from."""

    node: Orders
    member: Member
    scripts: Scripts
    stats: Stats


@dataclass(frozen=True, slots=True)
class Gauge:
    """One gauge: its labels, and what it reads."""

    name: str
    help: str
    labels: Labels
    read: Callable[[State, int], Samples]

    def family(self, state: State, now: int) -> Metric:
        family = GaugeMetricFamily(self.name, self.help, labels=self.labels)
        for labels, value in self.read(state, now):
            family.add_metric([_printable(label) for label in labels], value)
        return family


class Metrics:
    """The page ``/metrics``, and what is counted between its scrapes."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._phases = Histogram(
            "sentinel_py_failover_phase_seconds",
            "How long the phases of failovers took, as seen here.",
            ["phase"],
            buckets=_PHASE_BUCKETS,
            registry=registry,
        )
        self._failovers = Counter(
            "sentinel_py_failovers",
            "Failovers that have ended, led here or seen.",
            ["led", "outcome"],
            registry=registry,
        )
        self._lag = Histogram(
            "sentinel_py_loop_lag_seconds",
            "How late the event loop was.",
            buckets=_LAG_BUCKETS,
            registry=registry,
        )
        self.events = Counter(
            "sentinel_py_events", "Events published, by name.", ["name"], registry=registry
        )
        self.refused = Counter(
            "sentinel_py_http_refused_connections",
            "HTTP connections that were not taken, or were given up on.",
            registry=registry,
        )
        self._failed_logins = Counter(
            "sentinel_py_http_failed_logins",
            "Wrong logins (401), and those that were not looked at after too many (429).",
            ["status"],
            registry=registry,
        )
        self._timer: asyncio.TimerHandle | None = None

    def routes(self) -> list[web.RouteDef]:
        return [web.get(PATH, self.page)]

    def login_failed(self, status: int) -> None:
        self._failed_logins.labels(str(status)).inc()

    def failover_ended(self, told: Failover) -> None:
        outcome = "switched" if told.outcome == SWITCHED else "aborted"
        self._failovers.labels("yes" if told.is_led else "no", outcome).inc()
        for phase in told.phases:
            self._phases.labels(phase.name).observe((phase.till_ms - phase.from_ms) / 1000)

    async def page(self, _request: web.Request) -> web.Response:
        return web.Response(body=await self.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def text(self) -> bytes:
        parts = []
        for family in self._families():
            parts.append(generate_latest(_Only(family)))
            await asyncio.sleep(0)
        return b"".join(parts)

    def _families(self) -> Iterator[Metric]:
        node = self._sources.node
        for gauge in (*_GAUGES, *self._of_process()):
            yield gauge.family(node.settled(), node.now())
        stats = self._sources.stats
        yield CounterMetricFamily("redis_commands_processed", "Of clients.", stats.commands)
        yield CounterMetricFamily("redis_connections_received", "Of clients.", stats.connections)
        yield from self._registry.collect()

    def _of_process(self) -> Iterator[Gauge]:
        scripts = self._sources.scripts
        yield _single("redis_up", "The sentinel answers.", 1)
        yield _single("redis_sentinel_running_scripts", "Scripts that run.", scripts.running)
        yield _single(
            "redis_sentinel_scripts_queue_length", "Scripts that run or wait.", scripts.queued
        )
        yield from _raft(self._sources.member)

    # The loop's lag -------------------------------------------------------------------------------

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._measure(loop, loop.time())

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _measure(self, loop: asyncio.AbstractEventLoop, due_at: float) -> None:
        now = loop.time()
        self._lag.observe(max(0.0, now - due_at))
        self._timer = loop.call_at(now + LAG_PERIOD_S, self._measure, loop, now + LAG_PERIOD_S)


class _Only(Collector):
    """A collector of one family, so that families can be written one at a time."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return [self._family]


def _printable(text: str) -> str:
    """A label in UTF-8: a name in the config file may be any bytes."""
    return text.encode("utf-8", "replace").decode()


def _single(name: str, text: str, value: float) -> Gauge:
    return Gauge(name, text, (), partial(_ready, [((), value)]))


# What is read from the state ---------------------------------------------------------------------


def _info(name: str, text: str) -> Gauge:
    """A number of INFO's section ``Sentinel``."""

    def read(state: State, now: int) -> Samples:
        value = dict(views.sentinel_info(state, now, 0, 0))[name]
        assert isinstance(value, int)
        return [((), value)]

    return Gauge(f"redis_{name}", text, (), read)


_MASTER = ("master_name", "master_address")


def _of_masters(name: str, text: str, read: Callable[[Master], float]) -> Gauge:
    def samples(state: State, _now: int) -> Samples:
        return [(_named(state, one), read(one)) for one in state.masters.values()]

    return Gauge(f"redis_sentinel_master_{name}", text, _MASTER, samples)


def _named(state: State, master: Master) -> Labels:
    return master.name, f"{state.shown(master.address)}:{master.address.port}"


def _statuses(state: State, _now: int) -> Samples:
    for master in state.masters.values():
        status = status_of(master)
        yield (*_named(state, master), status), float(status == "ok")


def _ckquorum(state: State, _now: int) -> Samples:
    for name in state.masters:
        can_fail_over, words = views.ckquorum(state, name)
        yield (name, words), float(can_fail_over)


def _sentinels(state: State, _now: int) -> Samples:
    for master in state.masters.values():
        yield _named(state, master), float(members.voters(state, master))


def _usable_sentinels(state: State, _now: int) -> Samples:
    for master in state.masters.values():
        usable = [it for it in members.counted(state, master) if not it.is_down]
        yield _named(state, master), float(1 + len(usable))


def _ping_ages(state: State, now: int) -> Samples:
    for master in state.masters.values():
        yield _named(state, master), (now - master.command.ok_at) / 1000


def _phases(state: State, _now: int) -> Samples:
    for master in state.masters.values():
        if master.failover is not None:
            yield (master.name, master.failover.phase.value), 1


def _replica_lags(state: State, _now: int) -> Samples:
    for master in state.masters.values():
        for replica in master.replicas.values():
            if (lag := lag_of(replica)) is not None:
                yield (master.name, replica.name), lag


def _foreign(state: State, _now: int) -> Samples:
    for master in state.masters.values():
        yield (master.name,), sum(it.is_foreign for it in master.replicas.values())


def _links(state: State, _now: int) -> Samples:
    counts: dict[Labels, float] = {}
    for link in state.links.values():
        labels = (link.kind.value, link.state.name.lower())
        counts[labels] = counts.get(labels, 0) + 1
    return sorted(counts.items())


def _saved(state: State, _now: int) -> Samples:
    return [((), float(not state.save_trouble))]


def _pending(state: State, _now: int) -> Samples:
    return [((), sum(link.pending for link in state.links.values()))]


_GAUGES = (
    _info("sentinel_masters", "Masters that are watched."),
    _info("sentinel_tilt", "Whether the sentinel is in TILT."),
    Gauge(
        "sentinel_py_state_saved",
        "Whether the state is on disk; if not, this sentinel votes by the Raft log alone.",
        (),
        _saved,
    ),
    _info("sentinel_simulate_failure_flags", "Failures that are to be simulated."),
    Gauge(
        "redis_sentinel_master_status",
        "1 for a master that is well.",
        (*_MASTER, "master_status"),
        _statuses,
    ),
    Gauge(
        "redis_sentinel_master_ckquorum_status",
        "Whether a failover could be agreed on and led now.",
        ("master_name", "message"),
        _ckquorum,
    ),
    _of_masters("slaves", "Replicas that are known.", lambda one: len(one.replicas)),
    _of_masters(
        "ok_slaves",
        "Replicas that are not down, and no foreign instances.",
        lambda one: sum(not (it.is_down or it.is_foreign) for it in one.replicas.values()),
    ),
    Gauge(
        "redis_sentinel_master_sentinels",
        "Sentinels that decide about it, this one too.",
        _MASTER,
        _sentinels,
    ),
    Gauge(
        "redis_sentinel_master_ok_sentinels",
        "Those of them that are not down.",
        _MASTER,
        _usable_sentinels,
    ),
    _of_masters("setting_ckquorum", "The quorum.", lambda one: one.options.quorum),
    _of_masters(
        "setting_failover_timeout",
        "failover-timeout in ms.",
        lambda one: one.options.failover_timeout_ms,
    ),
    _of_masters(
        "setting_parallel_syncs", "parallel-syncs.", lambda one: one.options.parallel_syncs
    ),
    _of_masters(
        "setting_down_after_milliseconds",
        "down-after-milliseconds.",
        lambda one: one.options.down_after_ms,
    ),
    _of_masters("config_epoch", "The epoch of its last switch.", lambda one: one.config_epoch),
    Gauge(
        "redis_sentinel_master_last_ok_ping_reply_seconds",
        "Since its last good answer to a PING.",
        _MASTER,
        _ping_ages,
    ),
    Gauge(
        "sentinel_py_failover_in_progress",
        "1 for each failover that is led here now.",
        ("master_name", "phase"),
        _phases,
    ),
    Gauge(
        "sentinel_py_foreign_instances",
        "Servers at replicas' addresses that have the data of another history.",
        ("master_name",),
        _foreign,
    ),
    Gauge(
        "sentinel_py_replica_lag_bytes",
        "How far a replica was behind its master at their last INFO.",
        ("master_name", "replica"),
        _replica_lags,
    ),
    Gauge("sentinel_py_links", "Connections to servers.", ("kind", "state"), _links),
    Gauge("sentinel_py_links_pending_requests", "Requests without an answer yet.", (), _pending),
)

_RAFT = (
    ("term", "The term."),
    ("has_majority", "Whether it belongs to a majority that is led."),
    ("has_lease", "Whether it leads, and nobody else can."),
    ("commit_index", "The last log entry that is decided."),
    ("applied_index", "The last log entry that is carried out here."),
    ("last_index", "The last log entry here."),
    ("snapshot_index", "The last log entry that the snapshot has."),
    ("journal_bytes", "The length of the log on disk."),
    ("members", "Members of the Raft cluster."),
)

_RAFT_MEMBERS = (
    ("sentinel_py_raft_member_lag", "Log entries that it lacks, as the leader knows.", "lag"),
    ("sentinel_py_raft_member_up", "Whether it is connected.", "link"),
)


def _raft(member: Member) -> Iterator[Gauge]:
    """The place in the Raft cluster; nothing in classic mode."""
    place = dict(report.status(member))
    yield _single(
        "sentinel_py_raft_enabled", "Whether in Raft mode.", _number(place, "raft_enabled")
    )
    for name, text in _RAFT if "term" in place else ():
        yield _single(f"sentinel_py_raft_{name}", text, _number(place, name))
    rows = report.members(member)
    for name, text, column in _RAFT_MEMBERS:
        samples = [((row["id"], row["addr"]), _numeric(row[column])) for row in rows if row[column]]
        yield Gauge(name, text, ("id", "address"), partial(_ready, samples))


def _ready(samples: Samples, _state: State, _now: int) -> Samples:
    return samples


def _numeric(text: str) -> float:
    return float(text == "up") if text in ("up", "down") else float(text)


def _number(place: dict[str, object], name: str) -> int:
    value = place[name]
    assert isinstance(value, int)
    return value
