"""Sentinels as members: formation, change of leader, members in and out, restarts."""

import json

import pytest
from serving import eventually

from sentinel_py.raft.files import Files, RaftError
from sentinel_py.raft.identity import Identity, Phase
from sentinel_py.raft.questions import Removed, Yes
from sentinel_py.raft.storage import LocalStorage

from .sentinels import InProcess, agreed_members, formed, group, ids, leader_of


async def test_listed_sentinels_form_a_cluster(tmp_path):
    """All are members of one cluster with one leader, in whatever order they were started."""
    async with group(tmp_path, "cab") as sentinels:
        leader = await formed(sentinels)
        await agreed_members(sentinels, sentinels)
        assert len({it.member.cluster for it in sentinels}) == 1
        status = await leader.raft_status()
        assert (status["role"], status["raft_enabled"]) == ("leader", "1")
        assert status["leader_address"] == leader.address
        for sentinel in sentinels:
            await eventually(lambda it=sentinel: it.heard("+raft-leader"))
            run_id, ip, port, _, term = sentinel.heard("+raft-leader")[-1].split()
            assert (run_id, f"{ip}:{port}") == (leader.myid, leader.address)
            assert int(term) == leader.status.term


async def test_nothing_is_formed_until_the_last_one_is_there(tmp_path):
    """Two of three wait, and say for whom."""
    async with group(tmp_path, start=False) as sentinels:
        a, b, c = sentinels
        await a.start()
        await b.start()
        await eventually(lambda: a.said(f"waiting for {c.address}"))
        assert {a.phase, b.phase} == {Phase.SEEKING}
        await c.start()
        await formed(sentinels)


async def test_names_and_addresses_of_the_same_sentinels_are_the_same_set(tmp_path):
    """Lists are compared by who answers, not by spelling."""
    async with group(tmp_path, start=False) as sentinels:
        sentinels[1].settings.raft_peers = [f"localhost:{it.port}" for it in sentinels[::-1]]
        for sentinel in sentinels:
            await sentinel.start()
        await formed(sentinels)


async def test_a_config_file_that_cannot_be_saved_keeps_nobody_outside(tmp_path):
    """What members promise and vote is in files of their own."""
    async with group(tmp_path, start=False) as sentinels:
        for sentinel in sentinels:
            sentinel.can_save = False
            await sentinel.start()
        await formed(sentinels)


async def test_a_file_that_stands_for_another_log_has_to_be_saved_first(tmp_path):
    """After a restart, entries of this log would be taken for those of the other one."""
    async with group(tmp_path, "a", start=False) as (only,):
        only.can_save, only.saved_log_index = False, 7
        await only.start()
        await eventually(lambda: only.said("its own disk does not take it"))
        only.can_save = True
        await formed([only])


async def test_different_sets_form_nothing(tmp_path):
    """Whose list is another one is named."""
    async with group(tmp_path, "abcd", start=False) as sentinels:
        a, b, c, d = sentinels
        for sentinel in (a, b, c):
            sentinel.settings.raft_peers.remove(d.address)
        c.settings.raft_peers.append(d.address)
        for sentinel in sentinels:
            await sentinel.start()
        await eventually(lambda: a.said(f"{c.address} has another set of raft-peers"))
        assert not any(it.member.cluster for it in sentinels)


async def test_a_secret_protects_the_cluster(tmp_path):
    """Members with the same one form it; a sentinel without it stays outside."""
    async with group(tmp_path, raft_secret="s") as sentinels:
        await formed(sentinels)
        stranger = InProcess(tmp_path, "d", raft_peers=sentinels[0].settings.raft_peers)
        try:
            await stranger.start()
            await eventually(lambda: stranger.said("raft-secret differs"))
            assert stranger.phase is Phase.SEEKING
        finally:
            await stranger.kill()


async def test_a_password_is_used_between_members(tmp_path):
    """requirepass is the password of peers, too."""
    async with group(tmp_path, own_pass="pw") as sentinels:
        await formed(sentinels)


async def test_an_order_on_any_member_reaches_all(tmp_path):
    """SENTINEL MONITOR on a follower: everybody watches the master, and the reply comes first."""
    async with group(tmp_path) as sentinels:
        leader = await formed(sentinels)
        follower = next(it for it in sentinels if it is not leader)
        assert await follower.ask("SENTINEL", "MONITOR", "m", "127.0.0.1", "1", "2") == "OK"
        await eventually(lambda: all("m" in it.state.masters for it in sentinels))


async def test_the_death_of_the_leader_makes_another_one(tmp_path):
    """The rest go on, the dead one follows when it is back and has all that it missed."""
    async with group(tmp_path) as sentinels:
        leader = await formed(sentinels)
        await leader.kill()
        rest = [it for it in sentinels if it is not leader]
        new = await leader_of(rest)
        assert await new.ask("SENTINEL", "MONITOR", "m", "127.0.0.1", "1", "2") == "OK"
        await leader.start()
        await leader_of(sentinels)
        await eventually(lambda: "m" in leader.state.masters)


