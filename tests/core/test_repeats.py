"""Orders that a tool gives to each member: carried out once, answered by all, undone by none."""

from collections import deque
from random import Random

import pytest

from sentinel_py.core import former, repeats, snapshot, views
from sentinel_py.core.ledger import decode, encode
from sentinel_py.core.messages import (
    Answer,
    Committed,
    Installed,
    Monitor,
    Propose,
    Refused,
    Remove,
    Reset,
    SetOptions,
)

from .test_consensus import IDS, MASTER, REPLICA, Members

OTHER = "10.0.0.77"


class Lagging(Members):
    """A log whose entries arrive at each member when a test says so."""

    is_fast = True

    def take(self, member, effects):
        for effect in effects:
            match effect:
                case Propose(entry_id, entry):
                    assert decode(encode(entry_id, entry)) == (entry_id, entry)
                    self.log.append((entry_id, entry))
                    if self.is_fast:
                        self.catch_up()
                case Answer(ticket, value):
                    self.answers[ticket] = value

    def may_apply(self, member):
        return self.applied[member] < len(self.log)

    def apply_one(self, member):
        self.applied[member] += 1
        index = self.applied[member]
        self.step(member, Committed(index, *self.log[index - 1]))

    def give(self, member, order):
        self.step(member, order)

    def address(self, member):
        return views.address_of(self.cores[member].state, "m", self.now)

    def states(self):
        return {snapshot.dump(core.state) for core in self.cores}


def cluster(kind=Lagging):
    made = kind()
    made.lead(0)
    assert made.order(0, Monitor(1, "m", MASTER, "1", "2")) is None
    made.now += repeats.LIFE_MS
    return made


def heal(ticket):
    """What a tool gives to one sentinel after the other, or to all at once."""
    return [
        Remove(ticket, "m"),
        Monitor(ticket + 1, "m", OTHER, "1", "2"),
        SetOptions(ticket + 2, "m", ("down-after-milliseconds", "1234")),
        SetOptions(ticket + 3, "m", ("down-after-milliseconds", "999")),
    ]


def play(seed):
    """Heal by all members at once; entries arrive in one order, at any time, at each of them."""
    rng = Random(seed)
    made = cluster()
    made.is_fast = False
    left = [deque(heal(10 * (member + 1))) for member in range(3)]
    asked = [None] * 3
    while any(left) or any(map(made.may_apply, range(3))):
        member = rng.randrange(3)
        ticket = asked[member]
        if ticket is not None and ticket in made.answers:
            assert made.answers[ticket] is None, f"{ticket} is refused: {made.answers[ticket]}"
            asked[member] = None
        elif asked[member] is None and left[member] and rng.random() < 0.5:
            order = left[member].popleft()
            asked[member] = order.ticket
            made.give(member, order)
        elif made.may_apply(member):
            made.apply_one(member)
        gap = {type(it[0]) for it in left if it}
        if len(left[member]) == 4 and asked[member] is None:
            assert made.address(member), f"nil before any REMOVE here, {gap}"
    return made


@pytest.mark.parametrize("seed", range(300))
def test_all_heal_at_once(seed):
    """Whatever the interleaving, each order is answered with OK, and the last word holds."""
    made = play(seed)
    assert len(made.states()) == 1
    for member in range(3):
        assert made.address(member) == (OTHER, "1")
        assert made.master(member).options.down_after_ms == 999


def test_without_the_log_a_late_order_undoes_a_newer_one(monkeypatch):
    """The worlds above would find it."""
    monkeypatch.setattr(repeats, "is_under_way_twice", lambda *_: False)
    with pytest.raises(AssertionError):
        list(map(test_all_heal_at_once, range(300)))


