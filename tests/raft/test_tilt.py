"""A Raft leader in TILT: it may start no failover, so it does not keep the lead."""

from serving import eventually

from tests.raft import sentinels


async def test_a_leader_in_tilt_lets_another_one_lead(tmp_path):
    """Whoever leads when its clock leaps hands the lead to a member whose clock is well."""
    async with sentinels.group(tmp_path) as members:
        leader = await sentinels.formed(members)
        leader.state.tilt_at = leader.now()
        await eventually(lambda: any(it.leads for it in members if it is not leader))


async def test_leaders_in_tilt_do_not_pass_the_lead_on_for_ever(tmp_path):
    """Where all are in TILT, the lead moves once from each, and then rests for a while."""
    async with sentinels.group(tmp_path) as members:
        leader = await sentinels.formed(members)
        term = leader.status.term
        for member in members:
            member.state.tilt_at = member.now()
        await eventually(lambda: max(it.status.term for it in members) > term)
        leader = await sentinels.leader_of(members)
        assert leader.status.term <= term + len(members)