async def test_without_a_majority_orders_are_refused(tmp_path):
    """One of three can change nothing, says so, and is told so."""
    async with group(tmp_path) as sentinels:
        leader = await formed(sentinels)
        for sentinel in sentinels:
            if sentinel is not leader:
                await sentinel.kill()
        await eventually(lambda: leader.heard("-raft-majority"))
        reply = await leader.ask("SENTINEL", "MONITOR", "m", "127.0.0.1", "1", "2")
        assert reply.startswith("NOQUORUM")
        assert (await leader.raft_status())["has_majority"] == "0"


async def test_all_come_back_from_their_files(tmp_path):
    """After a restart of everybody the cluster, its members and its log are the same."""
    async with group(tmp_path) as sentinels:
        leader = await formed(sentinels)
        cluster = leader.member.cluster
        assert await leader.ask("SENTINEL", "MONITOR", "m", "127.0.0.1", "1", "2") == "OK"
        for sentinel in sentinels:
            await sentinel.kill()
        for sentinel in sentinels:
            await sentinel.start()
        await leader_of(sentinels)
        await eventually(lambda: all("m" in it.state.masters for it in sentinels))
        assert {it.member.cluster for it in sentinels} == {cluster}


async def test_a_shutdown_hands_leadership_over(tmp_path):
    """When the leader is gone, another one leads already: no election had to wait for it."""
    async with group(tmp_path) as sentinels:
        leader = await formed(sentinels)
        await leader.shut_down()
        rest = [it for it in sentinels if it is not leader]
        assert [it.leads for it in rest].count(True) == 1


async def test_leadership_can_be_transferred(tmp_path):
    """To a member by its address or id, on the order of any member."""
    async with group(tmp_path) as sentinels:
        leader = await formed(sentinels)
        one, other = (it for it in sentinels if it is not leader)
        assert await one.raft("TRANSFER", other.address) == "OK"
        assert await leader_of(sentinels) is other
        assert await one.raft("TRANSFER", one.myid) == "OK"
        assert await leader_of(sentinels) is one
        assert "is not a member" in await one.raft("TRANSFER", "x:1")


@pytest.mark.parametrize("has_log", [False, True])
async def test_a_member_is_added_and_removed(tmp_path, has_log):
    """A sentinel that knows the secret alone joins, has everything, counts; and counts no more."""
    async with group(tmp_path, raft_secret="s") as sentinels:
        leader = await formed(sentinels)
        follower = next(it for it in sentinels if it is not leader)
        if has_log:
            assert await leader.ask("SENTINEL", "MONITOR", "m", "127.0.0.1", "1", "2") == "OK"
        new = InProcess(tmp_path, "d", raft_secret="s")
        try:
            await new.start()
            assert await follower.raft("ADD", new.address) == "OK"
            everybody = [*sentinels, new]
            await agreed_members(everybody, everybody)
            await leader_of(everybody)
            if has_log:
                await eventually(lambda: "m" in new.state.masters)
            addresses = {it.address for it in everybody}
            await eventually(
                lambda: all(set(it.member.addresses.values()) == addresses for it in everybody)
            )
            await eventually(
                lambda: all(set(it.settings.raft_peers) == addresses for it in everybody)
            )
            assert f"{new.address} is a member already" in await leader.raft("ADD", new.address)

            assert await follower.raft("REMOVE", new.address) == "OK"
            await agreed_members(sentinels, sentinels)
            await eventually(lambda: new.phase is Phase.REMOVED)
            assert new.said("was removed from cluster")
            assert leader.heard("-raft-member")
            old_id = new.myid
            assert await leader.raft("ADD", new.address) == "OK"
            assert new.myid != old_id
            await agreed_members([*sentinels, new], [*sentinels, new])
        finally:
            await new.kill()


async def test_a_leader_that_is_removed_leads_over_first(tmp_path):
    """Another member takes the lead and removes it."""
    async with group(tmp_path) as sentinels:
        leader = await formed(sentinels)
        assert await leader.raft("REMOVE", leader.myid) == "OK"
        rest = [it for it in sentinels if it is not leader]
        await agreed_members(rest, rest)
        await eventually(lambda: leader.phase is Phase.REMOVED)


