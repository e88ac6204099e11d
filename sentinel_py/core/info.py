"""INFO: its text becomes a report, and a report changes what we know and do.

Rules as the original's: a reported role that differs from ours is announced; the chosen replica's
new role ends the promotion; a replica that says it is a master, or follows a stranger, is put right
once nothing suggests that we are the ones who are wrong.
"""

from __future__ import annotations

import re
from dataclasses import field
from itertools import islice

from sentinel_py.core import (
    checks,
    failover,
    fencing,
    foreign,
    identity,
    lineage,
    members,
    pauses,
    requests,
    roster,
    succession,
    upstream,
)
from sentinel_py.core.messages import Level
from sentinel_py.core.model import DataNode, Dataset, Master, Phase, Reconf, Replica, Role
from sentinel_py.core.turn import Turn, master_of
from sentinel_py.values import dataclass

_REPEAT_LOST_MS = 1_000

BYTES_MAX = 1024 * 1024
"""A hundred times what a server with a hundred replicas says. To read more would hold everything
else up for longer than a tenth of a second."""

FIELDS_MAX = roster.REPLICAS_MAX + 1_000
"""Lines that matter; sixteen databases and some thirty others are usual, beside the replicas."""

_ID_LENGTH = 40
_PATH_MAX = 4_096
_KEYSPACE = "# Keyspace"  # alone, when there is not a single key
_DATABASE = re.compile(r"db[0-9]{1,9}", re.ASCII)
_KEYS = re.compile(r"keys=([0-9]{1,18}),", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,18}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,18}", re.ASCII)  # what 64 bits hold

# One in fifteen lines matters. To find those alone takes 15 us, to split them all 165 us.
_FIELD = re.compile(
    rb"\n(# Keyspace|(?:run_id|role|loading|replica_announced|second_repl_offset|aof_enabled"
    rb"|rdb_changes_since_last_save|rdb_last_load_keys_loaded|config_file|executable"
    rb"|paused_reason|paused_timeout_milliseconds"
    rb"|master_[a-z0-9_]+|slave[a-z0-9_]+|db[0-9]+)(?=:)):?([^\r\n]*)"
)


class InfoError(ValueError):
    """An INFO whose numbers are none: whatever answers there is no Redis."""


@dataclass(slots=True)
class Report:
    """What an INFO says; fields that it lacks keep these values."""

    run_id: str = ""
    role: Role = Role.REPLICA
    replicas: list[tuple[str, int]] = field(default_factory=list)
    master_link_down_ms: int = 0
    master_host: str = ""
    master_port: int = 0
    master_link_up: bool = False
    was_never_linked: bool = False
    is_failing_over: bool = False
    pause_left_ms: int | None = None  # of CLIENT PAUSE, where a server tells that
    priority: int = 100
    offset: int = 0
    announced: bool = True
    dataset: Dataset = field(default_factory=Dataset)


def parse(text: bytes) -> Report:
    """Read the lines that matter out of an INFO; raises InfoError on broken numbers."""
    report = Report()
    fields = _fields(text)
    report.dataset = _dataset(dict(fields))
    for key, value in fields:
        match key:
            case "run_id":
                report.run_id = value[:40]
            case "role":
                report.role = Role.MASTER if value == "master" else Role.REPLICA
            case "master_link_down_since_seconds":
                # Redis says -1 until the first sync since its start is over.
                report.was_never_linked = _number(value) < 0
                report.master_link_down_ms = max(0, _number(value)) * 1000
            case "master_host":
                report.master_host = value
            case "master_port":
                report.master_port = _number(value)
            case "master_link_status":
                report.master_link_up = value == "up"
            case "master_failover_state":
                report.is_failing_over = value != "no-failover"
            case "paused_reason" if value != "client_pause":
                report.pause_left_ms = 0
            case "paused_timeout_milliseconds" if report.pause_left_ms is None:
                report.pause_left_ms = max(0, _number(value))
            case "slave_priority":
                report.priority = _number(value)
            case "slave_repl_offset":
                report.offset = _number(value)
            case "replica_announced":
                report.announced = value != "0"
            case _ if key.startswith("slave") and key[5:].isdigit():
                report.replicas.append(_replica_line(value))
    if len(report.replicas) > roster.REPLICAS_MAX:
        raise InfoError(f"{len(report.replicas)} replicas")
    return report


