"""INFO: the sections Server, Clients, Stats and CPU; those behind them come from the node.

The rule guarded: names and order of the fields are those of redis-sentinel; what is new stands at
the end of its section. Fields that speak of data are there, as monitoring reads them, and are 0.

Most fields never change. Each section is put together once, as bytes with a gap for each field that
does; to fill the gaps takes less than a third of the time that it takes to put them together.
"""

from __future__ import annotations

import math
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import field
from typing import TYPE_CHECKING, TypeAlias

import sentinel_py
from sentinel_py.acl.log import Reason
from sentinel_py.resp import to_bytes
from sentinel_py.values import dataclass
from sentinel_py.version import REDIS_VERSION

if TYPE_CHECKING:
    from sentinel_py.server.ready import Moment
    from sentinel_py.server.server import Server

Pairs: TypeAlias = list[tuple[str, object]]

_Values: TypeAlias = "tuple[object, ...]"

_ALL = {"default", "all", "everything"}
_HZ = 10


@dataclass(slots=True)
class Stats:
    """What the server counts from its start."""

    connections: int = 0
    rejected_connections: int = 0
    commands: int = 0
    error_replies: int = 0
    reads: int = 0
    writes: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    # Per second, over the last time between two samples.
    commands_rate: float = 0.0
    input_rate: float = 0.0
    output_rate: float = 0.0
    # Of one client, when the rates were measured.
    max_unread_bytes: int = 0
    max_unsent_bytes: int = 0
    _last_sample: tuple[int, int, int, int] = field(default=(0, 0, 0, 0), repr=False)

    def sample(self, now: int) -> None:
        """Measure the rates; to be called about once a second with monotonic milliseconds."""
        then, *before = self._last_sample
        counts = (self.commands, self.input_bytes, self.output_bytes)
        self._last_sample = (now, *counts)
        if then < now:
            self.commands_rate, self.input_rate, self.output_rate = (
                (count - earlier) * 1000 / (now - then)
                for count, earlier in zip(counts, before, strict=True)
            )


