"""What the model of redis-sentinel knows of others, and what it reads out of INFO.

Plain data and rules of the original about them; who asks and who acts is `original_host`.
"""

from enum import Enum

HELLO_CHANNEL = "__sentinel__:hello"

PING_MS = 1_000
ASK_MS = 1_000
INFO_MS = 10_000
INFO_FAST_MS = 1_000
PUBLISH_MS = 2_000
TILT_TRIGGER_MS = 2_000
TILT_MS = 30_000
LINK_PERIOD_MS = 15_000
ELECTION_TIMEOUT_MS = 10_000
RECONF_TIMEOUT_MS = 10_000
DESYNC_MS = 1_000

_LONG_AGO = -(10**9)


class Role(Enum):
    """What a Redis server is, to us or by its own word."""

    MASTER = "master"
    REPLICA = "slave"


class Phase(Enum):
    """A failover's step, as the original names it."""

    NONE = "none"
    WAIT_START = "wait_start"
    SELECT = "select_slave"
    SEND = "send_slaveof_noone"
    WAIT_PROMOTION = "wait_promotion"
    RECONF = "reconf_slaves"


class Reconf(Enum):
    """How far a replica has been pointed to the new master."""

    NONE = 0
    SENT = 1
    IN_PROGRESS = 2
    DONE = 3


class Known:
    """A Redis server or, without a role, a peer. The fields are the original's, by our names."""

    def __init__(self, role, address, now):
        self.role = role
        self.address = address
        self.link = self.channel = None
        self.tried_at = {}
        self.linked_at = now
        self.ok_at = self.hello_at = now
        self.ping_since = now
        self.pinged_at = self.hello_asked_at = self.info_asked_at = _LONG_AGO
        self.is_down = False
        self.down_at = _LONG_AGO
        # A data node's INFO
        self.info_at = _LONG_AGO
        self.told_role, self.role_at = role, now
        self.run_id = ""
        self.master_address, self.moved_at = None, now
        self.master_link_up = False
        self.link_down_ms = 0
        self.priority, self.offset = 100, 0
        self.reconf, self.reconf_at = Reconf.NONE, 0
        # A peer's answers
        self.says_down = False
        self.leader, self.leader_epoch = None, 0
        self.answered_at = self.asked_at = _LONG_AGO

    @property
    def is_connected(self):
        return self.link is not None and self.link.is_up

    def close(self):
        for link in (self.link, self.channel):
            if link:
                link.close()


def read_info(it, text, now):
    """Book what a server says of itself; returns the addresses of the replicas that it names."""
    fields = dict(line.split(":", 1) for line in text.decode().splitlines() if ":" in line)
    it.info_at = now
    it.run_id = fields.get("run_id", it.run_id)
    role = Role(fields["role"])
    if role is not it.told_role:
        it.told_role, it.role_at = role, now
        it.moved_at = now
    it.link_down_ms = 1000 * max(0, int(fields.get("master_link_down_since_seconds", 0)))
    if role is Role.REPLICA and "master_host" in fields:
        address = fields["master_host"], int(fields["master_port"])
        if address != it.master_address:
            it.master_address, it.moved_at = address, now
        it.master_link_up = fields["master_link_status"] == "up"
        it.priority, it.offset = int(fields["slave_priority"]), int(fields["slave_repl_offset"])
    rows = [fields[f"slave{n}"] for n in range(int(fields.get("connected_slaves", 0)))]
    return [_address(row) for row in rows]


def _address(row):
    words = dict(pair.split("=") for pair in row.split(","))
    return words["ip"], int(words["port"])


def choose(replicas, master, now, down_after_ms):
    """The replica to promote, by the original's filters and order; None if there is none."""
    info_age_max_ms = 5 * PING_MS if master.is_down else 3 * INFO_MS
    link_down_max_ms = (now - master.down_at if master.is_down else 0) + 10 * down_after_ms
    good = [
        it
        for it in replicas
        if it.is_connected
        and not it.is_down
        and now <= it.ok_at + 5 * PING_MS
        and it.priority
        and now <= it.info_at + info_age_max_ms
        and it.link_down_ms <= link_down_max_ms
    ]
    return min(good, key=lambda it: (it.priority, -it.offset, it.run_id), default=None)
