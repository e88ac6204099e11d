"""Applying the log depends on the log alone: members that hear different things end up the same.

One random log is applied to three members. Between its entries each of them hears something else:
hellos in anybody's name, votes asked for, INFO, links that come and go, time that passes. In the
end what the log has made is equal, to the byte of its snapshot (Raft paper, section 5.4.3).
"""

import json
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel_py.core import election, hello, shared_orders, snapshot
from sentinel_py.core.ledger import Ballot, Choice, Claim, Command, Finish, Switch
from sentinel_py.core.messages import (
    Committed,
    DirectHello,
    DownQuestion,
    DownReport,
    LinkDown,
    LinkUp,
    Open,
    RaftView,
    Reply,
    Request,
    Send,
    Wake,
)
from sentinel_py.core.model import Address, LinkState, Raft, State
from sentinel_py.core.sentinel import Sentinel

IDS = ("a" * 40, "b" * 40, "c" * 40)
OUTSIDER = "d" * 40
PLACES = tuple((it, f"10.0.1.{n}", 26379, f"10.0.1.{n}") for n, it in enumerate(IDS))
HOSTS = [f"10.0.0.{n}" for n in range(1, 5)]

names = st.sampled_from(["m", "n"])
epochs = st.integers(0, 6) | st.sampled_from([2**31, 2**62])
hosts = st.sampled_from(HOSTS)
ids = st.sampled_from([*IDS, OUTSIDER])


def record(name, host, config_epoch, leader_epoch):
    state = State(myid="x" * 40)
    text = snapshot.describe_new(state, name, Address(host, 6379, host), 2)
    known = {"config_epoch": config_epoch, "leader_epoch": leader_epoch, "leader": OUTSIDER}
    return json.dumps(json.loads(text) | known)


def command(order, *words):
    return st.builds(lambda *it: Command(order, tuple(it)), *words)


def texts(numbers):
    return numbers.map(str)


records = st.builds(record, names, hosts, epochs, epochs)
entries = st.one_of(
    st.builds(Claim, names, epochs, ids, st.booleans(), st.booleans()),
    st.builds(Choice, names, epochs, hosts, st.just(6379), hosts),
    st.builds(lambda n, e, h: Switch(n, e, h, 6379, h), names, epochs, hosts),
    st.builds(Finish, names, epochs),
    st.builds(Ballot, names, epochs, ids),
    command("monitor", records),
    command("adopt", records),
    command("remove", names),
    command("reset", st.sampled_from(["*", "m"])),
    command("set", names, st.just("quorum"), st.sampled_from(["1", "3", "x"])),
    command("config", st.just("raft-count-outsiders"), st.sampled_from(["yes", "no"])),
    command("epoch", texts(epochs)),
    st.builds(lambda n, e, h: Command("follow", (n, str(e), h, "6379", h)), names, epochs, hosts),
    command("force-stale", names, texts(epochs)),
    st.builds(
        lambda n, h, it: Command("admit", (n, h, "6379", h, it)), names, hosts, st.just("e" * 40)
    ),
    command("lead", ids),
)
infos = st.sampled_from(
    [
        "run_id:{0}\r\nrole:master\r\nslave0:ip=10.0.0.2,port=6379,state=online",
        "run_id:{0}\r\nrole:slave\r\nmaster_host:10.0.0.3\r\nmaster_port:6379",
        "run_id:{0}\r\nrole:master\r\nmaster_replid:{0}\r\nmaster_repl_offset:9\r\n# Keyspace",
    ]
)
hellos = st.builds(
    lambda run_id, epoch, name, host, config_epoch: DirectHello(
        f"10.0.9.1,26379,{run_id},{epoch},{name},{host},6379,{config_epoch}"
    ),
    *(ids, epochs, names, hosts, epochs),
)
gossip = st.one_of(
    hellos,
    st.builds(lambda h, e, it: DownQuestion(1, h, 6379, e, it), hosts, epochs, ids),
    st.builds(DownReport, ids, names, epochs, st.booleans(), st.booleans()),
    st.tuples(st.just("links"), st.booleans()),
    st.tuples(st.just("info"), infos),
    st.tuples(st.just("wait"), st.sampled_from([1, 200, 3000])),
)
logs = st.lists(st.tuples(entries, st.lists(st.tuples(st.integers(0, 2), gossip), max_size=4)))


