"""Fencing: without a majority, stop writes on a master that may have been replaced.

A partition can leave a master with clients and a minority of the Raft cluster. What it acknowledges
after the majority has promoted another one is lost. With ``fence-isolated-master yes`` it is not:

- A member knows until when no other leader can have been at work (``contact_at``). The leader knows
  it by its lease. A follower asks the leader, which answers while it has the lease; what counts is
  the instant of the question, so it does not matter how long the answer took or where it waited.
- A member whose contact is older than the fence lease pauses writes on the master that it reaches.
- The leader promotes when each silent member must have done that. It gave its last proof to a
  member when it answered, and that question was asked earlier. Proofs that others gave are older
  than its lease: while an earlier leader had its own, nobody else could be elected. So a member
  that was not heard since then counts as heard in that instant.
- A member that only others can reach asks through them, lest one broken link stop a master. It
  would not hear of a switch in time, so it gets no such answers while there may be one.

The rule guarded: of these two waits, the one for the promotion is always the longer one. It holds
for members that live. One that is dead, or stopped together with its master, fences nothing. And a
master that hangs reads the order when it goes on, maybe behind writes that have waited with it.
"""

from __future__ import annotations

from sentinel_py.core import failover, pauses, requests
from sentinel_py.core.messages import Ask, ErrorReply, Level, RaftContact, Reply, Request
from sentinel_py.core.model import (
    DataNode,
    Fence,
    Instance,
    Master,
    Phase,
    Raft,
    Replica,
    State,
)
from sentinel_py.core.turn import NEVER, Turn, master_of

LEASE_MAX_MS = 1_000
"""More than an election takes, so that the loss of the leader alone stops no writes."""

LEASE_MIN_MS = 250
"""Less would be over before a second question to the leader has been answered."""

FIRST_CONTACT_MS = 3_000
"""How long after a start the others may take to be found, to elect and to answer, before a member
without contact fences. Hosts are not started in the same second, and an election that splits takes
one and a half. Nobody's promotion counts on a member that has just been started."""

SILENT_AFTER_MS = 250
"""Members ask the leader every 100 ms: who has missed two of these is not in contact."""

MARGIN_MS = 100
"""For the way of the order to pause: a round trip to the master, and a busy member."""

_DRIFT = 100
"""One part in so many is how much faster another host's clock may run than ours."""

PAUSE_MS = pauses.LONGEST_MS
"""A pause ends by itself after so long if nobody is left to end or to renew it."""

_RENEW_MS = PAUSE_MS // 2

LEFT_MS = 60_000
"""For so long a pause that a process has ordered before it died may still be on its way: what it
has sent into a broken network is sent again by its host, and arrives when that is whole."""

LEFT_EVERY_MS = 500
"""Writes stand no longer than that because of such a pause."""


def is_wanted(state: State) -> bool:
    """Whether contact with a majority matters to any master."""
    return any(master.shared.fence_isolated_master for master in state.masters.values())


