"""A sentinel without the majority of its Raft cluster stops writes on the master it reaches."""

import pytest
import redis

from sentinel_py.local import HOST, eventually

from .group import NAME, PATIENCE, ask, settle, start_cluster, watch
from .members import follower_of, leader_of, start_members

# A lease of a second, less than which a busy test machine may need for an election.
PATIENT = {"down_after_milliseconds": 3000}


@pytest.fixture
def cluster(sandbox):
    return start_cluster(sandbox)


@pytest.fixture
def members(sandbox, cluster):
    """Three members that fence, settled."""
    lines = [*watch(cluster, **PATIENT), f"sentinel fence-isolated-master {NAME} yes"]
    started = start_members(sandbox, 3, lines)
    leader_of(started)
    settle(started, cluster)
    return started


def takes_writes(server):
    patience = {**PATIENCE, "socket_timeout": 0.2}
    with redis.Redis(host=HOST, port=server.port, **patience) as connected:
        try:
            return connected.set("key", "value")
        except redis.RedisError:
            return False


def isolate(member, members):
    """Leave a member alone: the others stand still, and keep their connections."""
    others = [other for other in members if other is not member]
    for other in others:
        other.pause()
    return others


def test_an_isolated_member_stops_writes_until_it_has_a_majority_again(members, cluster, listen):
    """Writes wait, reads do not; both go on at once when the others are back."""
    _, alone = follower_of(members)
    ear = listen(alone)
    assert takes_writes(cluster.master)
    others = isolate(alone, members)
    address = f"master {NAME} {HOST} {cluster.master.port}"
    assert ear.wait("+fence") == address
    assert not takes_writes(cluster.master)
    assert ask(cluster.master, "GET", "key") == "value"
    for other in others:
        other.resume()
    assert ear.wait("-fence") == address
    eventually(lambda: takes_writes(cluster.master), 1000)


def test_a_leader_without_followers_fences(members, cluster, listen):
    """The leader's lease is no longer than what its followers tell it."""
    leader = leader_of(members)
    ear = listen(leader)
    isolate(leader, members)
    ear.wait("+fence")
    assert not takes_writes(cluster.master)
