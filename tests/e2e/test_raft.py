"""Real sentinels as a Raft cluster: formation, failovers, crashes, members in and out."""

import shutil

import pytest
from redis.exceptions import ResponseError

from sentinel_py.local import HOST, eventually, wait_ready

from .group import (
    NAME,
    Listener,
    ask,
    master_port,
    master_row,
    new_master,
    settle,
    start_cluster,
    start_sentinels,
    watch,
)
from .members import config, follower_of, has_members, leader_of, raft, start_members, status


def watches(server, port):
    """Whether it names a master at this port; at first it may know of none."""
    return ask(server, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME) == [HOST, str(port)]


@pytest.mark.parametrize("count", [3, 5])
def test_a_cluster_forms_and_fails_over(sandbox, count):
    """Members of one cluster switch to the same new master, and the log carried the switch."""
    cluster = start_cluster(sandbox)
    members = start_members(sandbox, count, watch(cluster))
    leader = leader_of(members)
    settle(members, cluster)
    cluster.master.kill()
    port = new_master(members, cluster.master)
    assert {master_port(member) for member in members} == {port}
    epochs = {master_row(member)["config-epoch"] for member in members}
    assert len(epochs) == 1
    assert int(status(leader)["commit_index"]) > 2


@pytest.mark.parametrize("end", ["kill", "pause"])
def test_the_loss_of_the_leader_is_survived(sandbox, end):
    """Killed or stopped: the rest elect and fail over, and it follows when it is back."""
    cluster = start_cluster(sandbox)
    members = start_members(sandbox, 3, watch(cluster))
    leader = leader_of(members)
    settle(members, cluster)
    rest = [member for member in members if member is not leader]
    getattr(leader, end)()
    new = leader_of(rest)
    cluster.master.kill()
    port = new_master(rest, cluster.master)
    if end == "kill":
        leader.start()
        wait_ready([leader])
    else:
        leader.resume()
    assert leader_of(members) in rest
    eventually(lambda: watches(leader, port))
    assert status(leader)["leader"] == status(new)["id"]


@pytest.mark.parametrize("end", ["kill", "pause"])
def test_the_loss_of_a_follower_is_survived(sandbox, end):
    """Orders go on without it, and it has them when it is back."""
    redis = sandbox.redis()
    members = start_members(sandbox)
    leader, follower = follower_of(members)
    getattr(follower, end)()
    assert ask(leader, "SENTINEL", "MONITOR", NAME, HOST, redis.port, 2) == "OK"
    if end == "kill":
        follower.start()
        wait_ready([follower])
    else:
        follower.resume()
    eventually(lambda: watches(follower, redis.port))


def test_an_order_on_any_member_is_everybodys(sandbox):
    """MONITOR, SET and REMOVE on a follower configure all members, files included."""
    redis = sandbox.redis()
    members = start_members(sandbox)
    _, follower = follower_of(members)
    assert ask(follower, "SENTINEL", "MONITOR", NAME, HOST, redis.port, 2) == "OK"
    assert ask(follower, "SENTINEL", "SET", NAME, "down-after-milliseconds", "1234") == "OK"
    for member in members:
        eventually(lambda member=member: f"down-after-milliseconds {NAME} 1234" in config(member))
        eventually(lambda member=member: f"sentinel monitor {NAME} " in config(member))
    assert ask(follower, "SENTINEL", "REMOVE", NAME) == "OK"
    for member in members:
        eventually(lambda member=member: not ask(member, "SENTINEL", "MASTERS"))


def test_all_are_killed_and_come_back(sandbox):
    """What was acknowledged is there after the restart of everybody, three times over."""
    members = start_members(sandbox)
    redis = sandbox.redis()
    for round_no in range(3):
        leader = leader_of(members)
        assert ask(leader, "SENTINEL", "MONITOR", f"m{round_no}", HOST, redis.port, 2) == "OK"
        for member in members:
            member.kill()
        for member in members:
            member.start()
        wait_ready(members)
        leader_of(members)
        for member in members:
            eventually(
                lambda member=member, count=round_no + 1: (
                    len(ask(member, "SENTINEL", "MASTERS")) == count
                )
            )


