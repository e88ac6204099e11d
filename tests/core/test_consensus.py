"""The core as a member of a Raft cluster: entries proposed, and what committed ones change.

The log here is a list that all members apply at once; whether a real one keeps its promises is
tested with the engine.
"""

from random import Random

import pytest

from sentinel_py.core import snapshot
from sentinel_py.core.ledger import Choice, Claim, Command, Finish, Switch, decode, encode
from sentinel_py.core.members import majority, voters
from sentinel_py.core.messages import (
    Answer,
    Ask,
    Committed,
    ConfigSet,
    DirectHello,
    DownAnswer,
    DownQuestion,
    DownReport,
    ErrorReply,
    FailOver,
    Installed,
    LinkUp,
    Monitor,
    Notice,
    ProposalEnded,
    Propose,
    RaftView,
    Refused,
    Remove,
    Reply,
    Request,
    Reset,
    SaveSoon,
    Send,
    SetOptions,
    Wake,
)
from sentinel_py.core.model import Phase, Raft, State
from sentinel_py.core.sentinel import Sentinel

IDS = ("a" * 40, "b" * 40, "c" * 40)
PLACES = tuple((it, f"10.0.1.{n}", 26379, f"10.0.1.{n}") for n, it in enumerate(IDS))
MASTER = "10.0.0.1"
REPLICA = "10.0.0.2"
OTHER_REPLICA = "10.0.0.3"
RUN_IDS = {MASTER: "a" * 40, REPLICA: "b" * 40, OTHER_REPLICA: "c" * 40}
NO_PAUSE = ErrorReply("ERR Unknown subcommand or wrong number of arguments for 'PAUSE'")


class Members:
    """Three cores and a log; the members that are cut off neither propose nor apply.

    Servers answer what a test has them answer, but always refuse to pause writes.
    """

    def __init__(self):
        self.cores = [
            Sentinel(State(myid=run_id, raft=Raft(boot="x")), Random(0)) for run_id in IDS
        ]
        self.log = []
        self.applied = [0, 0, 0]
        self.notices = [[], [], []]
        self.sent = [[], [], []]
        self.answers = {}
        self.now = 1000
        self.cut_off = set()

    def step(self, member, event):
        self.take(member, self.cores[member].step(self.now, event))

    def take(self, member, effects):
        for effect in effects:
            match effect:
                case Propose(entry_id, entry) if member not in self.cut_off:
                    assert decode(encode(entry_id, entry)) == (entry_id, entry)
                    self.log.append((entry_id, entry))
                    self.catch_up()
                case Notice(_, name, text):
                    self.notices[member].append(f"{name} {text}")
                case Send(link, requests):
                    self.sent[member] += [" ".join(request.args) for request in requests]
                    for request in requests:
                        if request.ask is Ask.PAUSE:
                            self.step(member, Reply(link, request, NO_PAUSE))
                case Answer(ticket, value):
                    self.answers[ticket] = value

    def catch_up(self):
        for member in range(3):
            while member not in self.cut_off and self.applied[member] < len(self.log):
                self.applied[member] += 1
                index = self.applied[member]
                self.step(member, Committed(index, *self.log[index - 1]))

    def lead(self, leader):
        for member in range(3):
            if member not in self.cut_off:
                view = RaftView(IDS, IDS[leader], member == leader, True, 1, PLACES)
                self.step(member, view)

    def order(self, member, event):
        self.answers.pop(event.ticket, None)
        self.step(member, event)
        return self.answers[event.ticket]

    def master(self, member, name="m"):
        return self.cores[member].state.masters[name]

    def all_meet_replica(self):
        for member in range(3):
            self.meet_replica(member)

    def meet_replica(self, member, host=REPLICA):
        """Let a member learn of one replica, which answers."""
        master = self.master(member)
        self.step(member, LinkUp(master.command.id, "10.0.0.9"))
        self.info(member, master, f"role:master\r\nslave0:ip={host},port=1,state=online")
        replica = next(it for it in master.replicas.values() if it.address.host == host)
        self.step(member, LinkUp(replica.command.id, "10.0.0.9"))
        self.step(member, Reply(replica.command.id, Request(("PING",), Ask.PING), b"PONG"))
        self.info(member, replica, f"role:slave\r\nmaster_host:{MASTER}\r\nmaster_port:1")
        return replica

    def info(self, member, node, lines):
        text = f"run_id:{RUN_IDS[node.address.host]}\r\n{lines}\r\n".encode()
        self.step(member, Reply(node.command.id, Request(("INFO",), Ask.INFO), text))