def test_one_member_after_the_other():
    """The second and third get OK, once; the same member again gets the original's error."""
    made = cluster()
    order = Monitor(5, "other", MASTER, "1", "2")
    assert made.order(1, order) is None
    assert str(made.order(1, order)) == "ERR Duplicate master name."
    assert made.order(0, order) is None
    assert str(made.order(0, order)) == "ERR Duplicate master name."
    assert made.order(2, order) is None
    entries = len(made.log)
    assert made.order(2, Reset(6, "oth*")) == 1
    assert made.order(0, Reset(6, "oth*")) == 1
    assert len(made.log) == entries + 1
    assert made.order(0, Remove(7, "other")) is None
    assert made.order(2, Remove(7, "other")) is None
    assert str(made.order(2, Remove(7, "other"))) == "ERR No such master with that name"


@pytest.mark.parametrize(
    "order",
    [
        Monitor(5, "m2", MASTER, "1", "3"),
        Monitor(5, "m2", MASTER, "2", "2"),
        Monitor(5, "m2", REPLICA, "1", "2"),
    ],
)
def test_another_master_of_that_name_is_none(order):
    """It asks for something else, so it is refused as ever."""
    made = cluster()
    assert made.order(0, Monitor(5, "m2", MASTER, "1", "2")) is None
    assert isinstance(made.order(1, order), Refused)


def test_after_a_while_an_order_is_a_new_one():
    """A tool needs seconds; a person who comes later means it."""
    made = cluster()
    assert made.order(0, Remove(5, "m")) is None
    assert made.order(0, Monitor(6, "m", MASTER, "1", "2")) is None
    made.now += repeats.LIFE_MS
    assert made.order(1, Remove(7, "m")) is None
    assert not any(core.state.masters for core in made.cores)


def test_what_is_remembered_has_an_end():
    """However many orders there are; and it comes with a snapshot."""
    made = cluster()
    for number in range(repeats.HEARD_MAX + 10):
        assert made.order(0, SetOptions(5, "m", ("quorum", str(number + 1)))) is None
    state = made.cores[1].state
    assert len(state.raft.heard_orders) == repeats.HEARD_MAX
    assert len(state.recent_orders) == repeats.RECENT_MAX
    fresh = Lagging().cores[2]
    fresh.step(made.now, Installed(len(made.log), snapshot.dump(state)))
    assert fresh.state.recent_orders == state.recent_orders


def test_a_master_that_dies_in_the_gap_has_its_replicas(monkeypatch):
    """Those that it had serve until it has been read again."""
    made = cluster(Members)
    made.all_meet_replica()
    assert made.order(0, Remove(5, "m")) is None
    assert made.order(0, Monitor(6, "m", MASTER, "1", "2")) is None
    master = made.master(0)
    assert not master.replicas
    turn = made.cores[0]._turn(made.now)
    former.bring_back(turn, master)
    assert [it.address.host for it in master.replicas.values()] == [REPLICA]
    assert not master.former_replicas


def test_clients_of_others_are_told_where_it_was():
    """For two seconds; those of the member that was told to forget it are not."""
    made = cluster()
    assert made.order(1, Remove(5, "m")) is None
    assert [made.address(member) for member in range(3)] == [(MASTER, "1"), None, (MASTER, "1")]
    rows = views.masters(made.cores[0].state, made.now)
    assert [dict(row)["name"] for row in rows] == ["m"]
    assert made.order(2, Remove(6, "m")) is None
    assert [made.address(member) for member in range(3)] == [(MASTER, "1"), None, None]
    made.now += former.GAP_MS
    assert not any(made.address(member) for member in range(3))
    assert not views.masters(made.cores[0].state, made.now)
    assert IDS


def test_what_was_removed_since_is_watched_again():
    """Through whatever member: the MONITOR of before is not repeated, but meant."""
    made = cluster()
    assert made.order(0, Monitor(5, "ghost", MASTER, "1", "2")) is None
    assert made.order(1, Remove(6, "ghost")) is None
    assert made.order(2, Monitor(7, "ghost", MASTER, "1", "2")) is None
    assert all("ghost" in core.state.masters for core in made.cores)
    assert made.order(1, Remove(8, "ghost")) is None
    assert made.order(2, Remove(9, "ghost")) is None
    assert made.order(0, Monitor(10, "ghost", MASTER, "1", "2")) is None
    assert all("ghost" in core.state.masters for core in made.cores)
