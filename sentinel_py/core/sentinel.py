"""``Sentinel.step``: the one way in and out of the core."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random
from typing import Any

from sentinel_py.core import (
    catchup,
    consensus,
    detector,
    election,
    failover,
    fencing,
    hello,
    info,
    leave,
    orders,
    overrides,
    refusals,
    roster,
    saving,
    shared_orders,
    snapshot,
)
from sentinel_py.core.messages import (
    NO_SUBSCRIPTION,
    Admit,
    Ask,
    ChannelMessage,
    Committed,
    ConfigSet,
    Consent,
    Debug,
    DirectHello,
    DownQuestion,
    DownReport,
    Effect,
    ErrorReply,
    FailOver,
    Flush,
    Input,
    Installed,
    Level,
    LinkDown,
    LinkUp,
    Monitor,
    Note,
    Order,
    ProposalEnded,
    RaftContact,
    RaftView,
    Remove,
    Reply,
    Reset,
    Resolved,
    SaveOutcome,
    SetLocal,
    SetOptions,
    SimulateFailure,
    Wake,
)
from sentinel_py.core.model import DataNode, Instance, Master, Peer, State
from sentinel_py.core.turn import Turn

_ATTENTION_MAX = 100_000
"""More looks at instances than this in one step mean that two rules undo each other for ever."""

HELD_UP_MAX_MS = 10_000
"""What a wait for our own disk may take without a TILT; after a longer one nobody knows anything
about anybody."""


class Sentinel:
    """The state and the one verb that changes it.

    ``rng`` spreads candidates in time; ``is_executable`` tells whether a script path can be run.
    """

    def __init__(
        self, state: State, rng: Random, is_executable: Callable[[str], bool] = lambda _: True
    ) -> None:
        self.state = state
        self._rng = rng
        self._is_executable = is_executable
        self._timers: list[tuple[int, int, Instance]] = []
        self._timers_made = 0
        self._stepped_at: int | None = None

    @property
    def wake_at(self) -> int:
        """When ``Wake`` is due; never more than a heartbeat after the last step."""
        timers = self._timers
        while timers and timers[0][2].due_at != timers[0][0]:
            heapq.heappop(timers)
        latest = (self._stepped_at or 0) + detector.HEARTBEAT_MS
        return min(timers[0][0], latest) if timers else latest

    def start(self, now: int) -> list[Effect]:
        """Begin to watch the masters that the configuration file named."""
        turn = self._turn(now)
        for master in self.state.masters.values():
            quorum = f"quorum {master.options.quorum}"
            turn.notice(Level.WARNING, "+monitor", master, quorum)
            overrides.say_denied_scripts(turn, master)
            for instance in master.instances():
                turn.touch(instance)
        return self._settle(turn)

    def step(self, now: int, event: Input) -> list[Effect]:
        """Take in what happened at ``now`` (ms, monotonic); returns what to do, in order."""
        turn = self._turn(now)
        self._watch_clock(turn)
        _HANDLERS[type(event)](turn, event)
        if isinstance(event, Wake):
            self._collect_due(turn)
        return self._settle(turn)

    def held_up(self, ms: int) -> None:
        """Take note that the loop has just waited so long for our own disk.

        That is no clock that jumped: what has arrived meanwhile is read before anybody is judged.
        """
        if self._stepped_at is not None:
            self._stepped_at += min(ms, HELD_UP_MAX_MS)

    def _turn(self, now: int) -> Turn:
        return Turn(now, self.state, self._rng, self._is_executable)

    def _watch_clock(self, turn: Turn) -> None:
        """TILT: for a while, do not trust a clock that jumped or a process that was stopped.

        The original compares two ticks; here a wake-up that comes too late, or a step back in
        time, says the same.
        """
        state = self.state
        constants = state.constants
        stepped_at = turn.now if self._stepped_at is None else self._stepped_at
        if state.tilt_at is None and 0 <= turn.now - stepped_at <= constants.tilt_trigger:
            return
        late_ms = turn.now - max(stepped_at, self.wake_at)
        if turn.now < stepped_at or late_ms > constants.tilt_trigger:
            state.tilt_at = turn.now
            turn.notice(Level.WARNING, "+tilt", text="#tilt mode entered")
        elif state.tilt_at is not None and turn.now >= state.tilt_at + constants.tilt_period:
            state.tilt_at = None
            turn.notice(Level.WARNING, "-tilt", text="#tilt mode exited")
            for master in state.masters.values():
                for instance in master.instances():
                    turn.touch(instance)
            consensus.tilt_ended(turn)

    def _collect_due(self, turn: Turn) -> None:
        timers = self._timers
        while timers and timers[0][0] <= turn.now:
            at, _, instance = heapq.heappop(timers)
            if instance.due_at == at:
                self._schedule(instance, detector.ring(turn, instance))

    def _settle(self, turn: Turn) -> list[Effect]:
        """Attend to everything touched, which may touch more, until nothing is left to do."""
        looks = 0
        while turn.touched:
            looks += 1
            assert looks < _ATTENTION_MAX, "the core does not settle"
            instance = next(iter(turn.touched))
            del turn.touched[instance]
            if instance in instance.command.owners:
                self._schedule(instance, detector.attend(turn, instance))
        self._stepped_at = turn.now
        return turn.effects

    def _schedule(self, instance: Instance, at: int) -> None:
        if instance.due_at != at:
            instance.due_at = at
            self._timers_made += 1
            heapq.heappush(self._timers, (at, self._timers_made, instance))


# Inputs ------------------------------------------------------------------------------------------


def _wake(_turn: Turn, _event: Wake) -> None:
    pass


def _link_up(turn: Turn, event: LinkUp) -> None:
    if link := turn.state.links.get(event.link):
        detector.link_up(turn, link, event.local_ip)


def _link_down(turn: Turn, event: LinkDown) -> None:
    if link := turn.state.links.get(event.link):
        to = link.owners[0].address
        turn.log(Level.DEBUG, f"Link {link.kind.value} of {to.host}:{to.port}: {event.reason}")
        refused = event.reason.removeprefix(NO_SUBSCRIPTION)
        if refused != event.reason:
            refusals.note_denial(turn, link.owners[0], "subscribe", ErrorReply(refused))
        detector.link_down(turn, link)


def _reply(turn: Turn, event: Reply) -> None:
    link = turn.state.links.get(event.link)
    if link is None:
        return
    link.pending -= 1
    assert link.pending >= 0, "a reply to nothing"
    if event.request.ask is Ask.PING:
        detector.pong(turn, link, event)
    else:
        if isinstance(link.owners[0], Peer):
            detector.heard_peer(turn, link, event)
        _READERS[event.request.ask](turn, link.owners, event)


def _read_nothing(_turn: Turn, _owners: list[Instance], _reply: Reply) -> None:
    pass


def _read_info(turn: Turn, owners: list[Instance], reply: Reply) -> None:
    node = owners[0]
    assert isinstance(node, DataNode)
    refusals.note_denial(turn, node, "info", reply.value)
    if isinstance(reply.value, bytes):
        info.take_report(turn, node, reply.value)


def _read_hello(turn: Turn, owners: list[Instance], reply: Reply) -> None:
    owner = _asked_about(turn, owners, reply)
    if owner is not None:
        owner.hello_asked_at = None
        refusals.note_denial(turn, owner, "publish", reply.value)
        if isinstance(reply.value, int):
            owner.hello_at = turn.now


def _read_down(turn: Turn, owners: list[Instance], reply: Reply) -> None:
    owner = _asked_about(turn, owners, reply)
    if isinstance(owner, Peer):
        election.take_answer(turn, owner, reply)


def _asked_about(turn: Turn, owners: list[Instance], reply: Reply) -> Instance | None:
    """The owner of the link that the request was about, found by name: a peer's has many."""
    if not isinstance(owners[0], Peer):
        return owners[0]
    master = turn.state.masters.get(reply.request.master)
    peer = master.peers.get(owners[0].run_id) if master else None
    return peer if peer and peer.command is owners[0].command else None


