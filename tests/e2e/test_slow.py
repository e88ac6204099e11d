"""Slow disks and long ways: a failover takes longer, and nobody is taken for dead."""

import sys
from contextlib import ExitStack, closing

import pytest

from sentinel_py.local import HOST, eventually, raft_peers, wait_ready

from .far import Far
from .group import master_port, new_master, settle, start_cluster, watch
from .members import leader_of, start_members, status

SYNC_S = 0.7  # longer than two elections
DELAY_S = 0.15  # there and back: as long as an election

# Our own program, each of whose syncs takes its time once the file is there.
WITH_SLOW_DISK = """
import os, time

def slow(sync):
    def wait(fd):
        if os.path.exists({flag!r}):
            time.sleep({sync_s})
        return sync(fd)
    return wait

os.fsync, os.fdatasync = slow(os.fsync), slow(os.fdatasync)
from sentinel_py.cli import main
main()
"""


@pytest.fixture
def slow_program(tmp_path):
    """An argv of ours, and the file that makes its disk slow."""
    flag, script = tmp_path / "slow", tmp_path / "with_slow_disk.py"
    script.write_text(WITH_SLOW_DISK.format(flag=str(flag), sync_s=SYNC_S))
    return [sys.executable, str(script)], flag


def test_a_master_is_replaced_where_all_disks_are_slow(sandbox, slow_program):
    """By the leader that there was: its heartbeats, and the loop of all, do not wait for disks."""
    argv, flag = slow_program
    cluster = start_cluster(sandbox)
    members = start_members(sandbox, lines=watch(cluster), program=argv)
    settle(members, cluster)
    leader, term = leader_of(members), status(members[0])["term"]
    flag.touch()
    cluster.master.kill()
    new_master(members, cluster.master)
    assert leader_of(members) == leader
    assert {status(member)["term"] for member in members} == {term}
    assert not any("+tilt" in member.log for member in members)


def test_a_leader_is_replaced_where_all_disks_are_slow(sandbox, slow_program):
    """A candidate waits for the others' votes to be on disk, and so does who has voted."""
    argv, flag = slow_program
    cluster = start_cluster(sandbox)
    members = start_members(sandbox, lines=watch(cluster), program=argv)
    settle(members, cluster)
    flag.touch()
    leader = leader_of(members)
    leader.kill()
    cluster.master.kill()
    new_master([member for member in members if member.alive], cluster.master)


def test_what_is_saved_aside_is_saved(sandbox, slow_program):
    """A sentinel that ends while its file is being written leaves what it knew."""
    argv, flag = slow_program
    cluster = start_cluster(sandbox, replicas=1)
    flag.touch()
    sentinel = sandbox.sentinel(watch(cluster, quorum=1), program=argv)
    wait_ready([sentinel])
    settle([sentinel], cluster)
    sentinel.terminate()
    text = (sentinel.folder / "sentinel.conf").read_text()
    assert f"known-replica mymaster {HOST} {cluster.replicas[0].port}" in text


def test_members_that_are_far_apart(sandbox):
    """Without a word in their files: they elect a leader, replace a master, and then the leader."""
    cluster = start_cluster(sandbox)
    ports = [sandbox.port() for _ in range(3)]
    with ExitStack() as ways:
        places = [ways.enter_context(closing(Far(port, DELAY_S))).port for port in ports]
        lines = [*watch(cluster), raft_peers(places)]
        members = [
            sandbox.sentinel([*lines, f"sentinel raft-self {HOST}:{place}"], port=port)
            for port, place in zip(ports, places, strict=True)
        ]
        wait_ready(members)
        settle(members, cluster)
        eventually(lambda: len({status(it)["leader"] for it in members}) == 1)
        old = cluster.master
        old.kill()
        new_master(members, old)
        leader = leader_of(members)
        leader.kill()
        others = [member for member in members if member.alive]
        second = cluster.at(master_port(others[0]))
        second.kill()
        new_master(others, second)
