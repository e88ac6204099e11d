"""The journal: what was flushed comes back, a torn tail is cut off, and damage is refused."""

from random import Random

import pytest

from sentinel_py.raft import journal, snapshot
from sentinel_py.raft.disk import Folder, FolderInUseError
from sentinel_py.raft.journal import NAME, CompactionError, Journal, JournalDamagedError
from sentinel_py.raft.membership import Add, Membership, Remove, change_in, command_of
from sentinel_py.raft.snapshot import Entry, Snapshot, SnapshotError
from tests.sim.disk import PowerCut, SimDisk

SNAPSHOT = Snapshot(Entry(b"\0c", 4, 2), Entry(b"\0d", 5, 2), ("a", "b"), b"state")


def new_disk(seed=0):
    disk = SimDisk(Random(seed))
    journal.create(disk, "a", ("b", "a"))
    return disk


def flush(it):
    """Put on disk what has changed."""
    if write := it.flushing():
        write.do()


def content(it):
    return it.term, it.voted_for, tuple(it.entries), it.snapshot


def on_disk_of(data):
    """A disk with just this in the journal."""
    disk = SimDisk(Random(0))
    disk.create(NAME)
    disk.append(NAME, data)
    disk.sync(NAME)
    disk.sync_dir()
    return disk


def entry(index, term=1):
    return Entry(b"\0%d" % index, index, term)


def cut_and_replace(it):
    it.cut(3)
    it.append(entry(3, 2))


STEPS = (
    lambda it: it.set_vote(1, "b"),
    lambda it: it.append(entry(2)),
    lambda it: (it.append(entry(3)), it.append(entry(4))),
    cut_and_replace,
    lambda it: it.set_vote(2, None),
    lambda it: it.compacting(Snapshot(entry(2), entry(3, 2), ("a",), b"short")).do(),
    lambda it: it.append(entry(4, 2)),
    lambda it: it.install(SNAPSHOT),
    lambda it: (it.append(entry(6, 2)), it.set_vote(7, "a")),
    lambda it: it.seal(),
    lambda it: it.append(entry(7, 7)),
)


def play(disk, steps):
    """Do the steps, with a flush after each; the contents that were reached."""
    it = Journal(disk)
    for step in steps:
        step(it)
        flush(it)
        yield content(it)


def test_a_new_journal():
    """It knows its member and the members, and begins with the entries that all logs share."""
    it = Journal(new_disk())
    assert (it.member_id, it.snapshot.members) == ("a", ("a", "b"))
    assert (it.term, it.voted_for, it.commit_index) == (0, None, 1)
    assert [entry.index for entry in it.entries] == [0, 1]


def test_everything_comes_back():
    """Term, vote, entries, cuts and snapshots are found again after each flush."""
    for count in range(1, len(STEPS) + 1):
        disk = new_disk()
        *_, expected = play(disk, STEPS[:count])
        assert content(Journal(disk)) == expected


def test_power_fails_at_any_write():
    """Whatever is written last, the journal is as before it or as after it."""
    for seed in range(300):
        disk = new_disk(seed)
        disk.on_cut = lambda: None
        disk.writes_left = Random(seed).randint(0, 32)
        reached = [content(Journal(on_disk_of(disk.read(NAME))))]
        try:
            reached += play(disk, STEPS)
        except PowerCut:
            disk.crash()
        disk.writes_left = None
        after = list(play(new_disk(), STEPS[: len(reached)]))
        assert content(Journal(disk)) in (reached[-1], after[-1])


def test_a_write_is_torn_at_any_byte():
    """Each beginning of the last frame is the state before it, and a new frame can follow."""
    *_, before, after = play(disk := new_disk(), STEPS[:4])
    data = disk.read(NAME)
    list(play(shorter := new_disk(), STEPS[:3]))
    for size in range(len(shorter.read(NAME)), len(data)):
        it = Journal(torn := on_disk_of(data[:size]))
        assert content(it) == before
        cut_and_replace(it)
        flush(it)
        assert content(Journal(torn)) == after
    assert content(Journal(on_disk_of(data))) == after


