"""The settings of the server surface as values; how a file writes them is not known here."""

from sentinel_py.acl.log import DEFAULT_MAX_ENTRIES
from sentinel_py.server.request_parser import DEFAULT_MAX_BULK_BYTES, DEFAULT_MAX_REQUEST_BYTES
from sentinel_py.values import dataclass

MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class OutputLimit:
    """When a client that does not read its replies is closed; 0 means no limit."""

    hard_bytes: int = 0
    soft_bytes: int = 0
    soft_seconds: int = 0

    @property
    def is_set(self) -> bool:
        return bool(self.hard_bytes or self.soft_bytes)

    def is_exceeded(self, waiting_bytes: int, over_soft_ms: int) -> bool:
        return 0 < self.hard_bytes <= waiting_bytes or over_soft_ms > self.soft_seconds * 1000


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Defaults are those of redis-sentinel."""

    bind: tuple[str, ...] = ("*", "-::*")  # `-` marks an address that may be absent
    port: int = 26379  # 0 means no TCP
    tls_port: int = 0
    unixsocket: str | None = None
    unixsocketperm: int = 0
    tcp_backlog: int = 511
    timeout_s: int = 0
    tcp_keepalive_s: int = 300
    maxclients: int = 10000
    protected_mode: bool = False
    normal_output_limit: OutputLimit = OutputLimit()
    pubsub_output_limit: OutputLimit = OutputLimit(32 * MEGABYTE, 8 * MEGABYTE, 60)
    client_query_buffer_limit: int = DEFAULT_MAX_REQUEST_BYTES
    proto_max_bulk_len: int = DEFAULT_MAX_BULK_BYTES
    acllog_max_len: int = DEFAULT_MAX_ENTRIES
    acl_pubsub_default_all: bool = False