@pytest.fixture
def members():
    """A led cluster that watches one master."""
    made = Members()
    made.lead(0)
    assert made.order(1, Monitor(1, "m", MASTER, "1", "2")) is None
    return made


def test_an_order_on_any_member_reaches_all(members):
    """SET on a follower is answered when it is committed, and all have it."""
    assert members.order(2, SetOptions(5, "m", ("quorum", "3"))) is None
    assert [members.master(member).options.quorum for member in range(3)] == [3, 3, 3]
    assert members.order(1, Remove(6, "m")) is None
    assert all(not core.state.masters for core in members.cores)


def test_a_bad_order_is_refused_by_all_alike(members):
    """What an entry asks for is checked where it is applied; nothing changes."""
    refusal = members.order(1, SetOptions(5, "m", ("no-such-option", "1")))
    assert isinstance(refusal, Refused)
    assert isinstance(members.order(2, Monitor(6, "m", MASTER, "2", "1")), Refused)
    assert len({snapshot.dump(core.state) for core in members.cores}) == 1


@pytest.mark.parametrize("certain", [True, False])
def test_a_proposal_that_fails_is_told(members, certain):
    """Without a majority an order ends with NOQUORUM and changes nothing here."""
    members.cut_off = {1}
    members.step(1, SetOptions(5, "m", ("quorum", "3")))
    entry_id = next(iter(members.cores[1].state.raft.tickets))
    members.step(1, ProposalEnded(entry_id, certain))
    assert members.answers[5].code == "NOQUORUM"
    assert ("nothing was changed" in members.answers[5].text) is certain
    assert members.master(1).options.quorum == 2


def test_the_claim_is_the_vote_of_all(members):
    """FAILOVER on a follower gives the lead to the Raft leader, with every member's vote."""
    members.all_meet_replica()
    assert members.order(1, FailOver(7, "m")) is None
    assert [members.master(member).leader for member in range(3)] == [IDS[0]] * 3
    assert members.master(0).failover.phase is Phase.WAIT_PROMOTION
    assert members.master(1).failover is None
    again = members.order(2, FailOver(8, "m"))
    assert again.code == "INPROG"


def test_all_switch_at_the_same_entry(members):
    """The promotion that the leader sees becomes everybody's switch."""
    replicas = [members.meet_replica(member) for member in range(3)]
    members.order(1, FailOver(7, "m"))
    members.info(0, replicas[0], "role:master")
    assert [members.master(member).address.host for member in range(3)] == [REPLICA] * 3
    assert [members.master(member).config_epoch for member in range(3)] == [1, 1, 1]
    assert "+promoted-slave" in " ".join(members.notices[0])
    assert "+promoted-slave" not in " ".join(members.notices[1])


def test_no_hello_is_faster_than_the_log(members):
    """A member that hears of the switch from the leader itself waits for the entry."""
    replicas = [members.meet_replica(member) for member in range(3)]
    members.order(1, FailOver(7, "m"))
    members.cut_off = {2}
    members.info(0, replicas[0], "role:master")
    members.step(2, DirectHello(f"10.0.1.0,26379,{IDS[0]},1,m,{REPLICA},1,1"))
    assert members.master(2).address.host == MASTER
    members.cut_off = set()
    members.catch_up()
    assert members.master(2).address.host == REPLICA
    assert len({snapshot.dump(core.state) for core in members.cores}) == 1