async def test_a_member_that_was_removed_while_away_learns_it_when_it_is_back(tmp_path):
    """It asks why it hears of no leader, and stays silent from then on, also after a restart."""
    async with group(tmp_path, "abcd") as sentinels:
        leader = await formed(sentinels)
        gone, *rest = [it for it in sentinels if it is not leader]
        await gone.kill()
        assert await leader.raft("REMOVE", gone.address) == "OK"
        await agreed_members(rest, [leader, *rest])
        await gone.start()
        await eventually(lambda: gone.phase is Phase.REMOVED)
        await gone.kill()
        await gone.start()
        assert gone.phase is Phase.REMOVED
        assert gone.state.raft is not None


async def test_no_removal_leaves_a_minority_that_answers(tmp_path):
    """Of three with one dead, the other one cannot be removed: two would be left, one answers."""
    async with group(tmp_path) as sentinels:
        leader = await formed(sentinels)
        dead, alive = (it for it in sentinels if it is not leader)
        await dead.kill()
        await eventually(lambda: not leader.member.is_up(dead.myid))
        assert "no majority" in await leader.raft("REMOVE", alive.address)
        assert await leader.raft("REMOVE", dead.address) == "OK"


async def test_a_lost_disk_comes_back_as_somebody_else(tmp_path):
    """The id is given up with its journal, and the operator adds the new one."""
    async with group(tmp_path) as sentinels:
        leader = await formed(sentinels)
        lost = next(it for it in sentinels if it is not leader)
        old_id = lost.myid
        await lost.kill()
        for file in lost.folder.iterdir():
            file.unlink()
        lost.folder.rmdir()
        await lost.start()
        await eventually(lambda: lost.said(f"SENTINEL RAFT REMOVE {old_id}"))
        await eventually(lambda: lost.said("to be added to Raft cluster"))
        assert lost.myid != old_id
        assert await leader.raft("REMOVE", old_id) == "OK"
        assert await leader.raft("ADD", lost.address) == "OK"
        await agreed_members(sentinels, sentinels)


@pytest.mark.parametrize("name", ["journal", "identity"])
async def test_half_of_the_files_is_no_start(tmp_path, name):
    """A member without its votes, or votes without a member: the operator has to decide."""
    async with group(tmp_path) as sentinels:
        await formed(sentinels)
        await sentinels[0].kill()
        (sentinels[0].folder / name).unlink()
        with pytest.raises(RaftError, match=r"journal|identity"):
            await sentinels[0].start()
        sentinels[0].member = None


async def test_a_killed_founder_repeats_the_formation(tmp_path):
    """Everybody has promised and nobody acts yet; after a restart all are in one cluster."""
    async with group(tmp_path) as sentinels:
        await formed(sentinels)
        for sentinel in sentinels:
            await sentinel.kill()
            (sentinel.folder / "journal").unlink()
            file = sentinel.folder / "identity"
            record = json.loads(file.read_text())
            file.write_text(json.dumps(record | {"phase": "prepared"}))
        for sentinel in sentinels:
            await sentinel.start()
        await formed(sentinels)
        assert len({it.member.cluster for it in sentinels}) == 1


async def test_a_member_that_missed_the_commit_takes_its_place(tmp_path):
    """Two are members, the third has promised and was killed: it joins what exists."""
    async with group(tmp_path) as sentinels:
        await formed(sentinels)
        late = sentinels[2]
        await late.kill()
        (late.folder / "journal").unlink()
        file = late.folder / "identity"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"phase": "prepared"}))
        await late.start()
        await eventually(lambda: late.phase is Phase.MEMBER)
        await leader_of(sentinels)
        # It may name the leader before it has the leader's log.
        await eventually(lambda: ids(sentinels) == set(late.status.members))


def promised(sentinels, phase):
    """Put the promise to be in a cluster that the first one forms on disk, as FORM does."""
    addresses = {it.saved_id: it.address for it in sentinels}
    founder = sentinels[0]
    for sentinel in sentinels:
        identity = Identity(
            phase=Phase.PREPARED,
            run_id=sentinel.saved_id,
            cluster="c",
            founder=founder.saved_id,
            founders=tuple(addresses),
            addresses=addresses,
            by_order=True,
        )
        files = Files(LocalStorage(str(sentinel.folder)), pytest.fail)
        if sentinel is founder and phase is Phase.MEMBER:
            assert files.keep_member(identity.at(Phase.MEMBER))
        else:
            assert files.keep(identity)
        files.close()


async def test_a_group_whose_founder_was_killed_early_stays_classic(tmp_path):
    """Before its own file says member there is no cluster, and the promises are void."""
    async with group(tmp_path, start=False, listed=False, raft_secret="s") as sentinels:
        promised(sentinels, Phase.PREPARED)
        for sentinel in sentinels[1:]:
            await sentinel.start()
            assert sentinel.phase is Phase.PREPARED
            assert sentinel.state.raft is None
        await sentinels[0].start()
        await eventually(lambda: all(it.phase is Phase.CLASSIC for it in sentinels))
        assert not any(it.state.raft for it in sentinels)