class Member:
    """One core, and what goes on around it; what it wants done is done by nobody."""

    def __init__(self, run_id):
        self.core = Sentinel(State(myid=run_id, raft=Raft(boot="x")), Random(1))
        self.now = 1000
        self.requests = {}
        view = RaftView(IDS, IDS[0], run_id == IDS[0], True, 1, PLACES)
        self.step(view)

    def step(self, event):
        for effect in self.core.step(self.now, event):
            if isinstance(effect, Send):
                self.requests.setdefault(effect.link, []).extend(effect.requests)
            elif isinstance(effect, Open):
                self.requests[effect.link] = []

    def hear(self, heard):
        match heard:
            case ("wait", ms):
                self.now += ms
                self.step(Wake())
            case ("links", is_up):
                for link in list(self.core.state.links.values()):
                    if is_up and link.state is LinkState.CONNECTING:
                        self.step(LinkUp(link.id, "10.0.1.9"))
                    elif not is_up and link.state is LinkState.UP:
                        self.step(LinkDown(link.id, "cut"))
            case ("info", text):
                self._answer(text)
            case _:
                self.step(heard)

    def _answer(self, text):
        """Answer everything that was asked, in order: INFO so, the rest with OK."""
        for link in list(self.core.state.links.values()):
            requests, self.requests[link.id] = self.requests.get(link.id, []), []
            for request in requests if link.state is LinkState.UP else ():
                if link.id not in self.core.state.links or not link.pending:
                    break
                value = _reply_to(request, text.format(f"{link.id:040}"))
                self.step(Reply(link.id, request, value))


def _reply_to(request: Request, text):
    return text.encode() if "INFO" in request.args else b"PONG"


def apply(log, hears=True):
    """What the log has made on each of three members."""
    found = [Member(run_id) for run_id in IDS]
    for index, (entry, heard) in enumerate(log, start=1):
        for number, said in heard if hears else ():
            found[number].hear(said)
        for member in found:
            member.step(Committed(index, f"x:{index}", entry))
    return [snapshot.dump(member.core.state) for member in found]


@settings(max_examples=300, deadline=None)
@given(logs)
def test_what_is_heard_changes_nothing_that_the_log_makes(log):
    """The three are equal, and equal to one that has heard nothing."""
    made = apply(log)
    assert len(set(made)) == 1
    assert made[0] == apply(log, hears=False)[0]


HELLO = DirectHello(f"10.0.9.1,26379,{IDS[1]},5,m,{HOSTS[1]},6379,5")


def _as_in_classic_mode(turn, master, heard, _payload):
    """Take a hello as classic mode does: epochs and the address move."""
    peer = hello._peer_of(turn, master, heard)
    election.raise_epoch(turn, heard.epoch, master)
    hello._adopt_config(turn, master, peer, heard)


def test_the_rule_can_be_seen_broken(monkeypatch):
    """One hello that is taken as in classic mode makes a member differ from the others for good."""
    log = [
        (Command("adopt", (record("m", HOSTS[0], 1, 1),)), []),
        (Claim("m", 2, IDS[0], True, False), [(2, HELLO)]),
    ]
    assert len(set(apply(log))) == 1
    monkeypatch.setattr(hello, "_receive_as_member", _as_in_classic_mode)
    assert len(set(apply(log))) > 1


def test_consensus_is_what_is_tested():
    """Each kind of entry that can be applied stands in the random logs."""
    ordered = {"lead", "adopt", "monitor", "remove", "reset", "set", "config", "epoch", "follow"}
    assert shared_orders._COMMANDS.keys() == ordered | {"force-stale", "admit"}