def test_a_tail_of_zeros_or_garbage_is_torn():
    """A file may have grown before its bytes were written."""
    *_, expected = play(disk := new_disk(), STEPS[:4])
    for tail in (bytes(5000), Random(1).randbytes(5000)):
        assert content(Journal(on_disk_of(disk.read(NAME) + tail))) == expected


def test_an_unsynced_seal_that_is_lost_is_no_damage():
    """Blocks reach the disk in any order: behind a torn seal may be a whole frame, not flushed."""
    disk = new_disk()
    it = Journal(disk)
    it.append(entry(2))
    flush(it)
    sealed_from = it.size
    it.seal()
    sealed_to = it.size
    expected = content(it)
    it.append(entry(3))
    flush(it)
    data = bytearray(disk.read(NAME))
    data[sealed_from:sealed_to] = bytes(sealed_to - sealed_from)
    assert content(Journal(on_disk_of(bytes(data)))) == expected


def test_every_flipped_bit_is_found():
    """A journal with any bit changed is refused, unless the bit was in the seal, which is spare."""
    disk = new_disk()
    list(play(disk, STEPS[:4]))
    it = Journal(disk)
    sealed_from = it.size
    it.commit_index = 2
    it.seal()
    expected = content(it)
    data = disk.read(NAME)
    for position in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            if position >= sealed_from:
                assert content(Journal(on_disk_of(bytes(damaged)))) == expected
                continue
            with pytest.raises(JournalDamagedError):
                Journal(on_disk_of(bytes(damaged)))


def test_a_damaged_journal_is_left_alone():
    """What is refused is not repaired, truncated or emptied."""
    disk = new_disk()
    list(play(disk, STEPS[:4]))
    Journal(disk).seal()
    Journal(disk).seal()
    data = bytearray(disk.read(NAME))
    data[200] ^= 1
    damaged = on_disk_of(bytes(data))
    with pytest.raises(JournalDamagedError, match=r"^The journal is damaged at byte \d+$"):
        Journal(damaged)
    assert damaged.read(NAME) == bytes(data)


@pytest.mark.parametrize("data", [b"", b"sentinel_py raft journal, format 1\n", b"x" * 500])
def test_an_empty_or_foreign_file_is_refused(data):
    """A journal is made whole, so one without a beginning was damaged later."""
    with pytest.raises(JournalDamagedError):
        Journal(on_disk_of(data))


def test_another_format_is_named():
    """A journal of a later version is not taken for a damaged one."""
    with pytest.raises(JournalDamagedError, match="another version"):
        Journal(on_disk_of(b"sentinel_py raft journal, format 2\nwhatever"))


def test_no_journal():
    """That there is none is another thing than damage; what to do then is the owner's business."""
    with pytest.raises(FileNotFoundError):
        Journal(SimDisk(Random(0)))


def test_what_a_killed_process_left_is_synced_before_it_counts():
    """A frame that was read may be in the system's cache only; a vote must not hang on that."""
    disk = new_disk()
    it = Journal(disk)
    disk.writes_left, disk.on_cut = 1, lambda: None
    it.set_vote(5, "b")
    with pytest.raises(PowerCut):
        flush(it)
    disk.writes_left = None
    assert Journal(disk).term == 5
    disk.crash()
    assert Journal(disk).term == 5


def test_commit_index_is_kept_without_a_sync():
    """It costs no write of its own but the seal, never more than the log, and may be older."""
    disk = new_disk()
    it = Journal(disk)
    it.append(entry(2))
    flush(it)
    it.commit_index = 2
    assert Journal(disk).commit_index == 1
    it.seal()
    size = it.size
    assert Journal(disk).commit_index == 2
    it.seal()
    flush(it)
    assert it.size == size == len(disk.read(NAME))


