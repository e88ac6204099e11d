"""The engine: proposals and their outcomes, members, leaders, restarts, and what it costs idle."""

import os
import threading
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel_py.raft import engine as engines
from sentinel_py.raft import journal
from sentinel_py.raft.codec import COMMAND_LIMIT, CodecError
from sentinel_py.raft.engine import Engine, Outcome, Role
from sentinel_py.raft.guarded import LAN, PROPOSALS_LIMIT
from sentinel_py.raft.membership import Add, Remove
from sentinel_py.raft.proposals import TIMEOUT_MS
from tests.raft.group import Group, Machine
from tests.raft.test_codec import messages
from tests.sim.disk import SimDisk


@pytest.fixture
def group():
    return Group()


def others_than(group, member_id):
    return [it for it in group.engines if it != member_id]


@pytest.fixture
def compacting(monkeypatch):
    """Logs become snapshots soon."""
    monkeypatch.setattr(engines, "COMPACT_ENTRIES", 10)


def test_a_member_of_its_own():
    """A cluster of one elects itself and commits."""
    group = Group("a")
    assert group.leader() == "a"
    (asked,) = group.commit("a", b"x")
    assert (asked.outcome, asked.result) == (Outcome.DONE, group.status("a").last_index)
    assert group.machines["a"].commands == [b"x"]


def test_a_proposal_on_any_member(group):
    """Whoever is asked, all apply it at the same index, and the one that asked gets its result."""
    group.leader()
    for member_id in group.engines:
        (asked,) = group.commit(member_id, member_id.encode())
        assert (asked.outcome, asked.result) == (Outcome.DONE, group.status(member_id).last_index)
    logs = [it.entries for it in group.machines.values()]
    assert logs[0] == logs[1] == logs[2]
    assert group.machines["a"].commands == [b"a", b"b", b"c"]


def test_status(group):
    """The leader knows how far its followers are; they know whom they follow."""
    leader = group.leader()
    group.commit(leader, b"x")
    group.run(LAN.heartbeat_ms)
    status = group.status(leader)
    assert (status.role, status.leader, status.has_majority) == (Role.LEADER, leader, True)
    assert status.match == dict.fromkeys("abc", status.last_index)
    assert status.applied_index == status.commit_index == status.last_index
    for other in others_than(group, leader):
        status = group.status(other)
        assert (status.role, status.leader, status.has_lease) == (Role.FOLLOWER, leader, False)
        assert status.has_majority
        assert status.members == ("a", "b", "c")


def test_refused_without_a_leader(group):
    """Before the first election nothing can be proposed, and nothing is kept for later."""
    asked = group.propose("a", b"x")
    assert asked.outcome is None
    group.step()
    assert asked.outcome is Outcome.REFUSED
    group.leader()
    group.run(100)
    assert not group.machines["a"].entries


def test_refused_without_a_link_to_the_leader(group):
    """A command that cannot even be sent is surely not applied."""
    leader = group.leader()
    other = others_than(group, leader)[0]
    group.engines[other].disconnected(leader)
    asked = group.propose(other, b"x")
    group.step()
    assert asked.outcome is Outcome.REFUSED


def test_refused_if_too_long(group):
    """The longest command passes, one byte more does not."""
    leader = group.leader()
    longest = bytes(COMMAND_LIMIT - 1)
    (fits,) = group.commit(leader, longest)
    asked = group.propose(leader, longest + b"x")
    group.step()
    assert (fits.outcome, asked.outcome) == (Outcome.DONE, Outcome.REFUSED)


def test_refused_if_too_many(group):
    """More proposals than the limit at a time are refused at once, the others are done."""
    leader = group.leader()
    asked = [group.propose(leader, b"x") for _ in range(PROPOSALS_LIMIT + 1)]
    group.until(lambda: all(it.outcome for it in asked))
    assert [it.outcome for it in asked].count(Outcome.REFUSED) == 1
    assert asked[-1].outcome is Outcome.REFUSED


