"""From notices to the history: what is kept, who writes it down, and when."""

import asyncio

import pytest

from sentinel_py import history as module
from sentinel_py.core import chronicle
from sentinel_py.core.messages import Level, Note, Notice
from sentinel_py.core.model import Event, Raft, State
from sentinel_py.history import BATCH_MAX, PENDING_MAX, Chronicler

US, OTHER = "a" * 40, "b" * 40
PATIENCE_S = 5


class Room:
    """A chronicler with a core's state; in a Raft cluster, its log is committed by hand."""

    def __init__(self, raft=None):
        self.now = 1_000_000
        self.state = State(myid=US, raft=raft)
        self.notes = []
        self.told = []
        self.index = 0
        self.leads = []
        self.chronicler = Chronicler(self.state, self.feed, lambda: self.now)
        self.chronicler.listen(self)

    def feed(self, note):
        assert isinstance(note, Note)
        self.notes.append(note.entry)
        if self.state.raft is None:
            chronicle.write(self.state, note.entry)

    def commit(self, entry):
        self.index += 1
        chronicle.committed(self.state, self.index, entry)
        self.chronicler.look()

    def lead(self, leader):
        self.state.raft.leader, self.state.raft.leads = leader, leader == US
        self.chronicler.look()

    def notice(self, text, name="+sdown", level=Level.WARNING, master="m"):
        self.now += 1
        self.chronicler.notice(Notice(level, name, text, master=master))

    def written_elsewhere(self):
        """The entry by which another one has written down what is seen here."""
        entry = chronicle.record(self.chronicler._pending)
        self.chronicler._pending.clear()
        return entry

    def written(self):
        return [event.text for event in self.state.history.events]

    def proposed(self):
        return [[*note.words[2::4]] for note in self.notes]

    def seen(self, event):
        pass

    def recorded(self, events):
        self.told += [event.text for event in events]

    def lead_changed(self, leads):
        self.leads.append(leads)


async def eventually(condition):
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
def quickly(monkeypatch):
    monkeypatch.setattr(module, "FLUSH_MS", 5)
    monkeypatch.setattr(module, "RETRY_MS", 20)


@pytest.fixture
async def room(quickly):
    made = Room()
    yield made
    made.chronicler.close()


@pytest.fixture
async def member(quickly):
    """A room in a Raft cluster that another one leads."""
    made = Room(Raft(boot="x"))
    made.lead(OTHER)
    yield made
    made.chronicler.close()


async def test_warnings_about_masters_are_kept(room):
    """And about the Raft cluster; not what is quieter, nor about scripts and the clock."""
    room.notice("a")
    room.notice("b", "+slave", Level.NOTICE)
    room.notice("c", "+raft-leader", master="")
    room.notice("d", "-script-error", master="")
    await eventually(lambda: room.told)
    assert room.written() == ["a", "c"]


async def test_what_happens_at_once_is_written_at_once(room):
    """One entry for a failover, not one for each of its notices; and a storm in batches."""
    for number in range(BATCH_MAX + 1):
        room.notice(str(number))
    assert room.notes == []
    await eventually(lambda: len(room.told) == BATCH_MAX + 1)
    assert [len(batch) for batch in room.proposed()] == [BATCH_MAX, 1]


async def test_long_events_make_a_smaller_batch(room):
    """An entry of the log must stay below its limit."""
    for number in range(50):
        room.notice(f"{number} {'x' * 1000}")
    await eventually(lambda: len(room.told) == 50)
    assert max(len("".join(note.words)) for note in room.notes) < 40_000


async def test_too_many_drop_the_oldest(room):
    """What nobody takes does not grow without end."""
    for number in range(PENDING_MAX + 5):
        room.notice(str(number))
    await eventually(lambda: len(room.told) == PENDING_MAX)
    assert room.told[0] == "5"


async def test_nothing_is_kept_when_it_is_off(room):
    """With event-history 0 nothing waits and nothing is written."""
    room.state.settings.event_history = 0
    room.notice("a")
    room.state.settings.event_history = 10
    room.notice("b")
    await eventually(lambda: room.told)
    assert room.told == ["b"]


async def test_a_follower_leaves_it_to_the_leader(member):
    """What it has seen, too, is done with when the leader's entry comes."""
    member.notice("a")
    assert member.chronicler._timer is None
    entry = chronicle.record(member.chronicler._pending)
    member.commit(entry)
    member.lead(US)
    member.notice("b")
    await eventually(lambda: member.notes)
    assert member.proposed() == [["b"]]
    assert member.told == ["a"]


async def test_a_new_leader_writes_what_the_old_one_could_not(member):
    """It was seen by all, and its writer died before it was in the log."""
    member.notice("long ago")
    member.now += 60_000
    member.notice("switched")
    member.lead(None)
    member.notice("lost")
    member.lead(US)
    await eventually(lambda: member.notes)
    assert member.proposed() == [["switched", "lost"]]
    assert member.leads == [True]