async def test_a_promise_to_a_founder_who_is_gone_binds_nobody(tmp_path):
    """Another cluster may take in whoever gave it; while the founder is there, it may not."""
    async with group(tmp_path / "a", "a") as (leader,):
        await formed([leader])
        async with group(tmp_path / "b", "bcd", start=False, listed=False) as sentinels:
            founder, one, _ = sentinels
            promised(sentinels, Phase.PREPARED)
            await one.start()
            assert await leader.raft("ADD", one.address) == "OK"
            assert one.phase is Phase.MEMBER
            assert founder.member is None


async def test_a_group_whose_founder_was_killed_late_becomes_a_cluster(tmp_path):
    """Once its own file says member, everybody who has promised takes his place."""
    async with group(tmp_path, start=False, listed=False) as sentinels:
        promised(sentinels, Phase.MEMBER)
        for sentinel in sentinels:
            await sentinel.start()
        await formed(sentinels)
        await agreed_members(sentinels, sentinels)
        assert all(len(it.settings.raft_peers) == 3 for it in sentinels)


async def test_strangers_change_nothing(tmp_path):
    """Words that make no sense, and members that do not exist, get an error each."""
    async with group(tmp_path, "a") as (only,):
        await formed([only])
        for words in (["WORD"], ["ADD"], ["ADD", "x"], ["ADD", "h:99999"], ["REMOVE", "nobody"]):
            assert "ERR" in await only.raft(*words)
        assert "not reached" in await only.raft("ADD", "127.0.0.1:1")
        assert "last member" in await only.raft("REMOVE", only.myid)
        assert (await only.raft("HELP"))[0].startswith("SENTINEL RAFT <subcommand>")
        assert "unknown word" in await only.raft("REPORT", "x", "m", "0", "1")
        assert set(only.status.members) == {only.myid}


# The door ----------------------------------------------------------------------------------------


async def test_a_classic_sentinel_takes_part_in_nothing(tmp_path):
    """A stock file names no cluster: whoever wants it in his own is refused, and it stays alone."""
    async with group(tmp_path, "ab", raft_secret="s") as sentinels:
        leader = await formed(sentinels)
        classic = InProcess(tmp_path, "d")
        try:
            await classic.start()
            refusal = await leader.raft("ADD", classic.address)
            assert "neither sentinel raft-peers nor sentinel raft-secret" in refusal
            refusal = await classic.raft("FORM")
            assert "sentinel raft-secret <text>" in refusal
            assert classic.phase is Phase.CLASSIC
            assert not classic.folder.exists()
        finally:
            await classic.kill()


@pytest.mark.parametrize("address", ["192.0.2.7:26379", "db.example:26379", "[2001:db8::1]:1"])
async def test_another_host_needs_a_secret(tmp_path, address):
    """Without one the start is refused in a line with both ways out; each of these starts."""
    alone = InProcess(tmp_path, "a", raft_peers=[address])
    try:
        with pytest.raises(RaftError) as refused:
            await alone.start()
        text = str(refused.value)
        assert address in text
        assert "raft-secret <text>" in text
        assert "raft-secret none" in text
        assert "\n" not in text
        alone.settings.raft_peers = ["db.invalid:26379"]
        for secret in ("none", "s3cret"):
            alone.settings.raft_secret = secret
            await alone.start()
            assert alone.phase is Phase.SEEKING
            await alone.kill()
    finally:
        await alone.kill()


async def test_loopback_and_localhost_need_none(tmp_path):
    """On one host nobody is kept out who could not read the file."""
    alone = InProcess(tmp_path, "a", raft_peers=["127.8.8.8:1", "localhost:2", "[::1]:3"])
    try:
        await alone.start()
        assert alone.phase is Phase.SEEKING
        assert "is another host" in await _added_elsewhere(tmp_path)
    finally:
        await alone.kill()


async def _added_elsewhere(folder):
    async with group(folder, "e") as (only,):
        await formed([only])
        return await only.raft("ADD", "192.0.2.7:26379")


async def test_a_member_is_not_removed_by_who_says_so(tmp_path):
    """It asks the members whom it dials itself, and stays one if its leader still has it."""
    async with group(tmp_path) as sentinels:
        leader = await formed(sentinels)
        follower = next(it for it in sentinels if it is not leader)
        await eventually(lambda: follower.member.is_up(leader.myid))
        answers = follower.member._answers
        assert answers.asked(leader.myid, Removed(follower.member.cluster)) == Yes()
        await eventually(lambda: not follower.member._is_asking)
        assert follower.phase is Phase.MEMBER
        assert await leader.ask("SENTINEL", "MONITOR", "m", "127.0.0.1", "1", "2") == "OK"
        await eventually(lambda: "m" in follower.state.masters)
