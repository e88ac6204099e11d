"""Members that were removed and come back: under a new id, into a cluster that has changed."""

from serving import eventually

from tests.raft.sentinels import agreed_members, formed, group, leader_of


async def _replace(by, member):
    """Remove a member and add it again; it is another one then."""
    assert await by.raft("REMOVE", member.address) == "OK"
    await eventually(lambda: member.phase == "removed")
    assert await by.raft("ADD", member.address) == "OK"


async def test_a_newcomer_finds_a_leader_that_is_no_founder(tmp_path):
    """Who the founders were says nothing of who is a member now: the leader may be none of them."""
    async with group(tmp_path) as sentinels:
        first = await formed(sentinels)
        second, third = (it for it in sentinels if it is not first)
        await _replace(first, second)
        await leader_of(sentinels)
        assert await first.raft("TRANSFER", second.address) == "OK"
        await eventually(lambda: second.leads)
        await _replace(second, third)
        await _replace(second, first)
        await agreed_members(sentinels, sentinels)
        assert await leader_of(sentinels) is second


async def test_what_was_said_under_an_old_id_is_no_peer(tmp_path):
    """A hello of ours that is still on its way when we get a new id does not come from a peer."""
    async with group(tmp_path) as sentinels:
        leader = await formed(sentinels)
        member = next(it for it in sentinels if it is not leader)
        assert await leader.ask("SENTINEL", "MONITOR", "m", "127.0.0.1", "1", "2") == "OK"
        former_id = member.myid
        await _replace(leader, member)
        await eventually(lambda: "m" in member.state.masters)
        hello = f"127.0.0.1,{member.port},{former_id},0,m,127.0.0.1,1,0"
        member.node.hello(hello)
        assert former_id not in member.state.masters["m"].peers
        leader.node.hello(hello)
        assert former_id in leader.state.masters["m"].peers