@pytest.mark.parametrize("name", [IDS[0], IDS[1], "e" * 40])
@pytest.mark.parametrize("epochs", [(9, 1), (9, 9), (0, 2**31), (2**31, 2**31)])
def test_a_hello_moves_nothing_that_the_log_decides(members, name, epochs):
    """In whoever's name, and whatever it says: address, epochs and votes stay as they were."""
    before = snapshot.dump(members.cores[2].state)
    for host in (MASTER, OTHER_REPLICA):
        members.step(2, DirectHello(f"10.0.1.1,26379,{name},{epochs[0]},m,{host},1,{epochs[1]}"))
    assert snapshot.dump(members.cores[2].state) == before
    members.all_meet_replica()
    assert members.order(1, FailOver(7, "m")) is None
    assert members.master(2).leader == IDS[0]


def test_a_failover_from_outside_is_an_entry(members):
    """For the days of a replacement outsiders count: the leader logs their switch for all."""
    words = ("raft-count-outsiders", "yes")
    assert members.order(1, ConfigSet(5, words)) is None
    for member in range(3):
        members.meet_replica(member, OTHER_REPLICA)
    hello = DirectHello(f"10.9.9.9,26379,{'e' * 40},9,m,{OTHER_REPLICA},1,4")
    members.step(1, hello)
    assert members.master(1).address.host == MASTER
    members.step(0, hello)
    for member in range(3):
        assert members.master(member).address.host == OTHER_REPLICA
        assert members.master(member).config_epoch == 4
    assert len({snapshot.dump(core.state) for core in members.cores}) == 1


def test_outsiders_count_only_by_order(members):
    """Votes and majority are the members', and the outsiders' with them when it is said."""
    state = members.cores[0].state
    for number in range(3):
        members.step(0, DirectHello(f"10.9.9.{number},26379,{str(number) * 40},9,m,{MASTER},1,0"))
    master = members.master(0)
    assert len(master.peers) == 5
    assert (voters(state, master), majority(state, master)) == (3, 2)
    members.order(1, ConfigSet(5, ("raft-count-outsiders", "yes")))
    assert (voters(state, master), majority(state, master)) == (6, 4)


def test_who_is_removed_votes_nowhere(members):
    """Its rows are gone with the entry that removes it, and so is its vote."""
    view = RaftView(IDS[:2], IDS[0], True, True, 1, PLACES[:2])
    members.step(0, view)
    master = members.master(0)
    assert list(master.peers) == [IDS[1]]
    assert voters(members.cores[0].state, master) == 2


def test_a_switch_that_comes_when_others_have_gone_on_is_none(members):
    """A leader that was stopped after the promotion may log it when that replica is dead again."""
    members.all_meet_replica()
    members.order(0, FailOver(7, "m"))
    epoch = members.master(0).mandate.epoch
    late = Switch("m", epoch, REPLICA, 1, REPLICA)
    for entry in (Finish("m", epoch), Claim("m", epoch + 1, IDS[0], True, False), late):
        members.log.append(("x:1", entry))
        members.catch_up()
    assert [members.master(member).address.host for member in range(3)] == [MASTER] * 3
    assert members.master(0).failover.epoch == epoch + 1


def test_a_reset_of_one_member_takes_nothing_from_the_log(loners):
    """With replicate-config no the others still know of the failover until its leader ends it."""
    for member in range(3):
        loners.order(member, Monitor(1, "m", MASTER, "1", "2"))
        loners.meet_replica(member)
    loners.order(0, FailOver(7, "m"))
    loners.order(1, Reset(8, "m"))
    assert loners.master(1).mandate.chosen.host == REPLICA
    loners.order(0, Reset(9, "m"))
    loners.step(0, Wake())
    assert [loners.master(member).mandate for member in range(3)] == [None] * 3


@pytest.fixture
def loners():
    """A led cluster with replicate-config no: each member watches what it was told to."""
    made = Members()
    for core in made.cores:
        core.state.settings.replicate_config = False
    made.lead(0)
    return made


