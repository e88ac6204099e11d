"""What PySyncObj needs around it: each test shows a guard at work, and what happens without it.

Guards that need no test of their own here: the journal instead of PySyncObj's, and one file for
snapshot and log (test_journal); links that are not its business (nothing of it opens any).
"""

import pytest
from pysyncobj import SyncObj, syncobj

from sentinel_py.raft import adapters, codec, guarded, snapshot
from sentinel_py.raft import engine as engines
from sentinel_py.raft.election import Election
from sentinel_py.raft.engine import Engine, Outcome
from sentinel_py.raft.guarded import LAN, Core
from sentinel_py.raft.journal import NAME, Journal
from sentinel_py.raft.membership import Add, Membership, Remove, command_of
from sentinel_py.raft.replication import Replication
from sentinel_py.raft.snapshot import Entry, Snapshot
from tests.raft.group import Group, Machine

with_and_without = pytest.mark.parametrize("guard", [True, False], ids=["guarded", "unguarded"])


def others_than(group, member_id):
    return [it for it in group.engines if it != member_id]


def divided(group, *, left_behind, committed):
    """A leader that was cut off with commands that nobody else has, and what the others did."""
    old = group.leader()
    group.commit(old, b"first")
    group.part(old)
    for number in range(left_behind):
        group.propose(old, b"lost %d" % number)
    group.until(lambda: not group.status(old).has_lease)
    new = group.leader()
    for number in range(committed):
        asked = group.propose(new, b"kept %d" % number)
        group.until(lambda asked=asked: asked.outcome is Outcome.DONE)
    return old, new


def logs(group):
    return {tuple(it.entries) for it in group.machines.values()}


@with_and_without
def test_nothing_is_committed_because_a_snapshot_arrives(group, replace, guard):
    """A chunk says how far the leader has committed, not that our log agrees with its."""
    if not guard:
        follow = Replication._follow

        def follow_blindly(self, peer, message, entries=None, *, commit_index):
            follow(self, peer, message, entries, commit_index=message["commit_index"])

        replace(Replication, "_follow", follow_blindly)
    replace(engines, "COMPACT_ENTRIES", 4)
    replace(adapters, "CHUNK_LIMIT", 16)
    old, _ = divided(group, left_behind=4, committed=8)
    group.heal()
    group.until(group.has_converged)
    history = group.machines[old].history
    assert any(command.startswith(b"lost") for command in history) is not guard


@with_and_without
def test_members_are_known_before_they_are_applied(replace, guard):
    """A member that restarts counts the votes of those who are in its log, committed or not."""
    if not guard:
        replace(guarded, "Membership", lambda members, _: Membership(members, ()))
    group = Group("a")
    group.leader()
    group.add("b")
    group.catch = lambda source, target, message: bool(message.get("entries"))
    group.engines["a"]._core.submit(command_of(Add("b")), lambda *_: None)
    group.step()
    group.restart("a")
    assert (group.status("a").members == ("a", "b")) is guard


@with_and_without
def test_a_snapshot_has_the_members_of_its_index(group, replace, guard):
    """A change that is not applied yet may be taken back; a snapshot never is."""
    if not guard:
        replace(Membership, "as_of", lambda self, index: self.current)
    leader = group.leader()
    other = others_than(group, leader)[0]
    group.commit(leader, b"x")
    group.part(leader)
    group.change(leader, Remove(other))
    group.step()
    assert other not in group.status(leader).members
    group.core(leader).compacting(b"[]").do()
    assert (other in Journal(group.disks[leader]).snapshot.members) is guard


@with_and_without
def test_one_change_of_members_at_a_time(group, replace, guard):
    """Two under way could make two majorities that do not meet."""
    if not guard:
        unguarded = SyncObj._SyncObj__changeCluster
        replace(guarded._Raft, "_SyncObj__changeCluster", unguarded)
    leader = group.leader()
    asked = [group.change(leader, Remove(it)) for it in others_than(group, leader)]
    group.part(leader)
    group.step()
    assert (asked[1].outcome is Outcome.REFUSED) is guard