def test_compaction_makes_the_file_small():
    """What the snapshot stands for is gone from the file, and what follows it stays."""
    disk = new_disk()
    it = Journal(disk)
    for index in range(2, 499):
        it.append(entry(index))
    flush(it)
    assert it.grown > 10_000
    it.compacting(Snapshot(entry(496), entry(497), ("a", "b"), b"s")).do()
    assert it.grown == 0
    assert it.size == len(disk.read(NAME)) < 500
    assert [found.index for found in Journal(disk).entries] == [496, 497, 498]


def test_a_compaction_that_fails_changes_nothing():
    """On a full disk the old file is as good as before, and no new one is left over."""
    disk = new_disk()
    *_, expected = play(disk, STEPS[:4])
    it = Journal(disk)
    disk.is_full = True
    with pytest.raises(CompactionError):
        it.compacting(Snapshot(entry(2), entry(3, 2), ("a",), b"")).do()
    disk.is_full = False
    assert content(it) == content(Journal(disk)) == expected
    assert disk.matching("*") == ["/journal"]
    it.append(entry(4, 2))
    flush(it)
    assert Journal(disk).last == entry(4, 2)


def test_snapshots_are_whole_or_refused():
    """A snapshot comes from another member: each bit of it counts."""
    data = snapshot.encode(SNAPSHOT)
    assert snapshot.decode(data) == SNAPSHOT
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1
        for bad in (bytes(damaged), data[:position]):
            with pytest.raises(SnapshotError):
                snapshot.decode(bad)


def test_members_follow_from_the_log():
    """A change counts with its entry, is taken back with it, and passes into the snapshot."""
    it = Membership(("a", "b"), [Entry(command_of(Add("c")), 5, 1)])
    it.add(Entry(command_of(Remove("a")), 7, 1))
    assert (it.current, it.last_change_index) == (("b", "c"), 7)
    assert (it.as_of(4), it.as_of(5), it.as_of(9)) == (("a", "b"), ("a", "b", "c"), ("b", "c"))
    it.cut(7)
    assert (it.current, it.last_change_index) == (("a", "b", "c"), 5)
    it.compact(6)
    it.add(Entry(b"\0", 7, 1))
    assert (it.current, it.last_change_index) == (("a", "b", "c"), 0)


def test_an_entry_cut_off_takes_its_change_along():
    """The entry at the place of the cut is gone itself."""
    it = Membership(("a",), [Entry(command_of(Add("b")), 2, 1), Entry(command_of(Add("c")), 3, 1)])
    it.cut(3)
    assert it.current == ("a", "b")


@pytest.mark.parametrize("command", [b"\2", b"\2+", b"\2*x", b"\2+\xff", b"\2+" + b"x" * 256])
def test_changes_that_make_no_sense(command):
    """Garbage is a ValueError and not a member with a strange name."""
    with pytest.raises(ValueError):  # noqa: PT011
        change_in(command)


def test_the_real_disk(tmp_path):
    """The same journal on a real file system, private to its owner."""
    folder = Folder(str(tmp_path / "raft"))
    journal.create(folder, "a", ("a", "b"))
    *_, expected = play(folder, STEPS)
    folder.close()
    folder = Folder(str(tmp_path / "raft"))
    assert content(Journal(folder)) == expected
    assert [path.name for path in (tmp_path / "raft").iterdir()] == [NAME]
    assert (tmp_path / "raft" / NAME).stat().st_mode & 0o777 == 0o600
    folder.close()


def test_one_folder_has_one_user(tmp_path):
    """Two processes with one journal would vote twice."""
    folder = Folder(str(tmp_path))
    with pytest.raises(FolderInUseError, match="Another process uses"):
        Folder(str(tmp_path))
    folder.close()
    Folder(str(tmp_path)).close()


def test_a_torn_tail_on_the_real_disk(tmp_path):
    """What is cut off stays off, and the next frame goes in its place."""
    folder = Folder(str(tmp_path))
    journal.create(folder, "a", ("a",))
    *_, expected = play(folder, STEPS[:3])
    folder.append(NAME, b"torn")
    it = Journal(folder)
    assert content(it) == expected
    it.append(entry(5))
    flush(it)
    assert Journal(folder).last == entry(5)
    folder.close()