def test_members_are_added_and_removed(sandbox):
    """Three become four and three again, one of them another; the leader may go, too."""
    redis = sandbox.redis()
    members = start_members(sandbox, extra=["sentinel raft-secret s3cret"])
    leader, follower = follower_of(members)
    assert ask(leader, "SENTINEL", "MONITOR", NAME, HOST, redis.port, 2) == "OK"
    new = sandbox.sentinel(["sentinel raft-secret s3cret"])
    wait_ready([new])
    assert raft(follower, "ADD", new.address) == "OK"
    everybody = [*members, new]
    for member in everybody:
        eventually(lambda member=member: has_members(member, everybody))
        eventually(lambda member=member: new.address in config(member))
    eventually(lambda: watches(new, redis.port))

    leader = leader_of(everybody)
    assert raft(leader, "REMOVE", leader.address) == "OK"
    rest = [member for member in everybody if member is not leader]
    leader_of(rest)
    for member in rest:
        eventually(lambda member=member: has_members(member, rest))
    eventually(lambda: status(leader)["role"] == "removed")


def test_shutdown_of_the_leader_waits_for_the_next(sandbox):
    """SHUTDOWN ends the process after another one leads."""
    members = start_members(sandbox)
    leader = leader_of(members)
    rest = [member for member in members if member is not leader]
    term = int(status(leader)["term"])
    leader.terminate()
    new = leader_of(rest)
    assert int(status(new)["term"]) > term
    assert "+raft-leader" in new.log


def test_a_classic_group_becomes_a_cluster(sandbox, ours):
    """FORM on any of them, without a restart; the files name the members from then on."""
    cluster = start_cluster(sandbox)
    lines = [*watch(cluster), "sentinel raft-secret s3cret"]
    sentinels = start_sentinels(sandbox, lines, ours)
    settle(sentinels, cluster)
    assert raft(sentinels[1], "FORM") == "OK"
    leader_of(sentinels)
    for sentinel in sentinels:
        eventually(lambda sentinel=sentinel: "sentinel raft-peers" in config(sentinel))
        assert all(other.address in config(sentinel) for other in sentinels)
    with pytest.raises(ResponseError, match="Raft mode already"):
        raft(sentinels[0], "FORM")
    sentinels[0].kill()
    sentinels[0].start()
    wait_ready(sentinels)
    leader_of(sentinels)
    cluster.master.kill()
    new_master(sentinels, cluster.master)


@pytest.mark.skipif(not shutil.which("redis-sentinel"), reason="needs redis-sentinel")
def test_a_group_with_an_original_sentinel_stays_classic(sandbox, ours):
    """FORM is all or nothing, and says who cannot be a member."""
    cluster = start_cluster(sandbox)
    lines = [*watch(cluster), "sentinel raft-secret s3cret"]
    sentinels = start_sentinels(sandbox, lines, ours, count=2)
    (original,) = start_sentinels(sandbox, watch(cluster), ["redis-sentinel"], count=1)
    settle([*sentinels, original], cluster)
    with pytest.raises(ResponseError, match=f"{original.address}.*is not sentinel_py"):
        raft(sentinels[0], "FORM")
    assert [status(it)["role"] for it in sentinels] == ["classic", "classic"]
    assert not any("raft-peers" in config(it) for it in sentinels)


def test_a_notice_tells_of_each_change(sandbox):
    """Leader, majority and members are published, as INFO shows them."""
    members = start_members(sandbox)
    leader, follower = follower_of(members)
    listener = Listener(follower)
    try:
        leader.kill()
        assert listener.wait("+raft-leader").split()[3:4] == ["term"]
        info = ask(follower, "INFO", "raft")
        assert info["raft_enabled"] == 1
        assert info["raft_member0"]["link"] in ("up", "down")
        next(member for member in members if member not in (leader, follower)).kill()
        listener.wait("-raft-majority")
    finally:
        listener.close()