async def test_a_new_leader_does_not_repeat_the_old_one(member):
    """What it has seen a little later than the leader wrote is the same event."""
    member.notice("seen by both")
    entry = member.written_elsewhere()
    member.commit(entry)
    member.now += 500
    member.notice("seen by both")
    member.lead(None)
    member.lead(US)
    member.notice("new")
    await eventually(lambda: member.notes)
    assert member.proposed() == [["new"]]


async def test_what_is_seen_late_was_written_before(member):
    """Another one has written it down already, and stands for it; what it has not, is new."""
    member.notice("seen by both")
    entry = member.written_elsewhere()
    member.commit(entry)
    await asyncio.sleep(0)
    member.notice("seen by both")
    member.notice("seen by both")
    member.lead(US)
    await eventually(lambda: member.notes)
    assert member.proposed() == [["seen by both"]]


async def test_who_leads_writes_what_happens_again(member):
    """A failover soon after that of another leader has the same notices."""
    member.notice("promoted")
    entry = member.written_elsewhere()
    member.commit(entry)
    await asyncio.sleep(0)
    member.lead(US)
    member.notice("promoted")
    await eventually(lambda: member.notes)
    assert member.proposed() == [["promoted"]]


async def test_a_notice_that_waits_for_a_save_is_no_news(member):
    """Who reads the log late applies a switch and its event at once; the notice comes behind."""
    member.notice("switched")
    entry = member.written_elsewhere()
    member.now += 60_000
    asyncio.get_running_loop().call_soon(member.notice, "switched")
    member.commit(entry)
    await asyncio.sleep(0)
    member.lead(US)
    member.notice("new")
    await eventually(lambda: member.notes)
    assert member.proposed() == [["new"]]


async def test_a_switch_is_known_by_where_it_leads(member):
    """Who was away for two switches learns of one, which never was."""
    for event in (Event(0, 1, "+switch-master", f"m {way}", "m") for way in ("a 1 b 1", "b 1 c 1")):
        member.commit(chronicle.record([event]))
    member.notice("m a 1 c 1", "+switch-master")
    member.notice("m c 1 d 1", "+switch-master")
    member.lead(US)
    await eventually(lambda: member.notes)
    assert member.proposed() == [["m c 1 d 1"]]


async def test_the_nearest_in_time_is_meant(member):
    """What only we have seen long ago does not stay in the place of what all have seen."""
    member.notice("again")
    member.now += 60_000
    member.notice("again")
    member.commit(chronicle.record([member.chronicler._pending[-1]]))
    member.lead(None)
    member.lead(US)
    member.notice("new")
    await eventually(lambda: member.notes)
    assert member.proposed() == [["new"]]


async def test_twice_in_one_moment_is_once(room):
    """The log would take only one of them, and the other be proposed for ever."""
    for _ in range(2):
        room.now -= 1
        room.notice("a")
    await eventually(lambda: room.told and not room.chronicler._pending)
    assert room.proposed() == [["a"]]


async def test_a_batch_has_no_more_than_the_history(room):
    """Or its first events would be gone before anybody could be told."""
    room.state.settings.event_history = 2
    for text in ("a", "b", "c"):
        room.notice(text)
    await eventually(lambda: len(room.told) == 3)
    assert room.told == ["a", "b", "c"]
    assert room.written() == ["b", "c"]


async def test_what_is_not_committed_is_proposed_again(member):
    """Until the entry comes; then no more."""
    member.lead(US)
    member.notice("a")
    await eventually(lambda: len(member.notes) >= 2)
    member.commit(member.notes[0])
    count = len(member.notes)
    member.notice("b")
    await eventually(lambda: len(member.notes) > count)
    assert member.proposed()[-1] == ["b"]


async def test_who_leads_no_more_writes_no_more(member):
    """The timer of a former leader finds nothing to do."""
    member.lead(US)
    member.notice("a")
    member.lead(OTHER)
    await eventually(lambda: member.chronicler._timer is None)
    assert member.notes == []
    assert member.leads == [True, False]


async def test_nothing_is_written_behind_the_end(room):
    """A notice of the shutdown itself starts no timer in a program that goes on."""
    room.chronicler.close()
    room.notice("a")
    assert room.chronicler._timer is None


async def test_another_clusters_history_is_not_told_again(member):
    """Ids that are lower than those told before are those of another log."""
    member.notice("a")
    member.commit(chronicle.record(member.chronicler._pending))
    member.state.history = type(member.state.history)(is_shared=True, last_id=5)
    member.chronicler.look()
    assert member.told == ["a"]