class Info:
    """The sections of one server, ready but for the fields that change."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._own: dict[str, tuple[bytes, Callable[[Server], _Values]]] = {
            "server": (_with_gaps("Server", _server(server)), _server_values),
            "clients": (_with_gaps("Clients", _clients(server)), _clients_values),
            "stats": (_with_gaps("Stats", _stats()), _stats_values),
            "cpu": (_with_gaps("CPU", _cpu()), self._cpu_values),
        }
        self._cpu: tuple[float, _Values] = (math.nan, ())
        self._behind: tuple[Moment | None, dict[str, bytes]] = (None, {})

    def render(self, wanted: Iterable[str]) -> bytes:
        """The text of INFO; with no section named, all of them."""
        names = {name.lower() for name in wanted}
        every = not names or not names.isdisjoint(_ALL)
        texts = [
            text % values(self._server)
            for name, (text, values) in self._own.items()
            if every or name in names
        ]
        texts += [text for name, text in self._of_host().items() if every or name in names]
        return b"\r\n".join(texts)

    def _of_host(self) -> dict[str, bytes]:
        """The sections of the node, made once for all who ask in one moment."""
        moment, sections = self._behind
        now = self._server.ready.moment(self._server.instant())
        if now is None or moment != now:
            pairs_by_title = self._server.host.info_sections()
            sections = {
                title.lower(): to_bytes(_render(title, pairs)) for title, pairs in pairs_by_title
            }
            # Steps tell of the state alone; what a Raft member adds may change without one.
            self._behind = (now if sections.keys() <= {"sentinel"} else None, sections)
        return sections

    def _cpu_values(self, server: Server) -> _Values:
        """Asked of the kernel once for all who ask in one moment: the three calls take 2 us."""
        then, values = self._cpu
        now = server.instant()
        if then != now:
            used = [resource.getrusage(who) for who in _CPU_CLOCKS]
            values = tuple(seconds for it in used for seconds in (it.ru_stime, it.ru_utime))
            self._cpu = (now, values)
        return values


class _Gap(str):
    """How a field is written whose value changes."""

    __slots__ = ()


_NUMBER = _Gap("%d")
_RATE = _Gap("%.2f")
_SECONDS = _Gap("%.6f")

# In the order of the fields.
_CPU_CLOCKS = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN, resource.RUSAGE_THREAD)


def _render(title: str, pairs: Pairs) -> str:
    return f"# {title}\r\n" + "".join([f"{name}:{value}\r\n" for name, value in pairs])


def _with_gaps(title: str, pairs: Pairs) -> bytes:
    return to_bytes(_render(title, [(name, _constant(value)) for name, value in pairs]))


def _constant(value: object) -> object:
    return value if isinstance(value, _Gap) else str(value).replace("%", "%%")


def _server(server: Server) -> Pairs:
    options = server.options
    uname = os.uname()
    return [
        ("redis_version", REDIS_VERSION),
        ("redis_git_sha1", "00000000"),
        ("redis_git_dirty", 0),
        ("redis_build_id", "0"),
        ("redis_mode", "sentinel"),
        ("os", f"{uname.sysname} {uname.release} {uname.machine}"),
        ("arch_bits", sys.maxsize.bit_length() + 1),
        ("monotonic_clock", "POSIX clock_gettime"),
        ("multiplexing_api", "epoll"),
        ("atomicvar_api", "c11-builtin"),
        ("gcc_version", "0.0.0"),
        ("process_id", os.getpid()),
        ("process_supervised", "no"),
        ("run_id", server.host.run_id),
        ("tcp_port", options.port or options.tls_port),
        ("server_time_usec", _NUMBER),
        ("uptime_in_seconds", _NUMBER),
        ("uptime_in_days", _NUMBER),
        ("hz", _HZ),
        ("configured_hz", _HZ),
        ("lru_clock", _NUMBER),
        ("executable", os.path.abspath(sys.argv[0])),
        ("config_file", server.host.config_file),
        ("io_threads_active", 0),
        *_listeners(server),
        ("server_name", "sentinel_py"),
        ("sentinel_py_version", sentinel_py.__version__),
    ]


def _listeners(server: Server) -> Pairs:
    options = server.options
    binds = "".join(f",bind={address}" for address in options.bind)
    listeners = [
        f"name={name}{binds},port={port}"
        for name, port in (("tcp", options.port), ("tls", options.tls_port))
        if port
    ]
    if options.unixsocket:
        listeners.append(f"name=unix,bind={options.unixsocket}")
    return [(f"listener{number}", text) for number, text in enumerate(listeners)]


def _server_values(server: Server) -> _Values:
    uptime_s = (server.now() - server.started_at) // 1000
    now_us = time.time_ns() // 1000
    return now_us, uptime_s, uptime_s // 86400, now_us // 1_000_000 & 0xFFFFFF


def _clients(server: Server) -> Pairs:
    return [
        ("connected_clients", _NUMBER),
        ("cluster_connections", 0),
        ("maxclients", server.options.maxclients),
        ("client_recent_max_input_buffer", _NUMBER),
        ("client_recent_max_output_buffer", _NUMBER),
        ("blocked_clients", 0),
        ("tracking_clients", _NUMBER),
        ("pubsub_clients", _NUMBER),
        *_zeros(
            "watching_clients clients_in_timeout_table total_watched_keys total_blocking_keys "
            "total_blocking_keys_on_nokey"
        ),
    ]


def _clients_values(server: Server) -> _Values:
    sessions = server.clients.values()
    return (
        len(sessions),
        server.stats.max_unread_bytes,
        server.stats.max_unsent_bytes,
        sum([it.tracking is not None for it in sessions]),
        server.pubsub.count_subscribers(),
    )


def _stats() -> Pairs:
    return [
        ("total_connections_received", _NUMBER),
        ("total_commands_processed", _NUMBER),
        ("instantaneous_ops_per_sec", _NUMBER),
        ("total_net_input_bytes", _NUMBER),
        ("total_net_output_bytes", _NUMBER),
        *_zeros("total_net_repl_input_bytes total_net_repl_output_bytes"),
        ("instantaneous_input_kbps", _RATE),
        ("instantaneous_output_kbps", _RATE),
        ("instantaneous_input_repl_kbps", "0.00"),
        ("instantaneous_output_repl_kbps", "0.00"),
        ("rejected_connections", _NUMBER),
        *_zeros("sync_full sync_partial_ok sync_partial_err expired_keys"),
        ("expired_stale_perc", "0.00"),
        *_zeros(
            "expired_time_cap_reached_count expire_cycle_cpu_milliseconds evicted_keys "
            "evicted_clients total_eviction_exceeded_time current_eviction_exceeded_time "
            "keyspace_hits keyspace_misses"
        ),
        ("pubsub_channels", _NUMBER),
        ("pubsub_patterns", _NUMBER),
        *_zeros(
            "pubsubshard_channels latest_fork_usec total_forks migrate_cached_sockets "
            "slave_expires_tracked_keys active_defrag_hits active_defrag_misses "
            "active_defrag_key_hits active_defrag_key_misses total_active_defrag_time "
            "current_active_defrag_time tracking_total_keys tracking_total_items "
            "tracking_total_prefixes unexpected_error_replies"
        ),
        ("total_error_replies", _NUMBER),
        ("dump_payload_sanitizations", 0),
        ("total_reads_processed", _NUMBER),
        ("total_writes_processed", _NUMBER),
        *_zeros(
            "io_threaded_reads_processed io_threaded_writes_processed reply_buffer_shrinks "
            "reply_buffer_expands eventloop_cycles eventloop_duration_sum "
            "eventloop_duration_cmd_sum instantaneous_eventloop_cycles_per_sec "
            "instantaneous_eventloop_duration_usec"
        ),
        ("acl_access_denied_auth", _NUMBER),
        ("acl_access_denied_cmd", _NUMBER),
        ("acl_access_denied_key", 0),
        ("acl_access_denied_channel", _NUMBER),
    ]


def _stats_values(server: Server) -> _Values:
    stats, denied = server.stats, server.acl.log.denied
    return (
        stats.connections,
        stats.commands,
        round(stats.commands_rate),
        stats.input_bytes,
        stats.output_bytes,
        stats.input_rate / 1024,
        stats.output_rate / 1024,
        stats.rejected_connections,
        len(server.pubsub.channels),
        len(server.pubsub.patterns),
        stats.error_replies,
        stats.reads,
        stats.writes,
        denied[Reason.AUTH],
        denied[Reason.COMMAND],
        denied[Reason.CHANNEL],
    )


def _zeros(names: str) -> Pairs:
    return [(name, 0) for name in names.split()]


def _cpu() -> Pairs:
    return [
        ("used_cpu_sys", _SECONDS),
        ("used_cpu_user", _SECONDS),
        ("used_cpu_sys_children", _SECONDS),
        ("used_cpu_user_children", _SECONDS),
        ("used_cpu_sys_main_thread", _SECONDS),
        ("used_cpu_user_main_thread", _SECONDS),
    ]