@with_and_without
def test_a_leader_we_do_not_know_is_followed(replace, guard):
    """A member that joins has no members yet, and its leader is none of them."""
    if not guard:
        handle = Engine._on_append_entries
        replace(
            Engine,
            "_on_append_entries",
            lambda self, peer, it: peer in self._core.peers and handle(self, peer, it),
        )
    group = Group("a")
    group.leader()
    group.add("b")
    asked = group.change("a", Add("b"))
    group.run(500)
    assert (asked.outcome is Outcome.DONE) is guard


@with_and_without
def test_votes_of_strangers_do_not_count(replace, guard):
    """Whoever is no member may say what he likes."""
    if not guard:
        replace(Election, "on_response_vote", lambda self, *it: self._core.deliver(*it))
    group = Group()
    group.part("a", "bc")
    group.catch = lambda source, target, message: message["type"] == "response_vote"
    group.core("a").set_time(group.now)
    group.engines["a"]._election._stand(is_forced=False)
    group.engines["a"].step()
    for stranger in "xy":
        group.post(stranger, "a", {"type": "response_vote", "term": 1})
    group.engines["a"].step()
    assert (group.status("a").role is engines.Role.CANDIDATE) is guard


@with_and_without
def test_the_members_come_with_a_snapshot(replace, guard):
    """The entries of a young cluster tell who joined, and not who founded it."""
    if not guard:
        replace(Core, "is_blank", False)
    group = Group("a")
    group.leader()
    group.add("b")
    group.change("a", Add("b"))
    group.until(lambda: "b" in group.status("b").members)
    assert (group.status("b").members == ("a", "b")) is guard


def refusals(group):
    answers = [it for *_, it in group.sent if it["type"] == "next_node_idx"]
    return sum(1 for it in answers if not it["success"])


@with_and_without
def test_a_conflict_costs_one_question(group, replace, guard):
    """The first index of a term that is not the leader's is named, not each of its entries."""
    if not guard:

        def parts_at(self, index, term):
            it = self._core.journal
            return index if index > it.last.index or it.term_at(index) != term else None

        replace(Replication, "_parts_at", parts_at)
    divided(group, left_behind=30, committed=40)
    group.sent.clear()
    group.heal()
    group.until(group.has_converged)
    assert len(logs(group)) == 1
    assert (refusals(group) <= 3) is guard


@with_and_without
def test_an_old_refusal_does_not_undo_a_search(group, replace, guard):
    """Only an answer to what was sent since the last step of the search counts."""
    if not guard:
        search = Replication._search

        def search_on(self, peer, next_index):
            search(self, peer, next_index)
            self._search_from.clear()

        replace(Replication, "_search", search_on)
    leader = group.leader()
    other = others_than(group, leader)[0]
    group.part(leader)
    for _ in range(9):
        group.propose(leader, b"x")
    group.step()
    core = group.core(leader)
    core._raft._SyncObj__raftMatchIndex[adapters.member(other)] = 0
    refusal = {
        "type": "next_node_idx",
        "term": core.term,
        "reset": True,
        "success": False,
        "sequence": group.engines[leader]._replication._sequence,
        "sent_at": group.now,
        "promise_ms": 300,
    }
    next_indices = []
    for hint in (5, 2):
        group.post(other, leader, {**refusal, "next_node_idx": hint})
        group.engines[leader]._deliver()
        next_indices.append(core.next_index(other))
    assert next_indices == ([5, 5] if guard else [5, 2])