def _fields(text: bytes) -> list[tuple[str, str]]:
    if len(text) > BYTES_MAX:
        raise InfoError(f"INFO of {len(text)} bytes, more than {BYTES_MAX}")
    found = list(islice(_FIELD.finditer(b"\n" + text), FIELDS_MAX + 1))
    if len(found) > FIELDS_MAX:
        raise InfoError(f"INFO with more than {FIELDS_MAX} fields")
    return [(match[1].decode(), match[2].decode(errors="replace")) for match in found]


def _dataset(fields: dict[str, str]) -> Dataset:
    """What the data are; a server that says it in other words is as good as one that does not."""
    databases = [_KEYS.match(value) for key, value in fields.items() if _DATABASE.fullmatch(key)]
    counts = [int(match[1]) for match in databases if match]
    keys = sum(counts) if counts or _KEYSPACE in fields else None
    return Dataset(
        replid=fields.get("master_replid", "")[:_ID_LENGTH],
        replid2=fields.get("master_replid2", "")[:_ID_LENGTH],
        parted_offset=_count(fields.get("second_repl_offset")),
        offset=max(0, _count(fields.get("master_repl_offset"))),
        keys=keys,
        is_all_new=keys == 0 or (keys is not None and _may_have_begun_empty(keys, fields)),
        is_loading=fields.get("loading") == "1",
        is_syncing=fields.get("master_sync_in_progress") == "1",
        has_aof=fields.get("aof_enabled") == "1",
        keeps_ids="rdb_last_load_keys_loaded" in fields,
        started_as=(fields.get("config_file") or fields.get("executable", ""))[:_PATH_MAX],
    )


def _may_have_begun_empty(keys: int, fields: dict[str, str]) -> bool:
    """Whether so many keys can have been written since a start without any.

    What was loaded does not count as a change. A server with an append-only file has loaded it.
    """
    # Redis before 7.0 does not say how many keys its file had.
    loaded = _count(fields.get("rdb_last_load_keys_loaded"))
    has_loaded = fields.get("aof_enabled") == "1" or loaded > 0
    return not has_loaded and keys <= _count(fields.get("rdb_changes_since_last_save"))


def _count(text: str | None) -> int:
    return int(text) if text and _COUNT.fullmatch(text) else -1


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise InfoError(f"not a number: {text[:40]!r}")
    return int(text)


def _replica_line(value: str) -> tuple[str, int]:
    """``ip=..,port=..,state=..`` and, from old servers, ``<ip>,<port>,<state>``."""
    words = value.split(",")
    fields = dict(word.split("=", 1) for word in words if "=" in word)
    if "ip" in fields and "port" in fields:
        return fields["ip"], _number(fields["port"])
    if len(words) < 2:
        raise InfoError(f"not a replica: {value[:40]!r}")
    return words[0], _number(words[1])


def take_report(turn: Turn, node: DataNode, text: bytes) -> None:
    """Book a node's INFO and act on it; nonsense breaks the link."""
    node.info_asked_at = None
    try:
        report = parse(text)
    except InfoError as error:
        turn.log(Level.VERBOSE, f"INFO of {node.address.host}:{node.address.port}: {error}")
        turn.close(node.command)
        return
    node.info, node.info_at = text, turn.now
    if node.dataset is None or node.dataset.replid != report.dataset.replid:
        node.data_at = turn.now
    node.dataset = report.dataset
    _note_own_failover(turn, node, report)
    _note_followed(turn, node, report)
    pauses.note_left(turn, node, report.pause_left_ms)
    turn.touch(node)
    _compare_run_id(turn, node, report)
    if not _keep_one_row(turn, node):
        return
    lineage.note(turn, node, report.role)
    if isinstance(node, Master):
        _discover(turn, node, report)
    elif isinstance(node, Replica):
        _note_replica(node, report)
    _compare_role(turn, node, report.role)
    if isinstance(node, Replica) and not succession.look(turn, node):
        return
    foreign.look(turn, node)
    upstream.look(turn, master_of(node))
    if isinstance(node, Replica) and not turn.state.is_tilted:
        _act_on_replica(turn, node)