def test_a_failover_goes_through_the_log_whoever_is_configured_alone(loners):
    """With replicate-config no only FAILOVER is everybody's affair: one leads, all switch."""
    for member in range(3):
        assert loners.order(member, Monitor(1, "m", MASTER, "1", "2")) is None
    replicas = [loners.meet_replica(member) for member in range(3)]
    loners.order(2, SetOptions(5, "m", ("quorum", "3")))
    assert [loners.master(member).options.quorum for member in range(3)] == [2, 2, 3]
    assert loners.order(1, FailOver(7, "m")) is None
    assert [loners.master(member).failover is None for member in range(3)] == [False, True, True]
    loners.info(0, replicas[0], "role:master")
    assert [loners.master(member).address.host for member in range(3)] == [REPLICA] * 3


def test_a_leader_that_does_not_watch_the_master_says_so(loners):
    """Its mandate ends at once, lest the others wait for a failover that nobody leads."""
    loners.order(1, Monitor(1, "m", MASTER, "1", "2"))
    loners.meet_replica(1)
    loners.order(1, FailOver(7, "m"))
    assert [type(entry).__name__ for _, entry in loners.log[-2:]] == ["Claim", "Finish"]
    assert loners.master(1).mandate is None


def test_a_new_leader_asks_the_chosen_one_first(members):
    """A failover that its leader left is resumed with the same replica, which may be promoted."""
    members.all_meet_replica()
    members.order(0, FailOver(7, "m"))
    members.cut_off = {0}
    members.sent[1].clear()
    members.lead(1)
    attempt = members.master(1).failover
    assert (attempt.chosen.address.host, attempt.epoch) == (REPLICA, 2)
    assert "SLAVEOF NO ONE" not in members.sent[1]
    members.info(1, attempt.chosen, f"role:slave\r\nmaster_host:{MASTER}\r\nmaster_port:1")
    assert "SLAVEOF NO ONE" in members.sent[1]
    members.info(1, attempt.chosen, "role:master")
    assert [members.master(member).address.host for member in (1, 2)] == [REPLICA] * 2


def test_a_new_leader_does_not_replace_a_master_that_is_well_again(members):
    """A claim of which nothing came, left by a leader that lost the majority, is only ended."""
    members.all_meet_replica()
    claim = Claim("m", 1, IDS[0], False, False)
    members.step(1, Committed(len(members.log) + 1, "x:1", claim))
    members.cut_off = {0}
    members.log.append(("x:1", claim))
    members.lead(1)
    assert [entry for _, entry in members.log[-1:]] == [Finish("m", 1)]
    assert members.master(1).failover is None


def test_a_new_leader_in_tilt_leaves_the_failover_alone(members):
    """What an earlier leader has begun is not claimed by one who can trust no clock of its own."""
    members.all_meet_replica()
    members.order(0, FailOver(7, "m"))
    members.cut_off = {0}
    members.cores[1].state.tilt_at = members.now
    members.lead(1)
    assert members.master(1).mandate.leader == IDS[0]
    assert members.master(1).failover is None


def test_an_attempt_from_before_the_cluster_is_left(members):
    """The log knows nothing of it, and would have its choice proposed without end."""
    members.all_meet_replica()
    core, master = members.cores[0], members.master(0)
    raft, core.state.raft = core.state.raft, None
    members.step(0, FailOver(9, "m"))
    assert master.failover.phase is not Phase.RECONF
    core.state.raft = raft
    members.step(0, RaftView(IDS, IDS[0], True, True, 2, PLACES))
    assert master.failover is None
    assert not any(isinstance(entry, Choice) for _, entry in members.log)


def test_a_claim_that_is_read_again_begins_nothing(members):
    """A leader that was killed reads its old claim after its restart, when others lead."""
    members.all_meet_replica()
    members.step(1, RaftView(IDS, IDS[0], False, True, 1))
    claim = Claim("m", 1, IDS[1], False, False)
    members.step(1, Committed(len(members.log) + 1, "x:1", claim))
    assert (members.master(1).leader, members.master(1).leader_epoch) == (IDS[1], 1)
    assert members.master(1).failover is None
    assert members.master(1).mandate.leader == IDS[1]


