"""Before a promotion on order: the replica catches up while the old master takes no writes.

``SENTINEL FAILOVER`` moves a master that is well and has clients. What it acknowledged between the
promotion and its own demotion would be lost, and so would what is still on its way to the replica:

- Writes on the master are paused (``CLIENT PAUSE ... WRITE``), in the same write as the question
  how far its history goes. The answers come in that order, so nothing is acknowledged behind it.
- The chosen replica is asked how far it is until it is there. Then it is promoted.
- The old master is demoted, its clients are cut, and only then the pause is lifted.

The rule guarded: this may save writes, and may not cost the failover. If the master refuses or does
not answer in time, the promotion goes on without, as the original's. A pause ends by itself, soon
enough that nobody whose PUBLISH and pings wait there takes the master for dead.
"""

from __future__ import annotations

from sentinel_py.core import fencing, info, requests
from sentinel_py.core.messages import ErrorReply, Level, Reply
from sentinel_py.core.model import CatchUp, DataNode, Failover, Instance, Master, Phase, Role
from sentinel_py.core.turn import Turn, master_of

PAUSE_MAX_MS = 1_000
"""Clients that wait so long for a write do not give up yet."""

PAUSE_MIN_MS = 100
"""A promotion, a log entry and a demotion take that long on a busy machine."""

_ANSWER_WAIT_MS = 200
"""From a master that is well, an answer takes no longer round the world."""

_ASK_AGAIN_MS = 5
"""Between two questions to a replica that was not there yet; a healthy one is within one."""


def attend(turn: Turn, master: Master, attempt: Failover) -> int:
    """Pause writes and ask the replica; returns when to look again, and now if nothing is left."""
    wait = attempt.catch_up
    if wait is None:
        wait = attempt.catch_up = _begin(turn, master, attempt)
    if turn.now >= wait.ends_at:
        return turn.now
    if wait.ask_at is not None and turn.now >= wait.ask_at:
        wait.ask_at = None
        assert attempt.chosen is not None
        requests.ask_offset(turn, attempt.chosen)
    return wait.ends_at if wait.ask_at is None else min(wait.ends_at, wait.ask_at)


def _begin(turn: Turn, master: Master, attempt: Failover) -> CatchUp:
    if not attempt.forced or master.is_down or not master.command.is_up:
        return CatchUp(ends_at=turn.now, pause_ends_at=turn.now)
    pause_ms = _pause_ms(master)
    requests.pause_writes(turn, master, pause_ms)
    ends_at = turn.now + min(pause_ms // 2, _ANSWER_WAIT_MS)
    return CatchUp(ends_at, pause_ends_at=turn.now + pause_ms)


def _pause_ms(master: Master) -> int:
    """One half is for the replica to catch up, and one for the promotion behind it."""
    return max(PAUSE_MIN_MS, min(master.options.down_after_ms // 2, PAUSE_MAX_MS))


def _under_way(turn: Turn, owner: Instance) -> tuple[Failover, CatchUp] | None:
    """The attempt that waits for this answer, and how."""
    attempt = master_of(owner).failover
    if attempt is None or attempt.phase is not Phase.SEND or attempt.catch_up is None:
        return None
    return (attempt, attempt.catch_up) if turn.now < attempt.catch_up.ends_at else None


def take_pause_answer(turn: Turn, owners: list[Instance], reply: Reply) -> None:
    """The old master's answer to the pause. Redis before 6.2 cannot pause writes alone."""
    master = owners[0]
    found = _under_way(turn, master)
    if found is None or not isinstance(master, Master):
        return
    _, wait = found
    if isinstance(reply.value, ErrorReply):
        text = f"Writes on {master.name} are not stopped for its failover: {reply.value.text}"
        turn.log(Level.NOTICE, text)
        wait.pause_ends_at = wait.ends_at = turn.now
        turn.touch(master)
    else:
        wait.ends_at = wait.pause_ends_at - _pause_ms(master) // 2


def take_offset(turn: Turn, owners: list[Instance], reply: Reply) -> None:
    """How far the paused master's history goes, or how far the chosen replica has come."""
    node = owners[0]
    found = _under_way(turn, node)
    if found is None or not isinstance(node, DataNode):
        return
    attempt, wait = found
    offset = _offset(reply)
    if isinstance(node, Master):
        wait.target, wait.ask_at = offset, turn.now
    elif node is attempt.chosen and wait.target is not None and offset >= wait.target:
        wait.ends_at = turn.now
    else:
        wait.ask_at = turn.now + _ASK_AGAIN_MS
    turn.touch(master_of(node))


def _offset(reply: Reply) -> int:
    """How much of the history the server has: a replica, what it has applied of it."""
    try:
        report = info.parse(reply.value if isinstance(reply.value, bytes) else b"")
    except info.InfoError:
        return 0
    return report.dataset.offset if report.role is Role.MASTER else report.offset


def is_on(turn: Turn, attempt: Failover | None) -> bool:
    """Whether writes on the old master are paused by us, or may be."""
    return bool(attempt and attempt.catch_up and turn.now < attempt.catch_up.pause_ends_at)


def is_mute(turn: Turn, node: Instance) -> bool:
    """Whether to publish nothing there: PUBLISH is a write, and all behind it waits with it."""
    return isinstance(node, Master) and is_on(turn, node.failover)


def call_off(turn: Turn, master: Master, attempt: Failover) -> None:
    """Let clients write on if the replica has not been told to be a master.

    Where members may have fenced the master, a pause can be theirs: ours ends by itself.
    """
    is_untold = attempt.phase is Phase.SEND
    if is_untold and is_on(turn, attempt) and not master.shared.fence_isolated_master:
        fencing.release(turn, master)
