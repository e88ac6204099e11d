"""The generic directives: what a config file says that is not about sentinels.

Names, kinds and defaults only; how a kind is read is in `kinds`, which lines there are is for
`config`. The rule it guards: a directive is declared once. One that means something here is a typed
attribute of `ServerSettings`; every other one that a data node has is in `ACCEPTED`: it is checked
as there and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, cast, overload

from sentinel_py.config.kinds import (
    ADDRESSES,
    FLAG,
    INT_MAX,
    LONG_MAX,
    MEMORY_OR_PERCENT,
    NAME,
    OUTPUT_LIMITS,
    TEXT,
    TITLE,
    UINT_MAX,
    ULONG_MAX,
    Kind,
    choice,
    choices,
    integer,
    memory,
    octal,
    words,
)
from sentinel_py.config.lines import Line
from sentinel_py.server.options import OutputLimit

T = TypeVar("T")

PORT = integer(0, 65535)
SIGNAL_ACTIONS = choices("default", "save", "nosave", "now", "force")


class Directive(Generic[T]):
    """A typed attribute of `ServerSettings`; the directive is named as the attribute, with dashes.

    `data_node` is the default of a data node where it is another one. As redis-sentinel does, what
    differs from that is always written: the file can then be read without knowing of sentinels.
    """

    def __init__(self, kind: Kind[T], default: T, *, data_node: T | None = None) -> None:
        self.kind = kind
        self.default = default
        self._unwritten = kind.render(default if data_node is None else data_node)

    def __set_name__(self, owner: type[ServerSettings], attribute: str) -> None:
        self.name = attribute.replace("_", "-")

    @overload
    def __get__(self, settings: None, owner: type[ServerSettings]) -> Directive[T]: ...
    @overload
    def __get__(self, settings: ServerSettings, owner: type[ServerSettings]) -> T: ...
    def __get__(
        self, settings: ServerSettings | None, owner: type[ServerSettings]
    ) -> Directive[T] | T:
        return self if settings is None else self._value(settings)

    def __set__(self, settings: ServerSettings, value: T) -> None:
        settings.set(self.name, value)

    def read(self, settings: ServerSettings, given: Sequence[str]) -> None:
        value = self.kind.read(given)
        if self.kind.merge:
            value = self.kind.merge(self._value(settings), value)
        settings.set(self.name, value)

    def lines(self, settings: ServerSettings) -> list[Line]:
        return [
            Line(self.name, f"{self.name} {rest}", required=rest not in self._unwritten)
            for rest in self.kind.render(self._value(settings))
        ]

    def _value(self, settings: ServerSettings) -> T:
        return cast("T", settings.get(self.name, self.default))


class ServerSettings:
    """What the server, its log and its process are told; what was not said has its default."""

    def __init__(self) -> None:
        self._said: dict[str, object] = {}
        self._lines: list[Line] | None = None

    def get(self, name: str, default: object) -> object:
        return self._said.get(name, default)

    def set(self, name: str, value: object) -> None:
        self._said[name] = value
        self._lines = None

    def lines(self) -> list[Line]:
        """Every directive's lines, as the file should have them."""
        if self._lines is None:
            self._lines = [line for each in DIRECTIVES.values() for line in each.lines(self)]
        return self._lines

    port = Directive(PORT, 26379, data_node=6379)
    bind = Directive(ADDRESSES, ("*", "-::*"))
    bind_source_addr = Directive(NAME, "")
    protected_mode = Directive(FLAG, False, data_node=True)
    tcp_backlog = Directive(integer(0, INT_MAX), 511)
    tcp_keepalive = Directive(integer(0, INT_MAX), 300)
    unixsocket = Directive(NAME, "")
    unixsocketperm = Directive(octal(0, 0o777), 0)
    unixsocketgroup = Directive(NAME, "")
    socket_mark_id = Directive(integer(0, UINT_MAX), 0)
    timeout = Directive(integer(0, INT_MAX), 0)
    maxclients = Directive(integer(1, UINT_MAX), 10_000)
    maxmemory_clients = Directive(MEMORY_OR_PERCENT, 0)
    proto_max_bulk_len = Directive(memory(2**20, LONG_MAX), 512 * 2**20)
    client_query_buffer_limit = Directive(memory(2**20, LONG_MAX), 2**30)
    client_output_buffer_limit = Directive(
        OUTPUT_LIMITS,
        {
            "normal": OutputLimit(0, 0, 0),
            "replica": OutputLimit(256 * 2**20, 64 * 2**20, 60),
            "pubsub": OutputLimit(32 * 2**20, 8 * 2**20, 60),
        },
    )

    requirepass = Directive(NAME, "")
    aclfile = Directive(TEXT, "")
    acllog_max_len = Directive(integer(0, LONG_MAX), 128)
    acl_pubsub_default = Directive(choice("allchannels", "resetchannels"), "resetchannels")

    tls_port = Directive(PORT, 0)
    tls_replication = Directive(FLAG, False)
    tls_auth_clients = Directive(choice("no", "yes", "optional"), "yes")
    tls_cert_file = Directive(NAME, "")
    tls_key_file = Directive(NAME, "")
    tls_key_file_pass = Directive(NAME, "")
    tls_client_cert_file = Directive(NAME, "")
    tls_client_key_file = Directive(NAME, "")
    tls_client_key_file_pass = Directive(NAME, "")
    tls_ca_cert_file = Directive(NAME, "")
    tls_ca_cert_dir = Directive(NAME, "")
    tls_dh_params_file = Directive(NAME, "")
    tls_protocols = Directive(NAME, "")
    tls_ciphers = Directive(NAME, "")
    tls_ciphersuites = Directive(NAME, "")
    tls_prefer_server_ciphers = Directive(FLAG, False)
    tls_session_caching = Directive(FLAG, True)
    tls_session_cache_size = Directive(integer(0, INT_MAX), 20 * 1024)
    tls_session_cache_timeout = Directive(integer(0, INT_MAX), 300)

    # Never left at this default: the config file has to say where its relative paths begin.
    dir = Directive(TEXT, "")
    logfile = Directive(TEXT, "")
    loglevel = Directive(choice("debug", "verbose", "notice", "warning", "nothing"), "notice")
    syslog_enabled = Directive(FLAG, False)
    syslog_ident = Directive(TEXT, "redis")
    syslog_facility = Directive(choice("user", *(f"local{n}" for n in range(8))), "local0")
    always_show_logo = Directive(FLAG, False)

    daemonize = Directive(FLAG, False)
    supervised = Directive(choice("upstart", "systemd", "auto", "no"), "no")
    pidfile = Directive(NAME, "")
    set_proc_title = Directive(FLAG, True)
    proc_title_template = Directive(TITLE, "{title} {listen-addr} {server-mode}")
    shutdown_timeout = Directive(integer(0, INT_MAX), 10)
    shutdown_on_sigint = Directive(SIGNAL_ACTIONS, ("default",))
    shutdown_on_sigterm = Directive(SIGNAL_ACTIONS, ("default",))