def test_a_proposal_ends_in_bounded_time(group):
    """Without an answer it is unknown after its time, and nothing is left of it."""
    leader = group.leader()
    other = others_than(group, leader)[0]
    group.catch = lambda source, _, message: message["type"] == "apply_command"
    asked = group.propose(other, b"x")
    group.run(TIMEOUT_MS - 1)
    assert asked.outcome is None
    group.run(2)
    assert asked.outcome is Outcome.UNKNOWN
    assert group.core(other).waiting == 0


def test_a_leader_without_a_majority_commits_nothing(group):
    """What it was asked is unknown; the others go on, and it takes over their log."""
    leader = group.leader()
    group.part(leader)
    lost = group.propose(leader, b"lost")
    group.until(lambda: lost.outcome, ms=TIMEOUT_MS + 10)
    new = next(it for it in group.engines if group.status(it).has_lease)
    group.propose(new, b"kept")
    group.heal()
    group.until(group.has_converged)
    assert lost.outcome is Outcome.UNKNOWN
    assert [it.commands for it in group.machines.values()] == [[b"kept"]] * 3


def test_the_lease_ends_before_another_can_lead(group):
    """A leader that is cut off knows it in time; at no instant do two hold a lease."""
    old = group.leader()
    group.part(old)
    ended_at = group.until(lambda: not group.status(old).has_lease and group.now)
    new = group.leader()
    assert new != old
    assert ended_at < group.now
    assert not group.status(old).has_majority
    assert group.status(old).role is Role.LEADER, "only the lease tells"
    assert group.status(new).has_majority


def test_followers_know_that_nobody_leads(group):
    """Two dead members of three leave one that says that it has no majority."""
    leader = group.leader()
    last = others_than(group, leader)[0]
    for other in others_than(group, last):
        group.stop(other)
    group.until(lambda: not group.status(last).has_majority, ms=LAN.max_election_ms + 1)


def test_a_dead_leader_is_replaced_at_once(group):
    """If its process is known to be gone nobody waits for it."""
    leader = group.leader()
    others = others_than(group, leader)
    group.stop(leader)
    for other in others:
        group.engines[other].disconnected(leader, is_dead=True)
    since = group.now
    assert group.leader() != leader
    assert group.now - since < LAN.min_election_ms // 2


def test_transfer(group):
    """The named member leads, or whoever has the whole log; it takes no election's time."""
    leader = group.leader()
    to = others_than(group, leader)[0]
    asked = group.transfer(leader, to)
    group.until(lambda: group.status(to).has_lease, ms=20)
    assert asked.outcome is Outcome.DONE
    asked = group.transfer(to, None)
    group.until(lambda: asked.outcome)
    assert group.leader() != to


def test_transfer_is_refused(group):
    """By followers, to strangers, and to a member that does not catch up in time."""
    leader = group.leader()
    other = others_than(group, leader)[0]
    refused = [group.transfer(other, leader), group.transfer(leader, "stranger")]
    group.step()
    group.part(other)
    group.propose(leader, b"x")
    group.step()
    refused.append(group.transfer(leader, other))
    group.run(LAN.max_election_ms + 1)
    assert [it.outcome for it in refused] == [Outcome.REFUSED] * 3
    assert group.status(leader).has_lease


def test_a_transfer_that_fails_ends_the_term(group):
    """The other may still stand at any time, so the leader has no lease, and then steps down."""
    leader = group.leader()
    other = others_than(group, leader)[0]
    term = group.status(leader).term
    group.catch = lambda source, target, message: message["type"] == "timeout_now"
    asked = group.transfer(leader, other)
    group.step()
    assert group.status(leader).role is Role.LEADER
    assert not group.status(leader).has_lease
    group.until(lambda: asked.outcome, ms=LAN.max_election_ms + 1)
    assert asked.outcome is Outcome.UNKNOWN
    group.leader()
    assert min(group.status(it).term for it in group.engines) > term


def test_grow_and_shrink():
    """From one to three and back; each member learns of each change."""
    group = Group("a")
    group.leader()
    group.commit("a", b"x")
    for new in "bc":
        group.add(new)
        assert group.status(new).role is Role.LEARNER
        asked = group.change("a", Add(new))
        group.until(lambda asked=asked: asked.outcome)
        assert asked.outcome is Outcome.DONE
    group.until(group.has_converged)
    assert {group.status(it).members for it in "abc"} == {("a", "b", "c")}
    assert group.machines["c"].commands == [b"x"]
    for gone in "bc":
        asked = group.change("a", Remove(gone))
        group.until(lambda asked=asked: asked.outcome)
        assert asked.outcome is Outcome.DONE
        group.stop(gone)
    assert group.status("a").members == ("a",)
    (asked,) = group.commit("a", b"y")
    assert asked.outcome is Outcome.DONE


