"""The history: ids that only grow, the same on all members, read back from log and snapshot."""

from random import Random

import pytest

from sentinel_py.core import chronicle, snapshot
from sentinel_py.core.ledger import Delivered, Record, decode, encode
from sentinel_py.core.messages import Committed, Installed, Note, Propose, RaftView
from sentinel_py.core.model import Event, Raft, State
from sentinel_py.core.sentinel import Sentinel
from sentinel_py.raft.snapshot import STATE_LIMIT

ID = "a" * 40


def event(at, name="+sdown", text="master m 10.0.0.1 1", master="m"):
    return Event(0, at, name, text, master)


def record(*events):
    return chronicle.record(events)


def member():
    return Sentinel(State(myid=ID, raft=Raft(boot="x")), Random(0))


def commit(core, index, entry):
    assert decode(encode("e:1:1", entry)) == ("e:1:1", entry)
    return core.step(1000, Committed(index, "e:1:1", entry))


def ids(core, since=0):
    return [it.id for it in chronicle.since(core.state.history, since)]


@pytest.fixture
def alone():
    """A sentinel in classic mode."""
    return Sentinel(State(myid=ID), Random(0))


def test_alone_it_is_written_at_once(alone):
    """In classic mode each sentinel has its own history, and nothing to propose."""
    assert alone.step(1000, Note(record(event(5000)))) == []
    assert list(alone.state.history.events) == [
        Event(5000, 5000, "+sdown", "master m 10.0.0.1 1", "m")
    ]


def test_ids_only_grow(alone):
    """They are near the time, but for a clock that stands still or goes back."""
    for at in (5000, 5000, 4000, 7000):
        alone.step(1000, Note(record(event(at, text=f"{at} {len(ids(alone))}"))))
    assert ids(alone) == [5000, 5001, 5002, 7000]
    assert ids(alone, since=5001) == [5002, 7000]


def test_the_oldest_go_first(alone):
    """As many are kept as event-history says; ids go on."""
    alone.state.settings.event_history = 2
    alone.step(1000, Note(record(*(event(at) for at in (1, 2, 3)))))
    assert ids(alone) == [2, 3]
    alone.state.settings.event_history = 0
    alone.step(1000, Note(record(event(4))))
    assert ids(alone) == []
    assert alone.state.history.last_id == 4


def test_long_events_leave_room_in_a_snapshot(alone):
    """Fewer are kept where they are long; the sum is right again once they are gone."""
    alone.state.settings.event_history = 10_000
    for at in range(1, 4001):
        chronicle.write(alone.state, record(event(at, text="\x00" * 1023)))
    history = alone.state.history
    history.is_shared = True
    assert len(snapshot.dump(alone.state)) < STATE_LIMIT * 0.9
    assert ids(alone)[-1] == 4000
    assert len(ids(alone)) > 1000
    alone.state.settings.event_history = 0
    chronicle.write(alone.state, record(event(5000)))
    assert history.characters == 0


def test_what_was_proposed_twice_is_written_once():
    """A proposal whose fate is unknown is made again, and both may come."""
    core = member()
    commit(core, 1, record(event(1), event(2)))
    commit(core, 2, record(event(1), event(2), event(3)))
    assert ids(core) == [1, 2, 3]


def test_an_entry_is_applied_once():
    """Even if its events are so old that nothing of them is kept."""
    core = member()
    core.state.settings.event_history = 1
    for index in (1, 2, 1):
        commit(core, index, record(event(index)))
    assert ids(core) == [2]


@pytest.mark.parametrize(
    "words", [("x", "+a", "b", "m"), ("5", "+a", "b"), (), ("-1", "+a", "b", "m"), ("1" * 30,) * 4]
)
def test_what_is_no_event_says_nothing(words):
    """An entry of another version changes nothing, on all members alike."""
    core = member()
    commit(core, 1, Record(words))
    assert ids(core) == []


def test_only_the_leader_proposes():
    """What followers see is the leader's to write down."""
    core = member()
    note = Note(record(event(1)))
    assert core.step(1000, note) == []
    (lead,) = core.step(1000, RaftView((ID,), ID, True, True, 1))
    core.step(1000, Committed(1, lead.entry_id, lead.entry))
    (proposed,) = core.step(1000, note)
    assert isinstance(proposed, Propose)
    assert proposed.entry == note.entry
    assert ids(core) == []


def test_events_make_nothing_to_save():
    """The file has none of them, so a history does not have it rewritten."""
    assert commit(member(), 1, record(event(1))) == []


def test_it_is_read_back_whatever_the_file_stands_for():
    """After a restart, snapshot and journal come again, and all of both is taken."""
    before = member()
    commit(before, 1, record(event(1)))
    commit(before, 2, Delivered("hook", 1))
    data = snapshot.dump(before.state)
    commit(before, 3, record(event(2)))
    after = member()
    after.state.raft.applied = 3
    after.step(1000, Installed(2, data))
    commit(after, 3, record(event(2)))
    assert after.state.history == before.state.history
    assert snapshot.dump(after.state) == snapshot.dump(before.state)


def test_an_old_snapshot_changes_nothing():
    """What the log said since is newer."""
    core = member()
    commit(core, 1, record(event(1)))
    data = snapshot.dump(core.state)
    commit(core, 2, record(event(2)))
    core.step(1000, Installed(1, data))
    assert ids(core) == [1, 2]


def test_a_snapshot_without_a_history_is_one_of_an_older_version():
    """It is read, and the history begins behind it."""
    core = member()
    core.step(1000, Installed(1, snapshot.dump(State(myid=ID))))
    commit(core, 2, record(event(1)))
    assert ids(core) == [1]


def test_what_one_had_alone_is_not_the_clusters():
    """All members have the same history, so none brings its own."""
    core = Sentinel(State(myid=ID), Random(0))
    core.step(1000, Note(record(event(99))))
    core.state.raft = Raft(boot="x")
    commit(core, 1, record(event(5)))
    assert ids(core) == [5]


def test_what_a_webhook_has_taken_only_grows():
    """An entry of the leader before may come late; rows of webhooks that are gone go."""
    core = member()
    for index, taken in enumerate((7, 9, 8), start=1):
        commit(core, index, Delivered("hook", taken))
    assert core.state.history.delivered == {"hook": 9}
    for number in range(chronicle.DELIVERED_MAX):
        commit(core, 10 + number, Delivered(f"h{number}", 1))
    assert len(core.state.history.delivered) == chronicle.DELIVERED_MAX
    assert "hook" not in core.state.history.delivered
