"""While the journal is written: who is well stays believed to be, and nothing is said too early."""

import asyncio
import errno
import threading

import pytest

from sentinel_py.raft import replication
from sentinel_py.raft.disk import Folder
from sentinel_py.raft.engine import Outcome
from sentinel_py.raft.journal import Journal
from sentinel_py.raft.writing import PATIENCE_MS, Writing

from .group import Group

FOREVER = 10**9
SLOW_MS = 1_000


def others_than(group, member_id):
    return [it for it in group.engines if it != member_id]


def slow_group():
    group = Group()
    leader = group.leader()
    for member_id in "abc":
        group.slow_down(member_id, SLOW_MS)
    return group, leader


def test_slow_disks_depose_nobody():
    """Three syncs of a second each, one after the other: the leader and its term stay."""
    group, leader = slow_group()
    term = group.status(leader).term
    for command in (b"x", b"y", b"z"):
        asked = group.propose(leader, command)
        group.until(lambda asked=asked: asked.outcome is Outcome.DONE, SLOW_MS + 200)
        assert all(group.status(it).has_majority for it in "abc")
    assert group.leader() == leader
    assert group.status(leader).term == term


def test_slow_disks_elect_somebody():
    """A candidate waits for the others' disks, too, before it stands once more."""
    group, leader = slow_group()
    group.commit(leader, b"x")
    group.stop(leader)
    took_from = group.now
    group.leader()
    assert group.now - took_from < 2 * SLOW_MS + 1_500


def test_a_leader_whose_disk_hangs_is_replaced():
    """It falls silent when its write takes too long; when the disk works again it follows."""
    group = Group()
    leader = group.leader()
    group.slow_down(leader, PATIENCE_MS + 3_000)
    group.propose(leader, b"x")
    group.run(PATIENCE_MS - 100)
    assert group.status(leader).has_lease
    group.run(400)
    assert not group.status(leader).has_majority
    assert group.status(leader).is_disk_late
    group.until(lambda: [it for it in others_than(group, leader) if group.status(it).has_lease])
    group.until(group.has_converged, PATIENCE_MS + 5_000)
    assert not group.status(leader).is_disk_late
    assert group.status(leader).has_majority


def test_a_follower_whose_disk_hangs_knows_it():
    """It is not part of a majority that could be counted on, and says nothing."""
    group = Group()
    leader = group.leader()
    hung = others_than(group, leader)[0]
    group.slow_down(hung, FOREVER)
    asked = group.propose(leader, b"x")
    group.until(lambda: asked.outcome is Outcome.DONE)
    group.run(PATIENCE_MS)
    group.sent.clear()
    group.run(1_000)
    assert group.status(hung).is_disk_late
    assert not group.status(hung).has_majority
    assert hung not in {source for source, *_ in group.sent}
    assert group.leader() == leader


@pytest.mark.parametrize("guard", [True, False])
def test_a_sign_of_life_acknowledges_what_is_on_disk(monkeypatch, guard):
    """A follower answers during a write, and would lose nothing of what it said in a crash."""
    if not guard:

        def boast(self, _peer, message):
            return replication._answer_to(message, self._core.last.index + 1, 300, success=True)

        monkeypatch.setattr(replication.Replication, "sign_of_life", boast)
    group, leader = slow_group()
    early = []

    def look(source, _target, message):
        if message["type"] == "next_node_idx":
            on_disk = Journal(group.disks[source]).last.index
            early.append(message["next_node_idx"] > on_disk + 1)
        return False

    group.catch = look
    group.propose(leader, b"x")
    group.run(SLOW_MS // 2)
    assert early
    assert (not any(early)) is guard


def test_a_candidate_says_nothing_before_its_vote_is_on_disk():
    """Neither its request, nor that it leads."""
    group, leader = slow_group()
    group.stop(leader)
    early = []

    def look(source, _target, message):
        if message["type"] in ("request_vote", "response_vote", "append_entries"):
            early.append(Journal(group.disks[source]).term < message["term"])
        return False

    group.catch = look
    group.leader()
    assert early
    assert not any(early)


async def test_a_folder_works_in_its_own_thread(tmp_path):
    """The loop goes on meanwhile, and is told what came of the job."""
    folder = Folder(str(tmp_path))
    may_end, told = threading.Event(), asyncio.Queue()
    folder.begin(lambda: may_end.wait(10), told.put_nowait)
    await asyncio.sleep(0)
    assert told.empty()
    may_end.set()
    assert await asyncio.wait_for(told.get(), 10) is None

    def fail():
        raise OSError(errno.ENOSPC, "No space left on device")

    folder.begin(fail, told.put_nowait)
    assert (await asyncio.wait_for(told.get(), 10)).errno == errno.ENOSPC
    folder.close()


async def test_what_a_job_raises_comes_out_of_the_step(tmp_path):
    """A bug in it ends the process, as one elsewhere does."""
    folder, woken = Folder(str(tmp_path)), asyncio.Event()
    writing = Writing(folder, lambda: 0, woken.set)

    class Bad:
        def job(self):
            raise ZeroDivisionError

    writing.begin(Bad())
    assert writing.is_under_way
    await asyncio.wait_for(woken.wait(), 10)
    with pytest.raises(ZeroDivisionError):
        writing.settle()
    folder.close()
