"""Is it alive? Links kept open, PING, INFO and hello sent in time, SDOWN at its exact deadline.

``attend`` is called for an instance when something about it changed, and when its time has come for
more than a ping, which is ``ring``'s. Both do what is due and say when to look again; there is no
period in which everybody is visited.
"""

from __future__ import annotations

from sentinel_py.core import (
    catchup,
    consensus,
    election,
    failover,
    fencing,
    former,
    lineage,
    refusals,
    requests,
    rescue,
    roster,
    upstream,
)
from sentinel_py.core.messages import ErrorReply, Level, Open, Reply
from sentinel_py.core.model import (
    Constants,
    DataNode,
    Instance,
    Link,
    LinkKind,
    LinkState,
    Master,
    Peer,
    Phase,
    Reconf,
    Replica,
    Role,
)
from sentinel_py.core.rhythm import CROWD, GRID_MS, due_after, on_grid, ping_period_ms
from sentinel_py.core.roster import numeric_ip
from sentinel_py.core.turn import NEVER, Turn, links_of, mark_down, master_of

HEARTBEAT_MS = 500
"""The longest sleep, so that a jump of the clock is noticed soon."""

ATTEND_MS = 2_000
"""Nobody is left unattended longer, which bounds what a missed ``touch`` can cost."""

PENDING_MAX = 100
"""Unanswered requests per owner of a link before nothing more is asked on it."""

OPENS_MAX = 20
"""Links opened in one step, which take 5 ms. Opened all at once, those of 1,000 masters kept the
loop busy for so long that replicas were taken for dead before they were first asked."""

_OPENS_APART_MS = 10
_CROWD_RETRY_MS = 1_000  # half of a crowd may be down, and the living wait meanwhile
_BUSY_INFO_MS = 100
_RETRY_INFO_MS = 1_000
_PATIENCE_MIN_MS = 200
_PATIENCE_WHEN_DOWN_MS = 2_000
_URGENT_RETRY_MS = 250  # a connection repeats its first packet after a second only

_URGENT_BACK_OFF_MS = 1_000

_FRUITLESS_MS = 250, 10_000
"""A connection that came up and brought no good answer is followed by the next one after so long,
doubled each time: the password may be wrong, or the server hangs."""


def attend(turn: Turn, instance: Instance) -> int:
    """Do what is due for the instance; returns when it has to be looked at again."""
    again_at = turn.now + ATTEND_MS
    instance.period_ms = ping_period_ms(turn.state, instance)
    for link in links_of(instance):
        again_at = min(again_at, _keep_link(turn, instance, link))
    if isinstance(instance, Master):
        again_at = min(again_at, fencing.attend(turn, instance))
    ping_at = instance.hello_due_at = NEVER
    if instance.command.state is LinkState.UP and not _is_full(instance.command):
        ping_at = _ping_due(turn, instance)
        if isinstance(instance, DataNode):
            again_at = min(again_at, _info_due(turn, instance))
        instance.hello_due_at = _hello_due(turn, instance)
    if not turn.state.is_tilted:
        again_at = min(again_at, _check_down(turn, instance))
        if isinstance(instance, Master):
            again_at = min(again_at, election.attend(turn, instance))
            consensus.attend(turn, instance)
            again_at = min(again_at, rescue.attend(turn, instance))
            again_at = min(again_at, failover.attend(turn, instance))
    instance.attend_at = again_at
    return max(min(again_at, ping_at, instance.hello_due_at), turn.now + 1)


def ring(turn: Turn, instance: Instance) -> int:
    """The instance's time has come: a ping and a hello, if that is all, cost a tenth of ``attend``.

    Every other ping has a hello beside it. With 300 masters, the core saves 0.15 of its work so.
    """
    link = instance.command
    if link.state is not LinkState.UP or link.ping_since not in (None, turn.now):
        if link.owners[0] is instance:
            for other in link.owners[1:]:
                turn.touch(other)  # it relies on the first one's pings, and has its own deadline
        return attend(turn, instance)
    early_at = turn.now + _early_ms(instance)
    if early_at >= instance.attend_at:
        return attend(turn, instance)
    ping_at = _ping_due(turn, instance)
    if early_at >= instance.hello_due_at:
        instance.hello_due_at = _hello_due(turn, instance)
    return min(ping_at, instance.hello_due_at, instance.attend_at)


# Links -------------------------------------------------------------------------------------------


