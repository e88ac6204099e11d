"""The engine at work in a sentinel: what it makes of the end of a leader's process."""

import asyncio

from serving import eventually

from sentinel_py.raft.guarded import Timing

from .sentinels import formed, group, leader_of

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


def _fences(sentinel):
    return sentinel.state.masters["m"].shared.fence_isolated_master