def test_a_learner_waits():
    """A member without a vote never stands, however long it waits."""
    group = Group("")
    group.add("a")
    group.run(3_000)
    status = group.status("a")
    assert (status.role, status.term, status.members) == (Role.LEARNER, 0, ())
    assert not group.sent


def test_a_member_that_does_not_come_has_no_vote():
    """A cluster of one that adds somebody who is not there goes on as before."""
    group = Group("a")
    group.leader()
    group.engines["a"].connected("ghost")
    asked = group.change("a", Add("ghost"))
    group.step()
    assert group.status("a").learner == "ghost"
    (done,) = group.commit("a", b"x")
    group.run(10_001)
    assert (asked.outcome, done.outcome) == (Outcome.REFUSED, Outcome.DONE)
    assert (group.status("a").members, group.status("a").learner) == (("a",), None)


def test_changes_that_are_refused(group):
    """On followers, of the leader itself, of strangers, of members that are in, two at a time."""
    leader = group.leader()
    other, third = others_than(group, leader)
    refused = [
        group.change(other, Remove(third)),
        group.change(leader, Remove(leader)),
        group.change(leader, Remove("stranger")),
        group.change(leader, Add(other)),
        group.change(leader, Add("x" * 256)),
    ]
    group.change(leader, Add("first"))
    refused.append(group.change(leader, Add("second")))
    group.step()
    assert [it.outcome for it in refused] == [Outcome.REFUSED] * 6
    assert group.status(leader).members == ("a", "b", "c")


def test_all_restart(group):
    """After a power failure of all everything acknowledged is there, and commits go on."""
    leader = group.leader()
    group.commit(leader, *(b"%d" % it for it in range(20)))
    for member_id in "abc":
        group.disks[member_id].crash()
        group.restart(member_id)
    (asked,) = group.commit(group.leader(), b"more")
    assert asked.outcome is Outcome.DONE
    for machine in group.machines.values():
        assert machine.commands == [b"%d" % it for it in range(20)] + [b"more"]


def test_restart_from_a_snapshot(group, compacting):
    """The state comes from the snapshot, with the first step, and the rest from the log."""
    leader = group.leader()
    for number in range(25):
        group.commit(leader, b"%d" % number)
    group.disks[leader].crash()
    group.restart(leader)
    assert not group.machines[leader].restored
    group.step()
    (index,) = group.machines[leader].restored
    assert index == group.status(leader).snapshot_index > 10
    group.leader()
    group.until(group.has_converged)
    assert group.machines[leader].commands == [b"%d" % it for it in range(25)]


def test_a_member_far_behind_gets_a_snapshot(group, compacting):
    """What was compacted away arrives as a state, and what follows as entries."""
    leader = group.leader()
    other = others_than(group, leader)[0]
    group.stop(other)
    for number in range(25):
        group.commit(leader, b"%d" % number)
    group.restart(other)
    group.until(group.has_converged)
    assert len(group.machines[other].restored) == 1
    assert group.machines[other].entries == group.machines[leader].entries


def test_a_snapshot_that_the_machine_refuses(group, compacting):
    """It is told at intervals, and nothing of it is taken over; a good one is, later."""
    leader = group.leader()
    other = others_than(group, leader)[0]
    group.stop(other)
    for number in range(25):
        group.commit(leader, b"%d" % number)
    group.restart(other)
    machine = group.machines[other]
    machine.refuses = "nonsense"
    group.until(lambda: len(machine.refused) == 2, ms=15_000)
    assert {why for _, why in machine.refused} == {"nonsense"}
    assert not machine.restored
    assert not machine.entries
    machine.refuses = ""
    group.until(group.has_converged, ms=15_000)
    assert machine.entries == group.machines[leader].entries