def _note_own_failover(turn: Turn, node: DataNode, report: Report) -> None:
    """A master in a FAILOVER of its own takes no writes; nobody else would say so."""
    is_news = node.is_failing_over is not report.is_failing_over
    node.is_failing_over = report.is_failing_over
    attempt = master_of(node).failover
    if is_news and isinstance(node, Master) and not (attempt and attempt.is_coordinated):
        sign = "+" if report.is_failing_over else "-"
        turn.notice(Level.WARNING, f"{sign}own-failover", node)


def _compare_run_id(turn: Turn, node: DataNode, report: Report) -> None:
    if not report.run_id or report.run_id == node.run_id:
        return
    if node.run_id:
        turn.notice(Level.NOTICE, "+reboot", node)
        if isinstance(node, Master) and node.options.reboot_down_after_ms:
            node.rebooted_at = turn.now
            turn.touch(node)
    node.run_id, node.run_id_at = report.run_id, turn.now
    if isinstance(node, Replica):
        node.corrected_at = None  # what it was told before is forgotten


def _keep_one_row(turn: Turn, node: DataNode) -> bool:
    """Drop rows that lead to a server which has one; return whether this one stays."""
    master = master_of(node)
    for twin in identity.twins(node):
        gone = identity.surplus(node, twin)
        kept = node if gone is twin else twin
        where = f"#same server as {turn.state.shown(kept.address)} {kept.address.port}"
        turn.notice(Level.WARNING, "-dup-slave", gone, where)
        identity.remember_alias(turn, master, gone.address, node.run_id)
        if master.promoted is gone:
            failover.abort(turn, master, "-failover-abort-slave-timeout")
        roster.remove_replica(turn, gone)
        turn.save_soon()
        if gone is node:
            return False
    return True


def _discover(turn: Turn, master: Master, report: Report) -> None:
    for host, port in report.replicas:
        address = roster.look_up(turn.state, host, port)
        if address is None:
            if turn.state.settings.resolve_hostnames:
                turn.resolve(host)
            continue
        if known := master.replica_at(address):
            known.listed_at = turn.now
            continue
        if len(master.replicas) >= roster.REPLICAS_MAX:
            continue
        if not 0 < port <= checks.PORT_MAX or address.same_as(master.address):
            continue
        if owner := identity.owner_of(master, address, turn.now):
            if isinstance(owner, Replica):
                owner.listed_at = turn.now
            continue
        replica = roster.add_replica(turn.state, turn.now, master, address)
        replica.is_hearsay, replica.listed_at = True, turn.now
        turn.notice(Level.NOTICE, "+slave", replica)
        turn.touch(replica)
        turn.save_soon()


def _note_followed(turn: Turn, node: DataNode, report: Report) -> None:
    node.master_link_up = False
    if report.role is not Role.REPLICA:
        return
    whom = (report.master_host, report.master_port)
    if whom != (node.master_host, node.master_port):
        node.config_changed_at = turn.now
    node.master_host, node.master_port = whom
    node.master_link_up = report.master_link_up


def _note_replica(replica: Replica, report: Report) -> None:
    replica.master_link_down_ms = report.master_link_down_ms
    replica.was_never_linked = report.was_never_linked
    if report.role is not Role.REPLICA:
        return
    replica.priority = report.priority
    replica.offset = report.offset
    replica.announced = report.announced


def _compare_role(turn: Turn, node: DataNode, role: Role) -> None:
    if role is node.role:
        return
    node.role, node.role_at = role, turn.now
    if role is Role.REPLICA:
        node.config_changed_at = turn.now
    expected = Role.MASTER if isinstance(node, Master) else Role.REPLICA
    event = "+role-change" if role is expected else "-role-change"
    turn.notice(Level.VERBOSE, event, node, f"new reported role is {role.value}")
    turn.touch(node)


def _act_on_replica(turn: Turn, replica: Replica) -> None:
    attempt = replica.master.failover
    is_awaited = (
        attempt is not None and attempt.phase is Phase.WAIT_PROMOTION and attempt.chosen is replica
    )
    if is_awaited and attempt is not None:
        if replica.role is Role.MASTER:
            failover.promoted(turn, replica.master, attempt)
        else:
            failover.not_promoted(turn, attempt)
        return
    if replica.role is Role.MASTER:
        replica.refused_at = None
        _convert(turn, replica)
    else:
        replica.demote = False
        fencing.forget(turn, replica)
        _fix_master(turn, replica)
        failover.follow_progress(turn, replica)
    failover.replica_reported(turn, replica)


