"""When the master of a minority must not take writes: at the moment its successor is promoted.

Judged are only members about which there is no doubt: they run as they should, have been without a
majority for long enough, and the master has answered a moment ago, also what came behind the order
to pause. One that hangs, or that the order cannot reach, takes no writes while that lasts. The rule
it guards: what a member should have done is worked out from what happened to it, not from what it
says.
"""

from .violation import Violation

LEASE_MIN_MS, LEASE_MAX_MS = 250, 1_000
"""A third of down-after, within these: so long a member without a majority lets writes be. A leader
had contact until it lost the majority; others had it earlier, and have the same time here."""

ORDER_MS = 150

STEADY_MS = 5_000
ANSWERED_MS = 1_500


def check_promotion(cluster, leader, master):
    """End the run if a promotion is ordered while the old master takes writes, though a member
    that reaches it knows of no majority. One that the leader reaches, too, is replaced while it is
    well: its clients are not left behind, and whoever has contact may let them write till then."""
    old = cluster.redis_at((master.address.ip, master.address.port))
    if old is None or old.server is None or old.server.master or old.server.is_paused:
        return
    if master.command.is_up and not master.is_down:
        return
    for sentinel in cluster.ours:
        life = sentinel.life
        if life and life is not leader and _should_fence(cluster.world, life, master.name, old):
            raise Violation(
                "an isolated master is fenced", f"{life.name} lets {old.name} take writes"
            )


def _should_fence(world, life, name, old):
    raft, master = life.state.raft, life.state.masters.get(name)
    if not life.is_member or master is None or raft.has_majority or raft.lost_at is None:
        return False
    link = master.command
    lease_ms = max(LEASE_MIN_MS, min(master.options.down_after_ms // 3, LEASE_MAX_MS))
    is_here = (master.address.ip, master.address.port) == old.address
    is_steady = all(
        world.scheduler.now_us >= it.disturbed_us + STEADY_MS * 1000
        for it in (life.process, old.server.process, world.network)
    )
    last_order_at = max(raft.lost_at + lease_ms, link.up_at)
    is_told = link.is_up and link.ok_at >= max(last_order_at + ORDER_MS, life.now() - ANSWERED_MS)
    return is_here and is_steady and is_told
