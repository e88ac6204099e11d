"""The files of a member: whole at every point of a crash, refused when they make no sense."""

import json
from random import Random

import pytest
from sim.disk import PowerCut, SimDisk, SimStorage

from sentinel_py.raft import journal
from sentinel_py.raft.files import Files, RaftError
from sentinel_py.raft.identity import Identity, Phase

WRITES = 12
IDENTITY = Identity(
    phase=Phase.MEMBER,
    run_id="a",
    cluster="c",
    founder="b",
    founders=("a", "b"),
    addresses={"a": "h:1", "b": "h:2"},
)


def files_on(disk):
    return Files(SimStorage("raft-1", disk), pytest.fail)


@pytest.mark.parametrize("has_promised", [False, True])
@pytest.mark.parametrize("writes", range(WRITES))
def test_a_crash_leaves_nothing_a_promise_or_a_member(writes, has_promised):
    """Whichever write is the last one, the next start finds something that it can go on from."""
    for seed in range(20):
        disk = SimDisk(Random(seed))
        disk.on_cut = lambda: None
        if has_promised:
            assert files_on(disk).keep(IDENTITY.at(Phase.PREPARED))
        disk.writes_left = writes
        try:
            is_kept = files_on(disk).keep_member(IDENTITY)
        except PowerCut:
            is_kept = False
        disk.writes_left = None
        disk.crash()
        found = files_on(disk).identity
        assert found is not None or not has_promised
        assert not is_kept or found == IDENTITY
        if found is None or found.phase is Phase.PREPARED:
            assert files_on(disk).keep_member(IDENTITY)
        assert journal.Journal(disk).member_id == "a"
        assert journal.Journal(disk).snapshot.members == IDENTITY.founders


def test_all_writes_are_cut_once():
    """With as many writes as the test above allows, none is cut."""
    disk = SimDisk(Random(1))
    disk.on_cut = pytest.fail
    disk.writes_left = WRITES * 2
    assert files_on(disk).keep_member(IDENTITY)
    assert WRITES * 2 - disk.writes_left >= WRITES


def test_a_full_disk_promises_nothing():
    """What is not on disk is not said, and the operator is told."""
    disk, texts = SimDisk(Random(1)), []
    disk.is_full = True
    files = Files(SimStorage("raft-1", disk), texts.append)
    assert not files.keep(IDENTITY)
    assert not files.keep_member(IDENTITY)
    assert files.identity is None
    assert "raft-1 cannot be written: No space left on device" in texts[0]


def test_what_is_forgotten_is_gone():
    """Journal and identity go together, and something new may come."""
    disk = SimDisk(Random(1))
    files = files_on(disk)
    assert files.keep_member(IDENTITY)
    files.forget()
    assert files_on(disk).identity is None
    assert not journal.exists(disk)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"phase": "seeking"},
        {"phase": "other"},
        {"founders": "ab"},
        {"addresses": {"a": 1}},
        {"more": 1},
    ],
)
def test_an_identity_with_a_wrong_field_is_refused(change):
    """The operator is told what to do; nothing is guessed."""
    disk = SimDisk(Random(1))
    files_on(disk).keep_member(IDENTITY)
    record = json.loads(disk.read("identity")) | change
    disk.create("identity")
    disk.append("identity", json.dumps(record).encode())
    with pytest.raises(RaftError, match="identity is damaged"):
        files_on(disk)


@pytest.mark.parametrize("name", ["identity", "journal"])
def test_half_of_the_files_is_refused(name):
    """Votes without an id, or an id without its votes."""
    disk = SimDisk(Random(1))
    files_on(disk).keep_member(IDENTITY)
    disk.remove(name)
    with pytest.raises(RaftError, match=r"raft-1: .*journal"):
        files_on(disk)
