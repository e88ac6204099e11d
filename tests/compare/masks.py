"""What may differ between any two sentinels: ids, ports, ages, measurements, orders of tables."""

import re

# redis-sentinel keeps these in hash tables, in an order that changes with each start: so many outer
# levels of the reply have no order.
UNORDERED = ((re.compile(r"(COMMAND|ACL CAT|ROLE)\b"), 9), (re.compile(r"SENTINEL MASTERS\b"), 1))

# The line behind one of these is its value.
VOLATILE_FIELDS = re.compile(
    r"\s*\$("
    r"runid|last-ping-sent|last-ok-ping-reply|last-ping-reply|s-down-time|o-down-time|info-refresh"
    r"|role-reported-time|last-hello-message|slave-repl-offset|link-pending-commands"
    r"|master-link-down-time|age-seconds|entry-id|timestamp-created|timestamp-last-updated"
    r"|id|version"
    r")"
)

_MEASURED = "|".join(
    (
        "redis_version|redis_git_sha1|redis_build_id|os|gcc_version|process_id|run_id|executable",
        "server_time_usec|uptime_in_seconds|hz|lru_clock|config_file|monotonic_clock",
        "connected_clients|client_recent_max_input_buffer|client_recent_max_output_buffer",
        "total_connections_received|total_commands_processed|instantaneous_ops_per_sec",
        "total_net_input_bytes|total_net_output_bytes|instantaneous_input_kbps",
        "instantaneous_output_kbps|total_error_replies|unexpected_error_replies",
        "total_reads_processed|total_writes_processed|reply_buffer_shrinks|reply_buffer_expands",
        "used_cpu_[a-z_]+",
    )
)
_CLIENT = "|".join(
    (
        "id|fd|age|idle|qbuf|qbuf-free|argv-mem|multi-mem|rbs|rbp|obl|oll|omem|tot-mem",
        "addr|laddr|events",
    )
)
# What the INFO of a Redis server says is not the sentinel's; its headings show that it is there.
_CACHED = re.compile(r"\s+(\w+:.*|:\d+|)")

_INFO_MASTER = re.compile(r"\s*master\d+:(name=.*)")

SUBSTITUTIONS = (
    (_INFO_MASTER, r"masterN:\1"),
    (re.compile(r"\b[0-9a-f]{40}\b"), "<id>"),
    (re.compile(rf"\b({_MEASURED}):.*"), r"\1:<measured>"),
    (re.compile(rf"\b({_CLIENT})=\S*"), r"\1=<measured>"),
    (re.compile(r"\bname=sentinel-[0-9a-f]{8}-cmd"), "name=sentinel-<id>-cmd"),
)


def _order_of_masters(line):
    """Sorts the last lines of INFO, one per master, and leaves the others where they are."""
    master = _INFO_MASTER.match(line)
    return master[1] if master else ""


def unordered_levels(request):
    return next((levels for pattern, levels in UNORDERED if pattern.match(request)), 0)


class Masks:
    """The masks, with the ports of this comparison under their names."""

    def __init__(self, ports):
        names = {str(port): name for port, name in ports.items()}
        self._ports = re.compile(r"\b(" + "|".join(names) + r")\b")
        self._names = names

    def apply(self, request, lines):
        if request.startswith("SENTINEL INFO-CACHE"):
            lines = [line for line in lines if not _CACHED.fullmatch(line.rstrip())]
        if request.startswith("INFO"):
            lines = sorted(lines, key=_order_of_masters)
        masked = []
        for line in lines:
            if masked and VOLATILE_FIELDS.fullmatch(masked[-1]):
                masked.append(re.sub(r"\S.*", "<measured>", line))
            else:
                masked.append(self._line(line))
        return masked

    def _line(self, line):
        line = self._ports.sub(lambda port: f"<{self._names[port[0]]}>", line.rstrip("\r"))
        for pattern, mask in SUBSTITUTIONS:
            line = pattern.sub(mask, line)
        return line