def test_a_journal_is_compacted_by_bytes(group, monkeypatch):
    """Few long commands make a long journal, too."""
    monkeypatch.setattr(engines, "COMPACT_BYTES", 10_000)
    leader = group.leader()
    for _ in range(20):
        group.commit(leader, bytes(1_000))
    assert all(group.status(it).snapshot_index > 1 for it in "abc")


def test_a_full_disk_halts(group, caplog):
    """A member that cannot write takes no part; its proposals end, and the others go on."""
    leader = group.leader()
    asked = group.propose(leader, b"x")
    group.disks[leader].is_full = True
    group.step()
    status = group.status(leader)
    assert (asked.outcome, status.role) == (Outcome.UNKNOWN, Role.HALTED)
    assert (status.leader, status.has_lease, status.has_majority) == (None, False, False)
    assert "No space left" in caplog.text
    new = group.leader()
    done = group.propose(new, b"y")
    group.until(lambda: done.outcome)
    assert done.outcome is Outcome.DONE
    again = group.propose(leader, b"z")
    group.step()
    assert again.outcome is Outcome.REFUSED
    group.disks[leader].is_full = False
    group.restart(leader)
    group.until(group.has_converged)
    assert b"y" in group.machines[leader].commands


def test_garbage_goes_back_to_whoever_handed_it_in(group):
    """A message that is none is an error of the link it came over."""
    with pytest.raises(CodecError):
        group.engines["a"].receive("b", b"garbage")


def test_the_inbox_has_a_limit(group):
    """A peer that sends and sends between two steps fills no memory."""
    for _ in range(engines.INBOX_LIMIT + 10):
        group.post("b", "a", {"type": "nack", "term": 1})
    assert len(group.engines["a"]._inbox) == engines.INBOX_LIMIT


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcx"), messages), max_size=8))
def test_any_message_in_any_state(stream):
    """Whatever well-formed messages come, from members or others, the engine goes on.

    But if a leader contradicts what is committed: that would be a broken cluster, and ends us.
    """
    group = Group()
    group.commit(group.leader(), b"x")
    for source, message in stream:
        small = {key: it % 8 if type(it) is int else it for key, it in message.items()}
        for target in others_than(group, source):
            group.post(source, target, small)
            try:
                group.step()
            except AssertionError as error:
                if str(error) != "what is committed stays":
                    raise
                return


def test_no_thread_and_no_descriptor():
    """An engine opens nothing but its disk: no pipe, no socket, no thread."""
    files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    disk = SimDisk(Random(0))
    journal.create(disk, "a", ("a",))
    engine = Engine(disk, Machine(), lambda *_: None, Random(0))
    engine.step()
    assert engine.member_id == "a"
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == (files, threads)


def test_idle(group):
    """Ten idle minutes: no byte in the journal, nothing kept, and few messages."""
    group.leader()
    group.run(2_000)
    sizes = [len(disk.read(journal.NAME)) for disk in group.disks.values()]
    group.sent.clear()
    deadline = group.now + 600_000
    while group.now < deadline:
        group.now += min(max(1, it.next_tick_ms) for it in group.engines.values())
        group.step()
    assert [len(disk.read(journal.NAME)) for disk in group.disks.values()] == sizes
    assert all(group.core(it).waiting == 0 for it in "abc")
    assert len(group.sent) <= 600_000 / LAN.heartbeat_ms * 4
    assert {message["type"] for *_, message in group.sent} == {"append_entries", "next_node_idx"}


def test_a_change_is_not_passed_on(group):
    """A leader that is deposed before it wrote the change down refuses it, and so does the next."""
    leader = group.leader()
    other, third = others_than(group, leader)
    group.transfer(leader, other)
    group.engines[leader].step()
    asked = group.change(leader, Remove(third))
    numbers = {"commit_index": 1, "prevLogIdx": 1, "prevLogTerm": 0, "sequence": 1, "sent_at": 1}
    heartbeat = numbers | {"wanted_ms": 300}
    term = group.status(leader).term + 1
    message = {"type": "append_entries", "term": term, "entries": [], **heartbeat}
    group.post(other, leader, message)
    group.engines[leader].step()
    assert asked.outcome is Outcome.REFUSED