def _keep_link(turn: Turn, instance: Instance, link: Link) -> int:
    if link.state is LinkState.DOWN:
        return _reopen(turn, instance, link)
    ends_at = overdue_at(turn, instance, link)
    if turn.now < ends_at:
        return ends_at
    if turn.state.is_tilted:
        return NEVER
    turn.close(link, is_hung=True)
    return _reopen(turn, instance, link)


def overdue_at(turn: Turn, instance: Instance, link: Link) -> int:
    """When silence on a link means that it is dead, though no error says so."""
    is_up = link.state is LinkState.UP
    if is_up and link.kind is LinkKind.CHANNEL:
        quiet_ms = 3 * turn.state.constants.publish_period
        if link.heard_at < link.up_at:
            quiet_ms = max(quiet_ms, _back_off_ms(instance, link.fruitless + 1))
        return max(link.heard_at, link.up_at) + quiet_ms
    if is_up and link.ping_since is None:
        return NEVER
    patience_ms = max(_PATIENCE_MIN_MS, master_of(instance).options.down_after_ms // 2)
    if fencing.is_urgent(instance):
        patience_ms = _URGENT_RETRY_MS
    elif instance.is_down:
        patience_ms = max(patience_ms, _PATIENCE_WHEN_DOWN_MS)
    elif link.pending > PENDING_MAX:
        patience_ms *= 2  # a peer that has so much to answer is busy, and would have more to
    if not is_up:
        assert link.tried_at is not None
        return link.tried_at + patience_ms
    assert link.ping_since is not None
    since = max(link.heard_at, link.ping_since, link.up_at)
    if link.ok_at >= link.up_at:
        return since + patience_ms
    # Open until the next one may be opened: a server that goes on answers on it. One on which there
    # are errors alone ends, too, for there may be another password by now.
    patience_ms = max(patience_ms, _back_off_ms(instance, link.fruitless + 1))
    return min(since + patience_ms, link.up_at + _FRUITLESS_MS[1])


def _back_off_ms(instance: Instance, fruitless: int) -> int:
    """How long to leave a server alone after so many connections that brought nothing."""
    first_ms, longest_ms = _FRUITLESS_MS
    if fruitless == 0:
        return 0
    if fencing.is_urgent(instance):
        longest_ms = _URGENT_BACK_OFF_MS
    return min(first_ms << min(fruitless - 1, 8), longest_ms)


def _reopen(turn: Turn, instance: Instance, link: Link) -> int:
    was_lost = instance.is_down or (link.up_at > 0 and link.tried_at is not None)
    if was_lost and link.kind is LinkKind.CHANNEL and not instance.command.is_up:
        return NEVER  # the command link finds out when there is somebody again
    retry_ms = max(_retry_ms(turn, instance), _back_off_ms(instance, link.fruitless))
    address = instance.address
    if link.tried_at is not None and turn.now < link.tried_at + retry_ms:
        return link.tried_at + retry_ms
    if address.port == 0:
        return NEVER
    turn.opens += 1
    if turn.opens > OPENS_MAX:
        return turn.now + _OPENS_APART_MS * (turn.opens // OPENS_MAX)
    if _is_untried(instance):
        link.ok_at = turn.now
    link.tried_at = turn.now
    if turn.state.settings.resolve_hostnames and numeric_ip(address.host) is None:
        turn.resolve(address.host)
    if address.ip:
        link.state = LinkState.CONNECTING
        if link.ping_since is None:
            link.ping_since = turn.now
        turn.effects.append(Open(link.id, link.kind, address.ip, address.port))
    return turn.now + retry_ms


def _is_untried(instance: Instance) -> bool:
    """Whether nothing can be said of the instance yet, since there was no time to connect to it."""
    link = instance.command
    is_new = link.tried_at is None and link.up_at == 0
    return is_new and not instance.is_down and instance.address.port != 0


def _retry_ms(turn: Turn, instance: Instance) -> int:
    if fencing.is_urgent(instance):
        return min(instance.period_ms, _URGENT_RETRY_MS)
    if instance.is_down and len(turn.state.links) > CROWD:
        return max(instance.period_ms, _CROWD_RETRY_MS)
    is_well = isinstance(instance, Master) and not instance.is_down
    if is_well and lineage.protects(turn.state, master_of(instance)):
        return min(instance.period_ms, rescue.RECONNECT_MS)
    return instance.period_ms


def link_up(turn: Turn, link: Link, local_ip: str) -> None:
    link.state = LinkState.UP
    link.up_at = turn.now
    link.local_ip = local_ip
    if roster.drop_ourselves(turn, link):
        return
    turn.send(link, *requests.greeting(turn, link))
    if link.kind is LinkKind.COMMAND:
        requests.ping(turn, link.owners[0])
    for owner in link.owners:
        turn.touch(owner)
        if isinstance(owner, Peer):
            election.peer_connected(turn, owner)
        elif isinstance(owner, DataNode) and link is owner.command:
            requests.ask_info(turn, owner)


def link_down(turn: Turn, link: Link) -> None:
    mark_down(link)
    for owner in link.owners:
        turn.touch(owner)


# What is sent in time ----------------------------------------------------------------------------


def _is_full(link: Link) -> bool:
    return link.pending >= PENDING_MAX * len(link.owners)


def _ping_due(turn: Turn, instance: Instance) -> int:
    link = instance.command
    period_ms = instance.period_ms
    first = link.owners[0]
    if first is not instance and period_ms >= first.period_ms:
        return NEVER  # one row of a shared link pings for all
    grid_ms = max(1, min(GRID_MS, period_ms // 5))
    if link.pinged_at is not None:
        due_at = due_after(turn.state, link, link.pinged_at, period_ms, grid_ms)
        if turn.now < due_at:
            return due_at
    requests.ping(turn, instance)
    return due_after(turn.state, link, turn.now, period_ms, grid_ms)


def _info_due(turn: Turn, node: DataNode) -> int:
    due_at = _next_info_at(turn, node)
    if turn.now < _with_ping(turn, node, due_at) or node.info_at == turn.now < due_at:
        return due_at  # with the ping, but not again as soon as it is answered
    requests.ask_info(turn, node)
    return turn.now + _RETRY_INFO_MS


def _next_info_at(turn: Turn, node: DataNode) -> int:
    if node.info_asked_at is not None:
        return node.info_asked_at + _RETRY_INFO_MS
    if node.info_at is None:
        return turn.now
    if lineage.is_in_doubt(turn.state, node):
        return node.info_at + _BUSY_INFO_MS
    period_ms = _info_period_ms(turn.state.constants, node)
    return due_after(turn.state, node.command, node.info_at, period_ms)


def _info_period_ms(constants: Constants, node: DataNode) -> int:
    """Replicas are read more often while their state decides or shows the course of a failover.

    So is whoever takes no writes for a FAILOVER of its own: PUBLISH is one, and hellos wait for its
    end.
    """
    if node.is_failing_over:
        return _RETRY_INFO_MS
    if not isinstance(node, Replica):
        # One that says it is a replica: whom it follows may be the master now.
        return constants.ping_period if node.role is Role.REPLICA else constants.info_period
    master = node.master
    attempt = master.failover
    if node.reconf in (Reconf.SENT, Reconf.IN_PROGRESS) or (
        attempt and attempt.phase is Phase.WAIT_PROMOTION and attempt.chosen is node
    ):
        return _BUSY_INFO_MS
    is_in_trouble = master.is_down or master.emptied_at is not None
    is_unlinked = node.role is Role.REPLICA and not node.master_link_up
    if is_in_trouble or attempt or is_unlinked or node.demote:
        return _RETRY_INFO_MS
    return constants.info_period


def _hello_due(turn: Turn, instance: Instance) -> int:
    is_stopped = isinstance(instance, DataNode) and instance.is_failing_over
    if is_stopped or fencing.is_mute(instance) or catchup.is_mute(turn, instance):
        return NEVER
    period_ms = turn.state.constants.publish_period
    link = instance.command
    if isinstance(instance, Peer):
        link = instance.master.command  # the peer's own has a row for each master
    due_at = due_after(turn.state, link, instance.hello_at, period_ms)
    if isinstance(instance, Peer):
        due_at = on_grid(due_at)
    if instance.hello_asked_at is not None:
        due_at = max(due_at, instance.hello_asked_at + period_ms)
    if turn.now < _with_ping(turn, instance, due_at):
        return due_at
    requests.say_hello(turn, instance)
    return turn.now + period_ms


def _with_ping(turn: Turn, instance: Instance, due_at: int) -> int:
    """What is due before the next ping leaves with this one: one write and one read for both."""
    if instance.command.pinged_at != turn.now:
        return due_at
    return due_at - _early_ms(instance)


def _early_ms(instance: Instance) -> int:
    """Less than from ping to ping, lest lateness make two hellos of one."""
    return max(0, instance.period_ms - 2 * GRID_MS)


def pong(turn: Turn, link: Link, reply: Reply) -> None:
    """Book a ping's reply; an instance is alive by ``+PONG``, ``-LOADING`` and ``-MASTERDOWN``."""
    value = reply.value
    link.heard_at = turn.now
    is_pong = isinstance(value, bytes) and value.startswith(b"PONG")
    error = value.text if isinstance(value, ErrorReply) else ""
    if is_pong or error.startswith(("LOADING", "MASTERDOWN")):
        link.ok_at = turn.now
        link.ping_since = None
    for owner in link.owners:
        if isinstance(owner, DataNode) and (error or owner.refusals):
            refusals.note_denial(turn, owner, "ping", value)
        if isinstance(owner, Master):
            _book_state(turn, owner, is_pong=is_pong, is_loading=error.startswith("LOADING"))
        if owner.is_down:
            turn.touch(owner)
            if error.startswith("BUSY") and isinstance(owner, DataNode) and not owner.script_killed:
                owner.script_killed = True
                requests.kill_script(turn, owner)


def heard_peer(turn: Turn, link: Link, reply: Reply) -> None:
    """Book any other answer of a peer, which has many to give when many masters die at once.

    It is alive, though its answer to a ping stands behind a hundred votes. Given up for silent, it
    would be asked for all of them again.
    """
    link.heard_at = turn.now
    if not isinstance(reply.value, ErrorReply):
        link.ok_at = turn.now


def _book_state(turn: Turn, master: Master, *, is_pong: bool, is_loading: bool) -> None:
    if is_pong:
        master.rebooted_at = master.loading_at = None
    elif is_loading and master.loading_at is None:
        master.loading_at = turn.now
        turn.touch(master)


# SDOWN -------------------------------------------------------------------------------------------


def _check_down(turn: Turn, instance: Instance) -> int:
    down_at = min(_silence_ends_at(turn, instance), _misbehaviour_ends_at(turn, instance))
    is_down = turn.now >= down_at
    if is_down and not instance.is_down:
        _enter_sdown(turn, instance)
    elif instance.is_down and not is_down:
        _leave_sdown(turn, instance)
    return NEVER if is_down else down_at


def _silence_ends_at(turn: Turn, instance: Instance) -> int:
    """When silence becomes SDOWN: down-after since the last good reply.

    On an open link a ping must have been waiting for half of that, lest a stall of our own, in
    which nothing was asked, be taken for the instance's. Of a peer, each good reply counts.
    """
    link = instance.command
    down_after_ms = master_of(instance).options.down_after_ms
    if not link.is_up:
        return NEVER if _is_untried(instance) else link.ok_at + down_after_ms
    if link.ping_since is None or link.ping_since == turn.now:
        return NEVER  # whether a ping was answered is looked at when the next one is due
    return max(link.ok_at + down_after_ms, link.ping_since + down_after_ms // 2)


def _misbehaviour_ends_at(turn: Turn, instance: Instance) -> int:
    """A master that reports to be a replica, or that loads for too long, is down."""
    if not isinstance(instance, Master):
        return NEVER
    down_at = NEVER
    options = instance.options
    if instance.role is Role.REPLICA and not upstream.outside(turn.state, instance, turn.now):
        info_period_ms = turn.state.constants.info_period
        down_at = instance.role_at + options.down_after_ms + 2 * info_period_ms
    if instance.rebooted_at is not None:
        down_at = min(down_at, instance.rebooted_at + options.reboot_down_after_ms)
    if instance.loading_at is not None and options.loading_down_after_ms:
        down_at = min(down_at, instance.loading_at + options.loading_down_after_ms)
    return down_at


def _enter_sdown(turn: Turn, instance: Instance) -> None:
    instance.is_down = True
    instance.down_at = turn.now
    turn.notice(Level.WARNING, "+sdown", instance)
    if isinstance(instance, Master):
        former.bring_back(turn, instance)
        requests.refresh_replicas(turn, instance)
        election.ask_peers(turn, instance, apart_ms=0)
        election.check_odown(turn, instance)
    elif isinstance(instance, Peer):
        election.peer_lost(turn, instance)
    else:
        turn.touch(master_of(instance))


def _leave_sdown(turn: Turn, instance: Instance) -> None:
    instance.is_down = False
    turn.notice(Level.WARNING, "-sdown", instance)
    if isinstance(instance, DataNode):
        instance.script_killed = False
    if isinstance(instance, Master):
        election.tell_members(turn, instance)
        election.check_odown(turn, instance)
    elif isinstance(instance, Peer):
        election.peer_connected(turn, instance)