def _convert(turn: Turn, replica: Replica) -> None:
    """Make a replica that says it is a master follow ours."""
    master = replica.master
    wait_ms = 4 * turn.state.constants.publish_period
    settled = replica.role_at + wait_ms < turn.now and not _was_down(turn, replica, wait_ms)
    if not (settled or _is_known_former_master(turn, replica)):
        return
    if master.promoted is replica or not _looks_sane(turn, master):
        return
    assert master.info_at is not None
    if master.info_at > replica.role_at or _is_replaced(turn, replica):
        _correct(turn, replica, "+convert-to-slave")
    elif master.info_asked_at is None:
        # The two may have changed roles, and we have heard only one of them since.
        requests.ask_info(turn, master)


def _is_known_former_master(turn: Turn, replica: Replica) -> bool:
    """A master that we saw replaced may be demoted at once, without the original's 8 seconds.

    Those protect against our own view being the stale one. So do the peers: had they seen a later
    switch, their hellos would have told us, and a majority has spoken since we reached the node.
    """
    if _is_replaced(turn, replica):
        return True
    master = replica.master
    peers = members.counted(turn.state, master)
    heard = 1 + sum(peer.heard_at > replica.command.up_at for peer in peers)
    return replica.demote and heard >= members.majority(turn.state, master)


def _is_replaced(turn: Turn, replica: Replica) -> bool:
    """Whether the Raft log says so of a former master: the leader has all that is in it."""
    return replica.demote and turn.state.raft is not None and turn.state.raft.leads


def _fix_master(turn: Turn, replica: Replica) -> None:
    """Put a replica right that follows somebody else, after everybody had time to tell us why."""
    master = replica.master
    wait_ms = master.options.failover_timeout_ms
    followed = identity.followed_by(turn.state, replica)
    if identity.is_masters(master, followed, turn.now):
        replica.corrected_at = None
        if replica.refused_at is None or replica.config_changed_at > replica.refused_at:
            # It has obeyed since then, us or another sentinel.
            replica.refused_at = None
            replica.refusals.pop("slaveof", None)
        return
    if replica.reconf is not Reconf.NONE or not _looks_sane(turn, master):
        return
    if not replica.config_changed_at + wait_ms < turn.now or _was_down(turn, replica, wait_ms):
        return
    if replica.master_link_up and (master.info_at or 0) < replica.config_changed_at:
        requests.ask_info(turn, master)  # whether it lists this replica
    elif identity.is_linked(replica):
        where = f"#follows it as {turn.state.shown(followed)} {followed.port}"
        turn.notice(Level.WARNING, "+address-differs", replica, where)
        identity.remember_alias(turn, master, followed, master.run_id)
    else:
        _correct(turn, replica, "+fix-slave-config")


def _correct(turn: Turn, replica: Replica, event: str) -> None:
    """Tell a replica whom to follow; one that does not obey is told again after a while only.

    Each time costs its clients their connections, those of other sentinels among them, who would
    each tell it again at once over a new one. What was lost with the connection is repeated sooner.
    """
    told_at = replica.corrected_at
    was_lost = replica.order is not None and told_at is not None and replica.command.up_at > told_at
    period_ms = _REPEAT_LOST_MS if was_lost else turn.state.constants.info_period
    if told_at is not None and turn.now < told_at + period_ms:
        return
    tell = failover.demote if replica.demote else requests.follow
    if tell(turn, replica):
        replica.corrected_at = turn.now
        turn.notice(Level.NOTICE, event, replica)


def _was_down(turn: Turn, replica: Replica, within_ms: int) -> bool:
    return replica.down_at is not None and turn.now <= replica.down_at + within_ms


def _looks_sane(turn: Turn, master: Master) -> bool:
    return (
        master.role is Role.MASTER
        and master.emptied_at is None
        and not master.is_down
        and not master.is_odown
        and master.info_at is not None
        and turn.now - master.info_at < 2 * turn.state.constants.info_period
    )