DIRECTIVES: dict[str, Directive[object]] = {
    each.name: each for each in vars(ServerSettings).values() if isinstance(each, Directive)
}

Check = Callable[[Sequence[str]], object]
"""Raises DirectiveError on words that a data node would refuse."""

_YES_NO_LOCAL = choice("no", "yes", "local")
_COUNT = integer(0, INT_MAX)
_LONG_COUNT = integer(0, LONG_MAX)
_ANY_INT = integer(-INT_MAX - 1, INT_MAX)
_SIZE = memory(0, LONG_MAX)

# Kind by kind, the names that Redis and Valkey have had for what only a data node does.
_ACCEPTED: tuple[tuple[Check, str], ...] = (
    (
        FLAG.read,
        """activedefrag activerehashing aof-disable-auto-gc aof-load-truncated
        aof-rewrite-incremental-fsync aof-timestamp-enabled aof-use-rdb-preamble appendonly
        cluster-allow-pubsubshard-when-down cluster-allow-reads-when-down
        cluster-allow-replica-migration cluster-enabled cluster-replica-no-failover
        cluster-require-full-coverage cluster-slave-no-failover cluster-slot-stats-enabled
        crash-log-enabled crash-memcheck-enabled disable-thp dual-channel-replication-enabled
        dynamic-hz enable-debug-assert extended-redis-compatibility hide-user-data-from-log
        io-threads-do-reads jemalloc-bg-thread latency-tracking lazyfree-lazy-eviction
        lazyfree-lazy-expire lazyfree-lazy-server-del lazyfree-lazy-user-del
        lazyfree-lazy-user-flush no-appendfsync-on-rewrite rdb-del-sync-files
        rdb-save-incremental-fsync rdbchecksum rdbcompression repl-disable-tcp-nodelay
        repl-diskless-sync replica-announced replica-ignore-disk-write-errors
        replica-ignore-maxmemory replica-lazy-flush replica-read-only replica-serve-stale-data
        slave-ignore-maxmemory slave-lazy-flush slave-read-only slave-serve-stale-data
        stop-writes-on-bgsave-error tls-cluster use-exit-on-panic""",
    ),
    (
        TEXT.read,
        """aof-rewrite-cpulist aof_rewrite_cpulist appenddirname appendfilename availability-zone
        bgsave-cpulist bgsave_cpulist bio-cpulist bio_cpulist cluster-announce-client-ipv4
        cluster-announce-client-ipv6 cluster-announce-hostname cluster-announce-human-nodename
        cluster-announce-ip cluster-config-file dbfilename debug-context ignore-warnings
        locale-collate masterauth masteruser notify-keyspace-events primaryauth primaryuser
        replica-announce-ip req-res-logfile server-cpulist server_cpulist slave-announce-ip
        list-max-ziplist-entries list-max-ziplist-value lua-replicate-commands""",
    ),
    (words().read, "latency-tracking-info-percentiles save"),
    (words(2).read, "replicaof slaveof"),
    (words(3).read, "oom-score-adj-values"),
    (
        PORT.read,
        """cluster-announce-bus-port cluster-announce-port cluster-announce-tls-port cluster-port
        replica-announce-port slave-announce-port""",
    ),
    (
        _COUNT.read,
        """auto-aof-rewrite-percentage cluster-migration-barrier cluster-replica-validity-factor
        cluster-slave-validity-factor events-per-io-thread hz lfu-decay-time lfu-log-factor
        list-compress-depth min-replicas-max-lag min-replicas-to-write min-slaves-max-lag
        min-slaves-to-write repl-diskless-sync-delay repl-diskless-sync-max-replicas
        replica-priority slave-priority watchdog-period""",
    ),
    (
        _LONG_COUNT.read,
        """busy-reply-threshold cluster-node-timeout cluster-ping-interval hash-max-listpack-entries
        hash-max-ziplist-entries latency-monitor-threshold lua-time-limit repl-backlog-ttl
        set-max-intset-entries set-max-listpack-entries set-max-listpack-value slowlog-max-len
        stream-node-max-entries tracking-table-max-keys zset-max-listpack-entries
        zset-max-ziplist-entries""",
    ),
    (
        _ANY_INT.read,
        "key-load-delay list-max-listpack-size list-max-ziplist-size rdb-key-save-delay",
    ),
    (
        _SIZE.read,
        """auto-aof-rewrite-min-size hash-max-listpack-value hash-max-ziplist-value
        hll-sparse-max-bytes stream-node-max-bytes zset-max-listpack-value
        zset-max-ziplist-value""",
    ),
    (memory(0, ULONG_MAX).read, "cluster-link-sendbuf-limit maxmemory"),
    (memory(1, LONG_MAX).read, "active-defrag-ignore-bytes repl-backlog-size"),
    (integer(0, 100).read, "maxmemory-eviction-tenacity"),
    (integer(0, 128).read, "prefetch-batch-max-size"),
    (integer(0, 1000).read, "active-defrag-threshold-lower active-defrag-threshold-upper"),
    (integer(0, ULONG_MAX).read, "cluster-blacklist-ttl"),
    (integer(-1, LONG_MAX).read, "slowlog-log-slower-than"),
    (integer(1, 10).read, "active-expire-effort"),
    (integer(1, 99).read, "active-defrag-cycle-max active-defrag-cycle-min"),
    (integer(1, 128).read, "io-threads"),
    (integer(1, 1000).read, "max-new-connections-per-cycle max-new-tls-connections-per-cycle"),
    (
        integer(1, INT_MAX).read,
        "databases maxmemory-samples repl-ping-replica-period repl-ping-slave-period repl-timeout",
    ),
    (integer(1, LONG_MAX).read, "active-defrag-max-scan-fields"),
    (integer(2, 3).read, "client-default-resp"),
    (integer(1024, INT_MAX).read, "loading-process-events-interval-bytes"),
    (_YES_NO_LOCAL.read, "enable-debug-command enable-module-command enable-protected-configs"),
    (choice("no", "yes", "clients").read, "sanitize-dump-payload"),
    (choice("no", "yes", "relative", "absolute").read, "oom-score-adj"),
    (choice("everysec", "always", "no").read, "appendfsync"),
    (choice("ip", "hostname", "unknown-endpoint").read, "cluster-preferred-endpoint-type"),
    (choice("ignore", "panic", "panic-on-replicas").read, "propagation-error-behavior"),
    (choice("disabled", "on-empty-db", "swapdb", "flush-before-load").read, "repl-diskless-load"),
    (choice("legacy", "logfmt").read, "log-format"),
    (choice("legacy", "iso8601", "milliseconds").read, "log-timestamp-format"),
    (
        choice(
            *(f"volatile-{how}" for how in ("lru", "lfu", "random", "ttl")),
            *(f"allkeys-{how}" for how in ("lru", "lfu", "random")),
            "noeviction",
        ).read,
        "maxmemory-policy",
    ),
)
ACCEPTED: dict[str, Check] = {name: check for check, names in _ACCEPTED for name in names.split()}