def _read_hand_over(turn: Turn, owners: list[Instance], reply: Reply) -> None:
    for owner in owners:
        if isinstance(owner, Master):
            failover.master_agreed(turn, owner, reply)


def _channel_message(turn: Turn, event: ChannelMessage) -> None:
    if link := turn.state.links.get(event.link):
        link.heard_at = turn.now
        if isinstance(owner := link.owners[0], DataNode):
            owner.refusals.pop("subscribe", None)
        if turn.state.myid not in event.payload:
            hello.receive(turn, event.payload)
        elif event.payload not in turn.state.echoes:
            hello.take_echo(turn, event.payload)


def _direct_hello(turn: Turn, event: DirectHello) -> None:
    hello.receive(turn, event.payload)


def _resolved(turn: Turn, event: Resolved) -> None:
    roster.name_resolved(turn, event.host, event.ip)
    for order in orders.name_resolved(turn, event):
        _order(turn, order)


def _save_outcome(turn: Turn, event: SaveOutcome) -> None:
    saving.take_outcome(turn, event)
    if not event.trouble:
        for master in turn.state.masters.values():
            election.ask_peers(turn, master, apart_ms=0)  # for the votes that had to wait
            turn.touch(master)


def _order(turn: Turn, event: Order) -> None:
    if not shared_orders.order(turn, event):
        _ORDERS[type(event)](turn, event)


_ORDERS: dict[type, Callable[[Turn, Any], None]] = {
    Monitor: orders.monitor,
    Remove: orders.remove,
    SetOptions: orders.set_options,
    SetLocal: orders.set_local,
    Reset: orders.reset,
    FailOver: failover.on_order,
    Admit: orders.admit,
    ConfigSet: orders.config_set,
    Debug: orders.debug,
    SimulateFailure: orders.simulate_failure,
    Flush: orders.flush,
}

_READERS: dict[Ask, Callable[[Turn, list[Instance], Reply], None]] = {
    Ask.FORGET: _read_nothing,
    Ask.LOGIN: refusals.take_login,
    Ask.FOLLOW: refusals.take_answer,
    Ask.INFO: _read_info,
    Ask.HELLO: _read_hello,
    Ask.DOWN: _read_down,
    Ask.HAND_OVER: _read_hand_over,
    Ask.FENCE: fencing.take_answer,
    Ask.PAUSE: catchup.take_pause_answer,
    Ask.OFFSET: catchup.take_offset,
}

_HANDLERS: dict[type, Callable[[Turn, Any], None]] = {
    Wake: _wake,
    LinkUp: _link_up,
    LinkDown: _link_down,
    Reply: _reply,
    ChannelMessage: _channel_message,
    DirectHello: _direct_hello,
    Resolved: _resolved,
    DownQuestion: election.answer,
    DownReport: election.take_report,
    Note: consensus.note,
    Consent: leave.take_answer,
    Committed: consensus.committed,
    Installed: snapshot.install,
    ProposalEnded: consensus.proposal_ended,
    SaveOutcome: _save_outcome,
    RaftView: consensus.view_changed,
    RaftContact: fencing.contact,
    **dict.fromkeys(_ORDERS, _order),
}
