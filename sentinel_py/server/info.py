"""INFO: the sections Server, Clients, Stats and CPU; those behind them come from the node.

The rule guarded: names and order of the fields are those of redis-sentinel; what is new stands at
the end of its section. Fields that speak of data are there, as monitoring reads them, and are 0.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import sentinel_py
from sentinel_py.acl.log import Reason
from sentinel_py.version import REDIS_VERSION

if TYPE_CHECKING:
    from sentinel_py.server.server import Server

Pairs: TypeAlias = list[tuple[str, object]]

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


def render_info(server: Server, wanted: Iterable[str]) -> str:
    """The text of INFO; with no section named, all of them."""
    names = {name.lower() for name in wanted}
    every = not names or bool(names & _ALL)
    sections: list[tuple[str, Pairs]] = [
        ("Server", _server(server)),
        ("Clients", _clients(server)),
        ("Stats", _stats(server)),
        ("CPU", _cpu()),
        *server.host.info_sections(),
    ]
    return "\r\n".join(
        _render(title, pairs) for title, pairs in sections if every or title.lower() in names
    )


def _render(title: str, pairs: Pairs) -> str:
    return f"# {title}\r\n" + "".join(f"{name}:{value}\r\n" for name, value in pairs)


def _server(server: Server) -> Pairs:
    uptime_s = (server.now() - server.started_at) // 1000
    now_us = time.time_ns() // 1000
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
        ("server_time_usec", now_us),
        ("uptime_in_seconds", uptime_s),
        ("uptime_in_days", uptime_s // 86400),
        ("hz", _HZ),
        ("configured_hz", _HZ),
        ("lru_clock", now_us // 1_000_000 & 0xFFFFFF),
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


def _clients(server: Server) -> Pairs:
    sessions = server.clients.values()
    return [
        ("connected_clients", len(sessions)),
        ("cluster_connections", 0),
        ("maxclients", server.options.maxclients),
        ("client_recent_max_input_buffer", max((it.input_bytes for it in sessions), default=0)),
        ("client_recent_max_output_buffer", max((it.output_bytes for it in sessions), default=0)),
        ("blocked_clients", 0),
        ("tracking_clients", sum(it.tracking is not None for it in sessions)),
        ("pubsub_clients", sum(it.subscription_count > 0 for it in sessions)),
        ("watching_clients", 0),
        ("clients_in_timeout_table", 0),
        ("total_watched_keys", 0),
        ("total_blocking_keys", 0),
        ("total_blocking_keys_on_nokey", 0),
    ]


def _stats(server: Server) -> Pairs:
    stats, denied = server.stats, server.acl.log.denied
    return [
        ("total_connections_received", stats.connections),
        ("total_commands_processed", stats.commands),
        ("instantaneous_ops_per_sec", round(stats.commands_rate)),
        ("total_net_input_bytes", stats.input_bytes),
        ("total_net_output_bytes", stats.output_bytes),
        *_zeros("total_net_repl_input_bytes total_net_repl_output_bytes"),
        ("instantaneous_input_kbps", f"{stats.input_rate / 1024:.2f}"),
        ("instantaneous_output_kbps", f"{stats.output_rate / 1024:.2f}"),
        ("instantaneous_input_repl_kbps", "0.00"),
        ("instantaneous_output_repl_kbps", "0.00"),
        ("rejected_connections", stats.rejected_connections),
        *_zeros("sync_full sync_partial_ok sync_partial_err expired_keys"),
        ("expired_stale_perc", "0.00"),
        *_zeros(
            "expired_time_cap_reached_count expire_cycle_cpu_milliseconds evicted_keys "
            "evicted_clients total_eviction_exceeded_time current_eviction_exceeded_time "
            "keyspace_hits keyspace_misses"
        ),
        ("pubsub_channels", len(server.pubsub.channels)),
        ("pubsub_patterns", len(server.pubsub.patterns)),
        *_zeros(
            "pubsubshard_channels latest_fork_usec total_forks migrate_cached_sockets "
            "slave_expires_tracked_keys active_defrag_hits active_defrag_misses "
            "active_defrag_key_hits active_defrag_key_misses total_active_defrag_time "
            "current_active_defrag_time tracking_total_keys tracking_total_items "
            "tracking_total_prefixes unexpected_error_replies"
        ),
        ("total_error_replies", stats.error_replies),
        ("dump_payload_sanitizations", 0),
        ("total_reads_processed", stats.reads),
        ("total_writes_processed", stats.writes),
        *_zeros(
            "io_threaded_reads_processed io_threaded_writes_processed reply_buffer_shrinks "
            "reply_buffer_expands eventloop_cycles eventloop_duration_sum "
            "eventloop_duration_cmd_sum instantaneous_eventloop_cycles_per_sec "
            "instantaneous_eventloop_duration_usec"
        ),
        ("acl_access_denied_auth", denied[Reason.AUTH]),
        ("acl_access_denied_cmd", denied[Reason.COMMAND]),
        ("acl_access_denied_key", 0),
        ("acl_access_denied_channel", denied[Reason.CHANNEL]),
    ]


def _zeros(names: str) -> Pairs:
    return [(name, 0) for name in names.split()]


def _cpu() -> Pairs:
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    main = resource.getrusage(resource.RUSAGE_THREAD)
    return [
        ("used_cpu_sys", f"{own.ru_stime:.6f}"),
        ("used_cpu_user", f"{own.ru_utime:.6f}"),
        ("used_cpu_sys_children", f"{children.ru_stime:.6f}"),
        ("used_cpu_user_children", f"{children.ru_utime:.6f}"),
        ("used_cpu_sys_main_thread", f"{main.ru_stime:.6f}"),
        ("used_cpu_user_main_thread", f"{main.ru_utime:.6f}"),
    ]