def lease_ms(master: Master) -> int:
    """How old a member's contact may become before it fences.

    Of the shared options, so that all members hold the same. With a margin and an election before
    it, a third of down-after is over before the master counts as down.
    """
    return max(LEASE_MIN_MS, min(master.shared.down_after_ms // 3, LEASE_MAX_MS))


def contact(turn: Turn, event: RaftContact) -> None:
    raft = turn.state.raft
    assert raft is not None
    if raft.contact_at is None:
        _expect_pauses(turn)
    raft.contact_at = max(event.at, raft.contact_at or event.at)
    raft.is_current = event.is_current and (raft.leads or not raft.has_lease)
    raft.heard_at, raft.relayed_at = dict(event.heard), dict(event.relayed)
    for master in turn.state.masters.values():
        attempt, fence = master.failover, master.fence
        is_paused = fence.asked_at is not None or fence.left is not None
        if is_paused or (attempt and attempt.phase is Phase.SEND):
            turn.touch(master)
        is_sure = raft.is_current and turn.now < raft.contact_at + lease_ms(master)
        if is_sure and not turn.state.is_tilted:
            _demote_formers(turn, master)


def _expect_pauses(turn: Turn) -> None:
    """Have pauses ended that an earlier life of ours may have left behind, as its file says."""
    for master in turn.state.masters.values():
        if master.fence.was_left:
            master.fence.left = turn.now + LEFT_MS, turn.now
            turn.touch(master)


def _demote_formers(turn: Turn, master: Master) -> None:
    """Demote what we have fenced and the log has replaced.

    Not at the switch: who catches up on the log meets several, and the last one alone is true.
    """
    for former in master.replicas.values():
        if former.demote and former.fence.asked_at is not None and former.command.is_up:
            failover.demote_at_once(turn, former)


# A member without a majority ---------------------------------------------------------------------


def attend(turn: Turn, master: Master) -> int:
    """Fence, renew the fence, or lift it; returns when to look again. In TILT, too: it is safe."""
    raft = turn.state.raft
    is_wanted_here = master.shared.fence_isolated_master
    if raft is None or turn.state.myid not in raft.members or not is_wanted_here:
        _lift(turn, master)
        return NEVER
    lost_at = _contact_ends_at(turn, raft, master)
    if turn.now >= lost_at:
        return _hold(turn, master)
    # A pause is the server's, whoever asked for it: a member out of contact may rely on the same
    # one, until the failover that has begun has demoted this master.
    if raft.is_current and master.mandate is None:
        _lift(turn, master)
        return min(lost_at, _lift_left(turn, master))
    return lost_at


def _lift_left(turn: Turn, master: Master) -> int:
    """End what an earlier life of ours may have left, as often as it may arrive."""
    fence = master.fence
    if fence.left is None:
        return NEVER
    until, again_at = fence.left
    if turn.now >= until:
        master.fence = Fence()
        turn.save_soon()
        return NEVER
    if turn.now >= again_at:
        release(turn, master)
        again_at = turn.now + LEFT_EVERY_MS
        fence.left = until, again_at
    return again_at


def _contact_ends_at(turn: Turn, raft: Raft, master: Master) -> int:
    """When we have to fence; after a start, which nobody counts upon, once it has had its time.

    What the file names may have been replaced before.
    """
    if raft.contact_at is not None:
        return raft.contact_at + lease_ms(master)
    if raft.joined_at is None:
        raft.joined_at = turn.now
    return raft.joined_at + FIRST_CONTACT_MS


def claimed(turn: Turn, master: Master) -> None:
    """A failover has begun: whoever reaches the master stops its writes, and demotes it later.

    The leader may be the one that is cut off from it, and clients on our side may not be. It ends
    when the failover does, in ``attend``, or with the demotion.
    """
    raft = turn.state.raft
    is_member = raft is not None and turn.state.myid in raft.members
    if is_member and master.shared.fence_isolated_master:
        _hold(turn, master)


def _hold(turn: Turn, master: Master) -> int:
    fence, link = master.fence, master.command
    fence.is_ending = False
    if not link.is_up:
        return NEVER
    renew_at = turn.now
    if fence.asked_at is not None and link.up_at <= fence.asked_at:
        renew_at = fence.asked_at + _RENEW_MS
    if turn.now < renew_at:
        return renew_at
    if fence.asked_at is None:
        turn.save_early()  # that a pause may be left behind
    fence.asked_at = turn.now
    _order(turn, master, "PAUSE", str(PAUSE_MS), "WRITE", ask=Ask.FENCE)
    return turn.now + _RENEW_MS


def _lift(turn: Turn, master: Master) -> None:
    """End the pause. Without a connection that waits for the next one, as the master does."""
    fence = master.fence
    if fence.asked_at is None:
        return
    if not master.command.is_up and turn.now < fence.asked_at + PAUSE_MS:
        fence.is_ending = True
        return
    master.fence = Fence(was_left=fence.was_left, left=fence.left)
    turn.save_soon()
    release(turn, master)
    if fence.is_on:
        turn.notice(Level.WARNING, "-fence", master)


def take_answer(turn: Turn, owners: list[Instance], reply: Reply) -> None:
    """The master's answer to a pause. Redis before 6.2 cannot pause writes alone, and refuses."""
    master = owners[0]
    if not isinstance(master, Master) or master.fence.asked_at is None:
        return
    fence = master.fence
    if isinstance(reply.value, ErrorReply):
        if not fence.is_refused:
            fence.is_refused = True
            text = f"Writes on {master.name} cannot be stopped: {reply.value.text}"
            turn.log(Level.WARNING, text)
    elif not fence.is_on:
        fence.is_on = True
        turn.notice(Level.WARNING, "+fence", master)
        requests.ask_info(turn, master)  # its offset is a final one now


def forget(turn: Turn, replica: Replica) -> None:
    """It takes no writes anyhow; but it may be promoted before our pause has run out."""
    if replica.fence.asked_at is not None:
        replica.fence = Fence()
        release(turn, replica)


def release(turn: Turn, node: DataNode) -> None:
    """End a pause, unless it is not ours to end: then what we have asked for runs out by itself.

    Not within a transaction, which a server without this word would refuse.
    """
    if node.command.is_up and not pauses.is_others(turn, node):
        _order(turn, node, "UNPAUSE")


def _order(turn: Turn, node: DataNode, *words: str, ask: Ask = Ask.FORGET) -> None:
    master = master_of(node)
    name = master.options.renamed.get("client", "CLIENT")
    turn.send(node.command, Request((name, *words), ask, master.name))


def is_mute(node: Instance) -> bool:
    """Whether to publish nothing there: PUBLISH waits on a paused server, and all behind it."""
    is_fenced = isinstance(node, Master) and node.fence.asked_at is not None
    return is_fenced or is_former(node)


def is_former(node: Instance) -> bool:
    """Whether this master was replaced, maybe paused by others, and has not been demoted yet."""
    is_demoted_later = isinstance(node, Replica) and node.demote
    return is_demoted_later and master_of(node).shared.fence_isolated_master


def is_urgent(node: Instance) -> bool:
    """Whether writes or clients wait for the next connection to it."""
    return (isinstance(node, Master) and node.fence.is_ending) or is_former(node)


# The leader that promotes ------------------------------------------------------------------------


def clear_at(turn: Turn, master: Master) -> int:
    """When no member can let the old master take writes without knowing of its successor."""
    raft = turn.state.raft
    if raft is None or not master.shared.fence_isolated_master:
        return turn.now
    lease = lease_ms(master)
    wait_ms = lease + lease // _DRIFT + MARGIN_MS
    return max([turn.now, *(at + wait_ms for at in _last_words(turn, raft))])


def _last_words(turn: Turn, raft: Raft) -> list[int]:
    """When the silent members can have been given their last proof of contact.

    Those that we answer through others only are silent, too: they would not hear of the switch.
    """
    found = []
    for member in raft.members:
        heard_at = raft.heard_at.get(member, 0)
        is_silent = heard_at < raft.led_at or turn.now >= heard_at + SILENT_AFTER_MS
        if member != turn.state.myid and is_silent:
            found.append(max(heard_at, raft.relayed_at.get(member, 0), raft.led_at))
    return found
