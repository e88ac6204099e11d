"""The engine at work in a sentinel: the end of a leader's process, and changes of members."""

import asyncio

from serving import eventually

from sentinel_py.core.messages import Wake
from sentinel_py.raft.guarded import Timing
from sentinel_py.raft.proposals import Outcome

from .sentinels import agreed_members, formed, group, leader_of

TIMING = Timing()


async def test_a_refused_connection_cuts_no_election_short_where_a_fence_counts_on_it(tmp_path):
    """It may be a firewall that refuses, before a leader that still gives proof of contact."""
    async with group(tmp_path) as sentinels:
        leader = await formed(sentinels)
        order = ("SENTINEL", "MONITOR", "m", "127.0.0.1", "1", "2")
        assert await leader.ask(*order) == "OK"
        order = ("SENTINEL", "SET", "m", "fence-isolated-master", "yes")
        assert await leader.ask(*order) == "OK"
        rest = [it for it in sentinels if it is not leader]
        await eventually(lambda: all(_fences(it) for it in rest))
        loop = asyncio.get_running_loop()
        killed_at = loop.time()
        await leader.kill()
        await leader_of(rest)
        passed_ms = (loop.time() - killed_at) * 1000
        assert passed_ms >= TIMING.min_election_ms - TIMING.heartbeat_ms


async def test_a_new_leader_that_cannot_change_members_yet_does_it_as_soon_as_it_can(tmp_path):
    """A leader that is removed hands over first, and the next one may not have applied all."""
    async with group(tmp_path) as sentinels:
        leader = await formed(sentinels)
        engine = leader.member.driver._engine
        change, refusals = engine.change, iter([True, True])

        def change_later(wanted, done):
            if next(refusals, False):
                done(Outcome.REFUSED, None)
            else:
                change(wanted, done)

        engine.change = change_later
        gone, *rest = [it for it in sentinels if it is not leader]
        assert await leader.raft("REMOVE", gone.address) == "OK"
        await agreed_members([leader, *rest], [leader, *rest])


async def test_a_lease_that_is_over_ends_before_anything_else_is_done(tmp_path):
    """A leader that stood still does not act as one on what it reads first when it goes on."""
    async with group(tmp_path) as sentinels:
        leader = await formed(sentinels)
        await eventually(lambda: leader.state.raft.leads)
        seen = []
        step = leader.core.step

        def look(now, event):
            seen.append((type(event).__name__, leader.state.raft.leads))
            return step(now, event)

        leader.core.step = look
        leader.member.driver._engine._election._lease_until.clear()
        leader.node.feed(Wake())
        assert seen == [("RaftView", True), ("Wake", False)]


def _fences(sentinel):
    return sentinel.state.masters["m"].shared.fence_isolated_master