@with_and_without
def test_what_is_missing_is_sent_at_once(group, replace, guard):
    """A follower that refused does not wait for the next heartbeat, at any step of the search."""
    if not guard:
        replace(Core, "send_at", lambda self, at: None)
    divided(group, left_behind=5, committed=5)
    group.heal()
    group.until(lambda: refusals(group))
    since = group.now
    group.until(group.has_converged)
    assert (group.now - since < LAN.heartbeat_ms // 2) is guard


def test_a_follower_that_always_refuses_is_not_flooded(group):
    """A broken one gets no more than a message in five milliseconds."""
    leader = group.leader()
    other = others_than(group, leader)[0]
    group.commit(leader, *(b"%d" % it for it in range(10)))
    group.core(leader)._raft._SyncObj__raftMatchIndex[adapters.member(other)] = 0

    def refuse(source, target, message):
        if target == other and message["type"] == "append_entries":
            answer = {"next_node_idx": 3, "reset": True, "success": False, "promise_ms": 300}
            echo = {it: message[it] for it in ("term", "sequence", "sent_at")}
            group.post(other, leader, {"type": "next_node_idx", **answer, **echo})
        return target == other

    group.catch = refuse
    group.sent.clear()
    group.run(1_000)
    assert sum(1 for _, target, _ in group.sent if target == other) <= 250


@with_and_without
def test_one_message_carries_all_that_is_missing(group, replace, guard):
    """Many small batches under way are many answers that can cross."""
    if not guard:
        replace(guarded, "BATCH_LIMIT", 1_000)
        group = Group()
    old, _ = divided(group, left_behind=0, committed=0)
    new = group.leader()
    for _ in range(50):
        asked = group.propose(new, bytes(100))
        group.until(lambda asked=asked: asked.outcome)
    group.sent.clear()
    group.heal()
    group.until(group.has_converged)
    batches = [it for _, to, it in group.sent if to == old and len(it.get("entries", ())) > 1]
    assert (len(batches) == 1) is guard


@with_and_without
def test_a_message_waits_for_the_disk(group, replace, guard):
    """When a vote or an acknowledgement leaves, what it tells of has been synced."""
    if not guard:

        def flush_late(self):
            outbox, self._outbox = self._outbox, []
            for peer, message in outbox:
                self._transport(peer, codec.encode(message))
            if write := self._journal.flushing():
                self._begin(write)

        replace(Engine, "_flush", flush_late)
    early = []

    def look(source, target, message):
        file = group.disks[source]._file(NAME)
        pending = group.engines[source]._journal._pending
        depends = message["type"] in ("request_vote", "response_vote", "next_node_idx")
        if depends and (pending or file.synced < group.engines[source]._journal._durable_size):
            early.append(message["type"])
        return False

    group.catch = look
    group.commit(group.leader(), b"x")
    assert (early == []) is guard


def test_entries_wait_if_the_term_is_not_on_disk_yet():
    """A leader that elects itself in one step could come back and lead in the same term again."""
    group = Group("a")
    group.add("b")
    group.core("a").attach("b")
    synced = []

    def look(source, target, message):
        if message["type"] == "append_entries":
            synced.append(Journal(group.disks["a"]).term >= message["term"])
        return False

    group.catch = look
    group.leader()
    assert synced
    assert all(synced)


def test_a_command_that_raises_is_seen_by_whoever_drives_the_engine(replace):
    """PySyncObj would apply it again in each tick; who drives us ends the process."""

    def apply(self, index, command):
        raise ZeroDivisionError

    group = Group()
    leader = group.leader()
    replace(Machine, "apply", apply)
    group.propose(leader, b"bad")
    with pytest.raises(ZeroDivisionError):
        group.run(1_000)


def snapshot_message(group, state, **changes):
    leader = group.leader()
    core = group.core(leader)
    chunk = (snapshot.encode(state), True, True)
    fields = {"term": core.term, "commit_index": core.commit_index, "sequence": 1, "sent_at": 1}
    fields["wanted_ms"] = 300
    return {"type": "append_entries", **fields, "serialized": chunk} | changes


@with_and_without
def test_an_old_snapshot_is_not_taken(group, replace, guard):
    """What was applied and acknowledged is not exchanged for less."""
    if not guard:
        replace(Replication, "_has", lambda self, entry: False)
    leader = group.leader()
    other = others_than(group, leader)[0]
    group.commit(leader, *(b"%d" % it for it in range(10)))
    old = Snapshot(Entry(b"\0", 3, 1), Entry(b"\0", 4, 1), ("a", "b", "c"), b"[]")
    group.post(leader, other, snapshot_message(group, old))
    group.sent.clear()
    group.engines[other].step()
    assert (len(group.machines[other].entries) == 10) is guard
    (answer,) = [it for source, _, it in group.sent if source == other]
    assert (answer["success"], answer["next_node_idx"]) == (True, 5)


@pytest.mark.parametrize("damage", [b"", b"x", b"garbage" * 20])
def test_a_snapshot_that_is_none_is_not_taken(group, damage):
    """It comes again when the next entries do not fit."""
    leader = group.leader()
    other = others_than(group, leader)[0]
    before = group.status(other)
    state = Snapshot(Entry(b"\0", 98, 1), Entry(b"\0", 99, 1), ("a", "b", "c"), b"[]")
    group.post(leader, other, snapshot_message(group, state, serialized=(damage, True, True)))
    group.engines[other].step()
    assert group.status(other).last_index == before.last_index


@with_and_without
def test_a_late_copy_of_entries_cuts_nothing(group, replace, guard):
    """Entries that agree with the log stay, with all that was added behind them."""
    if not guard:
        replace(Replication, "_missing", lambda self, entries: entries)
    leader = group.leader()
    other = others_than(group, leader)[0]
    copies = []
    group.catch = lambda _, to, it: to == other and it.get("entries") and copies.append(it)
    group.commit(leader, b"1")
    group.commit(leader, b"2", b"3")
    last = group.status(other).last_index
    group.post(leader, other, next(it for it in copies if it["entries"][0].command == b"\x001"))
    if guard:
        group.engines[other].step()
        assert group.status(other).last_index == last
    else:
        with pytest.raises(AssertionError, match="what is committed stays"):
            group.engines[other].step()


@with_and_without
def test_an_acknowledgement_of_an_earlier_term_counts_for_nothing(group, replace, guard):
    """What was acknowledged then may have been cut since."""
    leader = group.leader()
    other = others_than(group, leader)[0]
    core = group.core(leader)
    group.part(leader)
    asked = group.propose(leader, b"x")
    group.step()
    answer = {
        "type": "next_node_idx",
        "term": core.term - 1,
        "next_node_idx": core.last.index + 1,
        "reset": False,
        "success": True,
        "sequence": 1,
        "sent_at": 1,
        "promise_ms": 300,
    }
    if not guard:
        answer["term"] = core.term
    group.post(other, leader, answer)
    group.step()
    assert (asked.outcome is None) is guard


@with_and_without
def test_a_member_that_was_cut_off_disturbs_nobody(group, replace, guard):
    """It asks before it stands, so its term does not grow, and the leader stays."""
    if not guard:
        replace(Election, "_ask_around", lambda self: self._stand(is_forced=False))
    leader = group.leader()
    other = others_than(group, leader)[0]
    term = group.status(leader).term
    group.part(other)
    group.run(5_000)
    assert (group.status(other).term == term) is guard
    group.heal()
    group.run(1_000)
    assert (group.status(leader).term == term) is guard


@with_and_without
def test_nobody_votes_while_there_is_a_leader(group, replace, guard):
    """A request that was not made in the leader's name is not even looked at."""
    if not guard:
        replace(Election, "_is_led", lambda self: False)
    leader = group.leader()
    other, third = others_than(group, leader)
    core = group.core(other)
    term = core.term
    request = {"last_log_index": 99, "last_log_term": term, "forced": False}
    group.post(third, other, {"type": "request_vote", "term": term + 1, **request})
    group.engines[other].step()
    assert (core.term == term) is guard


@with_and_without
def test_a_promise_outlives_a_restart(group, replace, guard):
    """A follower that was just started may have told its leader that it would not vote."""
    leader = group.leader()
    other, third = others_than(group, leader)
    group.restart(other)
    if not guard:
        group.engines[other]._election._promised_until = 0
    core = group.core(other)
    request = {"last_log_index": 99, "last_log_term": 9, "forced": False}
    group.post(third, other, {"type": "request_vote", "term": 9, **request})
    group.engines[other].step()
    assert (core.voted_for != third) is guard


@with_and_without
def test_a_higher_term_finds_its_leader(replace, guard):
    """A member whose term is higher would ignore the leader for ever, if it did not tell it."""
    if not guard:
        handle = Engine._on_append_entries
        replace(
            Engine,
            "_on_append_entries",
            lambda self, peer, it: it["term"] >= self._core.term and handle(self, peer, it),
        )
    group = Group()
    leader = group.leader()
    other = others_than(group, leader)[0]
    group.core(other).adopt_term(50)
    group.run(3_000)
    assert (group.status(other).leader is not None) is guard


@with_and_without
def test_the_lease_counts_from_the_sending(replace, guard):
    """An answer that was long on its way says nothing about now."""
    if not guard:
        acknowledged = Election.acknowledged
        replace(
            Election,
            "acknowledged",
            lambda self, peer, _, promise: acknowledged(self, peer, self._core.now_ms, promise),
        )
    group = Group()
    leader = group.leader()
    late = []
    group.catch = lambda source, to, it: to == leader and (late.append((source, it)) or True)
    group.run(100)
    group.catch = lambda *_: True
    group.run(LAN.min_election_ms)
    for source, message in late:
        group.post(source, leader, message)
    group.engines[leader].step()
    assert group.status(leader).has_lease is not guard


def test_a_snapshot_is_not_sent_again_and_again(group, replace):
    """To a member that says nothing it goes once, and heartbeats follow."""
    replace(engines, "COMPACT_ENTRIES", 5)
    leader = group.leader()
    other = others_than(group, leader)[0]
    group.stop(other)
    for number in range(8):
        group.commit(leader, b"%d" % number)
    group.start(other)
    group.until(lambda: any("serialized" in it for *_, it in group.sent))
    group.part(other)
    group.sent.clear()
    group.run(1_000)
    assert sum(1 for *_, it in group.sent if "serialized" in it) == 0


@with_and_without
def test_a_compaction_that_failed_is_not_tried_in_each_step(group, replace, guard, caplog):
    """Writing a whole state to a full disk again and again would be all that the loop does."""
    replace(engines, "COMPACT_ENTRIES", 5)
    replace(engines, "STATE_LIMIT", 10)
    if not guard:
        replace(engines, "_COMPACTION_PAUSE_MS", 0)
    leader = group.leader()
    group.commit(leader, *(b"%d" % it for it in range(10)))
    group.run(100)
    assert (len([it for it in caplog.records if "compacted" in it.message]) <= 3) is guard


@with_and_without
def test_what_is_over_is_forgotten(group, replace, guard):
    """PySyncObj keeps the callback of a command whose answer is lost, for ever."""
    if not guard:
        replace(Core, "sweep", lambda self, is_over: None)
    leader = group.leader()
    other = others_than(group, leader)[0]
    group.catch = lambda source, _, it: it["type"] == "apply_command"
    for _ in range(10):
        group.propose(other, b"x")
    group.run(3_000)
    assert (group.core(other).waiting == 0) is guard


@with_and_without
def test_answers_to_an_earlier_run_find_nobody(group, guard):
    """After a restart PySyncObj would count requests from one again."""
    leader = group.leader()
    other = others_than(group, leader)[0]
    ids = []
    group.catch = lambda source, _, it: it["type"] == "apply_command" and ids.append(it)
    for _ in range(2):
        group.until(lambda: group.status(other).leader is not None)
        if not guard:
            group.core(other)._raft._SyncObj__commandsLocalCounter = 0
        group.propose(other, b"x")
        group.step()
        group.restart(other)
    first, second = (it["request_id"] for it in ids)
    assert (first != second) is guard


def test_the_commit_index_is_never_beyond_the_log(group):
    """The seal that tells it may outlive what it tells of."""
    disk = group.disks["a"]
    it = Journal(disk)
    it.commit_index = 40
    it.seal()
    group.restart("a")
    assert group.status("a").commit_index == 1


@with_and_without
def test_there_is_one_clock(group, replace, guard):
    """PySyncObj's own runs at another speed than the loop's, and here not at all."""
    if not guard:
        replace(syncobj, "monotonicTime", lambda: 0.0)
    leader = group.leader()
    group.sent.clear()
    group.run(1_000)
    heartbeats = [it for source, *_, it in group.sent if it["type"] == "append_entries"]
    assert (len(heartbeats) >= 2 * 1_000 // (LAN.heartbeat_ms + 2)) is guard
    assert group.status(leader).has_lease is guard
