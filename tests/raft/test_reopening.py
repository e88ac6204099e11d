"""A journal that could not be written is opened again, without another one beside us noticing."""

import asyncio
from random import Random

import pytest

from sentinel_py.raft import reopening
from sentinel_py.raft.engine import Engine, Outcome, Role
from sentinel_py.raft.journal import CompactionError
from sentinel_py.raft.reopening import Reopening

from .group import Group


def test_a_member_goes_on_from_its_journal():
    """What it had acknowledged is there, written into a new file, and it takes part again."""
    group = Group()
    leader = group.leader()
    group.commit(leader, b"x")
    disk = group.disks[leader]
    disk.is_full = True
    asked = group.propose(leader, b"lost")
    group.step()
    assert (asked.outcome, group.status(leader).role) == (Outcome.UNKNOWN, Role.HALTED)
    with pytest.raises((OSError, CompactionError)):
        Engine(disk, group.machines[leader], print, Random(0), is_disk_doubted=True)
    disk.is_full = False
    group.restart(leader)
    group.until(group.has_converged)
    assert b"x" in group.machines[leader].commands


async def test_it_is_tried_later_and_later(monkeypatch):
    """Until it works; a second time soon after begins where the first has ended."""
    monkeypatch.setattr(reopening, "FIRST_S", 0.01)
    monkeypatch.setattr(reopening, "LONGEST_S", 0.04)
    answers = ["full", "full", "full", ""]
    tries, pauses = asyncio.Event(), []

    def reopen():
        pauses.append(again._pause_s)
        if not answers[1:]:
            tries.set()
        return answers.pop(0)

    again = Reopening(reopen)
    again.begin()
    again.begin()
    async with asyncio.timeout(10):
        await tries.wait()
    assert pauses == [0.02, 0.04, 0.04, 0.04]
    assert not answers
    again.close()