def test_a_choice_committed_in_tilt_is_carried_out_afterwards(members):
    """The log may be slower than the clock's leap: in TILT nobody is promoted, behind it he is."""
    replica = members.meet_replica(0)
    members.cores[0].state.tilt_at = members.now
    members.order(0, FailOver(7, "m"))
    epoch = members.master(0).mandate.epoch
    choice = Choice("m", epoch, REPLICA, 1, REPLICA)
    members.step(0, Committed(len(members.log) + 1, "x:1", choice))
    assert members.master(0).mandate.chosen.host == REPLICA
    assert "SLAVEOF NO ONE" not in members.sent[0]
    members.cores[0].state.tilt_at = None
    members.info(0, replica, f"role:slave\r\nmaster_host:{MASTER}\r\nmaster_port:1")
    members.info(0, replica, f"role:slave\r\nmaster_host:{MASTER}\r\nmaster_port:1")
    assert "SLAVEOF NO ONE" in members.sent[0]


def test_a_new_leader_finishes_the_reconfiguration(members):
    """A leader that is gone after the switch leaves replicas to be pointed to the new master."""
    replicas = [members.meet_replica(member) for member in range(3)]
    members.order(0, FailOver(7, "m"))
    members.cut_off = {1, 2}
    members.info(0, replicas[0], "role:master")
    members.log = [entry for entry in members.log if type(entry[1]).__name__ != "Finish"]
    members.cut_off = {0}
    members.catch_up()
    assert members.master(1).mandate.switched
    members.lead(1)
    assert any(line.startswith("+failover-state-reconf") for line in members.notices[1])
    assert members.master(2).mandate is None


@pytest.mark.parametrize("followed", [MASTER, REPLICA])
def test_a_new_leader_tells_only_those_that_do_not_follow_yet(members, followed):
    """They are asked first: to be told again would cost their clients the connection."""
    replicas = [members.meet_replica(member) for member in range(3)]
    other = members.meet_replica(1, "10.0.0.3")
    members.order(0, FailOver(7, "m"))
    members.cut_off = {1, 2}
    members.info(0, replicas[0], "role:master")
    members.log = [entry for entry in members.log if type(entry[1]).__name__ != "Finish"]
    members.cut_off = {0}
    members.catch_up()
    members.now += 100
    members.lead(1)
    told = f"SLAVEOF {REPLICA} 1"
    assert told not in members.sent[1]
    report = f"role:slave\r\nmaster_host:{followed}\r\nmaster_port:1\r\nmaster_link_status:up"
    members.info(1, other, report)
    members.now += 200
    members.step(1, Wake())
    assert (told in members.sent[1]) is (followed == MASTER)


def test_a_lease_that_comes_back_begins_nothing_twice(members):
    """A claim that was committed while the lease was away is carried out once."""
    members.all_meet_replica()
    members.step(0, RaftView(IDS, IDS[0], False, True, 1))
    assert members.order(1, FailOver(7, "m")) is None
    members.lead(0)
    assert members.master(0).failover is not None
    assert sum("+try-failover" in line for line in members.notices[0]) == 1


def report_down(members, config_epoch):
    for number, run_id in enumerate(IDS[1:]):
        hello = f"10.0.1.{number},26379,{run_id},0,m,{MASTER},1,0"
        members.step(0, DirectHello(hello))
        members.step(0, DownReport(run_id, "m", config_epoch, True))


def test_members_report_instead_of_asking(members):
    """ODOWN at the leader needs no question: the members' reports make the quorum."""
    report_down(members, members.master(0).config_epoch)
    assert members.master(0).is_odown
    assert members.master(0).leader == IDS[0]


def test_a_report_about_the_master_before_the_switch_is_no_report(members):
    """Who has seen the old master die and comes too late does not bring down the new one."""
    members.master(0).config_epoch = 1
    report_down(members, 0)
    assert not members.master(0).is_odown


def test_an_outsider_that_counts_for_nothing_gets_no_vote(members):
    """It may be anybody, and a vote would keep the members from their own failover."""
    outsider = meet_outsider(members, 2)
    assert members.order(2, DownQuestion(9, MASTER, 1, 4, outsider)) == DownAnswer(False, None, 0)
    assert members.master(2).leader_epoch == 0


