"""The two waits of fencing, as arithmetic: the promotion's is the longer one, whoever was heard."""

from random import Random

import pytest

from sentinel_py.core import fencing, roster
from sentinel_py.core.model import Address, Options, Raft, State
from sentinel_py.core.turn import Turn

IDS = ("a" * 40, "b" * 40, "c" * 40, "d" * 40, "e" * 40)
NOW = 100_000


@pytest.fixture
def state():
    """The leader of five, which has just heard all of them."""
    raft = Raft("x", members=IDS, has_lease=True, leads=True, led_at=NOW - 60_000)
    raft.heard_at = dict.fromkeys(IDS[1:], NOW)
    return State(myid=IDS[0], raft=raft)


@pytest.fixture
def master(state):
    options = Options(2, down_after_ms=1500, failover_timeout_ms=6000, fence_isolated_master=True)
    return roster.add_master(state, NOW, "m", Address("10.0.0.1", 1, "10.0.0.1"), options)


def wait_ms(state, master):
    turn = Turn(NOW, state, Random(0), lambda _: True)
    return fencing.clear_at(turn, master) - NOW


@pytest.mark.parametrize(
    ("down_after_ms", "lease_ms"), [(100, 250), (1000, 333), (1500, 500), (30_000, 1000)]
)
def test_the_lease_is_a_third_of_down_after(master, down_after_ms, lease_ms):
    """Between what two questions to the leader take, and what an election takes."""
    master.shared.down_after_ms = down_after_ms
    assert fencing.lease_ms(master) == lease_ms


def test_with_all_in_contact_nothing_waits(state, master):
    """A member that was heard just now would be heard again before anything can be lost."""
    assert wait_ms(state, master) == 0


@pytest.mark.parametrize("silent_ms", [fencing.SILENT_AFTER_MS, 400, 604])
def test_a_silent_member_is_waited_for(state, master, silent_ms):
    """Lease, one percent for its clock, and the margin, since it was heard last."""
    state.raft.heard_at[IDS[3]] = NOW - silent_ms
    assert wait_ms(state, master) == 500 + 5 + fencing.MARGIN_MS - silent_ms


def test_a_member_that_is_silent_for_longer_has_fenced(state, master):
    """So a failover after the loss of a host is no slower for it."""
    state.raft.heard_at[IDS[3]] = NOW - 605
    del state.raft.heard_at[IDS[4]]
    assert wait_ms(state, master) == 0


def test_what_was_heard_in_an_earlier_lead_does_not_count(state, master):
    """Others may have led since, and given proof to whomever we do not hear now."""
    state.raft.led_at = NOW - 10
    state.raft.heard_at = dict.fromkeys(IDS[1:4], NOW) | {IDS[4]: NOW - 100}
    assert wait_ms(state, master) == 605 - 10


def test_who_is_reached_through_others_only_is_waited_for(state, master):
    """It is in contact, so it has not fenced; and it would not hear of the switch in time."""
    state.raft.heard_at[IDS[3]] = NOW - 5000
    state.raft.relayed_at = {IDS[3]: NOW - 5}
    assert wait_ms(state, master) == 605 - 5


def test_a_local_down_after_changes_nothing(state, master):
    """An override is unknown to the others, who count on the shared lease."""
    master.options = Options(2, down_after_ms=60_000, failover_timeout_ms=6000)
    assert fencing.lease_ms(master) == 500


def spare_ms(seed):
    """How long before the promotion a silent member has fenced, in a world of this seed.

    Delays are of any length, and clocks differ by a percent.
    """
    rng = Random(seed)
    asked_at = NOW - rng.randint(0, 2000)
    answered_at = asked_at + rng.choice((0, rng.randint(0, 2000)))  # it was on its way so long
    looked_at = answered_at + 250 + rng.randint(0, 1000)
    clock_rate = rng.choice((1, 0.99))
    leader, member = (State(myid=it, raft=Raft("x", members=IDS)) for it in IDS[:2])
    member.raft.contact_at = asked_at
    leader.raft.leads, leader.raft.led_at = True, NOW - 60_000
    leader.raft.heard_at = dict.fromkeys(IDS[1:], looked_at) | {IDS[1]: answered_at}
    options = Options(2, down_after_ms=1500, failover_timeout_ms=6000, fence_isolated_master=True)
    masters = [
        roster.add_master(it, NOW, "m", Address("10.0.0.1", 1, "10.0.0.1"), options)
        for it in (leader, member)
    ]
    turns = [Turn(looked_at, it, Random(0), lambda _: True) for it in (leader, member)]
    fences_at = fencing._contact_ends_at(turns[1], member.raft, masters[1])
    fenced_at = asked_at + (fences_at - asked_at) / clock_rate + 97  # and the way to the master
    return fencing.clear_at(turns[0], masters[0]) - fenced_at


def test_a_member_fences_before_it_is_counted_upon():
    """Whatever the delays: first the fence, then the promotion."""
    assert min(map(spare_ms, range(300))) > 0


BROKEN = {
    "the promotion waits for nobody": ("clear_at", lambda turn, _master: turn.now),
    "the way of the order takes no time": ("MARGIN_MS", 0),
    "all clocks are the same": ("_DRIFT", 10**9),
    "a member that misses an answer is not silent": ("SILENT_AFTER_MS", 500),
    "a member fences later than its lease": (
        "_contact_ends_at",
        lambda _turn, raft, master: raft.contact_at + fencing.lease_ms(master) + 60,
    ),
}


@pytest.mark.parametrize(("name", "wrong"), BROKEN.values(), ids=BROKEN)
def test_each_constant_of_it_counts(monkeypatch, name, wrong):
    """One of them a little off, and a promotion comes before the fence."""
    monkeypatch.setattr(fencing, name, wrong)
    assert min(map(spare_ms, range(300))) <= 0