def meet_outsider(members, member):
    """A sentinel outside that this member knows and is connected to."""
    run_id = "d" * 40
    members.step(member, DirectHello(f"10.9.9.9,26379,{run_id},0,m,{MASTER},1,0"))
    members.step(member, LinkUp(members.master(member).peers[run_id].command.id, "10.0.1.2"))
    return run_id


def test_a_vote_for_an_outsider_goes_through_the_log(members):
    """A candidate outside that counts gets the members' vote once, when it is committed."""
    members.order(1, ConfigSet(5, ("raft-count-outsiders", "yes")))
    outsider = meet_outsider(members, 2)
    answer = members.order(2, DownQuestion(9, MASTER, 1, 4, outsider))
    assert answer == DownAnswer(False, outsider, 4)
    assert [members.master(member).leader for member in range(3)] == [outsider] * 3
    late = members.order(1, DownQuestion(10, MASTER, 1, 4, "e" * 40))
    assert late == DownAnswer(False, None, 0)


def test_a_member_cut_off_casts_no_vote(members):
    """Without the log there is no vote, not even a local one."""
    members.step(1, RaftView(IDS, None, False, False, 1))
    answer = members.order(1, DownQuestion(9, MASTER, 1, 4, "d" * 40))
    assert answer == DownAnswer(False, None, 0)


def test_a_snapshot_makes_the_same_state(members):
    """A newcomer that gets the snapshot has what the log has made, and forgets what is gone."""
    members.order(1, SetOptions(5, "m", ("auth-pass", "secret")))
    newcomer = Sentinel(State(myid="d" * 40, raft=Raft(boot="x")), Random(0))
    data = snapshot.dump(members.cores[0].state)
    newcomer.step(0, Installed(7, data))
    assert snapshot.dump(newcomer.state) == data
    members.order(1, Remove(6, "m"))
    newcomer.step(1, Installed(9, snapshot.dump(members.cores[0].state)))
    assert newcomer.state.masters == {}


def test_a_snapshot_has_the_failover_whoever_is_configured_alone(loners):
    """With replicate-config no, who gets a snapshot must not vote or choose a second time."""
    for member in range(3):
        loners.order(member, Monitor(1, "m", MASTER, "1", "2"))
        loners.meet_replica(member)
    loners.cut_off = {2}
    loners.order(1, FailOver(7, "m"))
    expected = loners.master(1).mandate
    assert expected.chosen.host == REPLICA
    loners.step(2, Installed(len(loners.log), snapshot.dump(loners.cores[1].state)))
    assert loners.master(2).mandate == expected
    assert (loners.master(2).leader, loners.master(2).leader_epoch) == (IDS[0], expected.epoch)


def test_what_is_applied_is_not_applied_again(members):
    """A log that is read again at a restart changes nothing that the file already has."""
    before = snapshot.dump(members.cores[0].state)
    for index, (entry_id, entry) in enumerate(members.log, start=1):
        assert members.cores[0].step(members.now, Committed(index, entry_id, entry)) == []
    assert snapshot.dump(members.cores[0].state) == before


def test_what_the_log_brings_is_saved_later(members):
    """The log is on disk already, so the file need not be written before an answer."""
    core = members.cores[0]
    effects = core.step(members.now, Committed(99, "x:1", Command("remove", ("m",))))
    assert isinstance(effects[0], SaveSoon)


@pytest.mark.parametrize(
    "entry",
    [
        Claim("unknown", 1, IDS[0], False, False),
        Choice("unknown", 1, "h", 1, "10.0.0.3"),
        Command("from-the-future", ("x",)),
    ],
)
def test_entries_about_nothing_change_nothing(members, entry):
    """An entry whose master is gone, or that only a later version knows, is passed over."""
    before = snapshot.dump(members.cores[0].state)
    members.step(0, Committed(99, "x:1", entry))
    assert snapshot.dump(members.cores[0].state) == before
