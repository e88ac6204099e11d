"""Scripts that another member has named: kept as all have them, not run, and said."""

import pytest

from sentinel_py.config import directives
from sentinel_py.config.config import Origin, Statement
from sentinel_py.config.lines import split
from sentinel_py.core import explain, own_scripts
from sentinel_py.core.messages import Monitor, SetLocal, SetOptions
from sentinel_py.core.model import Raft, State

from .test_consensus import MASTER, Members

OTHERS, OWN = "/bin/others", "/bin/sh"
PAIRS = sorted(own_scripts.FIELDS.items())


@pytest.fixture
def members():
    """A led cluster of which member 2 alone lets scripts be set."""
    made = Members()
    made.lead(0)
    made.cores[2].state.settings.deny_scripts_reconfig = False
    assert made.order(1, Monitor(1, "m", MASTER, "1", "2")) is None
    return made


def runs(members, field):
    return [
        own_scripts.to_run(core.state, core.state.masters["m"], field) for core in members.cores
    ]


def said(members):
    return [
        [notice for notice in heard if notice.startswith("+script-denied")]
        for heard in members.notices
    ]


@pytest.mark.parametrize(("option", "field"), PAIRS)
def test_a_path_that_another_member_has_named(members, option, field):
    """Only who allows it runs it; the others say so once, and EXPLAIN for as long as it is so."""
    assert members.order(2, SetOptions(5, "m", (option, OTHERS))) is None
    assert {getattr(members.master(it).options, field) for it in range(3)} == {OTHERS}
    assert runs(members, field) == [None, None, OTHERS]
    text = f"#{option} {OTHERS} is not run: this sentinel's own file does not name it"
    assert said(members) == [[f"+script-denied master m {MASTER} 1 {text}"]] * 2 + [[]]
    assert members.order(2, SetOptions(5, "m", ("quorum", "1"))) is None
    assert list(map(len, said(members))) == [1, 1, 0]
    state = members.cores[0].state
    found = [it for it in explain.conditions(state, members.master(0), 1) if it.name == "scripts"]
    assert [(it.value, it.is_met) for it in found] == [(f"{option} {OTHERS}", True)]
    assert members.order(2, SetOptions(5, "m", (option, ""))) is None
    assert not own_scripts.denied(state, members.master(0))


def test_a_path_that_the_own_file_names_too(members):
    """It is run while it is the same, and not when the others change to another one."""
    members.master(0).own_scripts["notification_script"] = OWN
    members.order(2, SetOptions(5, "m", ("notification-script", OWN)))
    assert runs(members, "notification_script") == [OWN, None, OWN]
    members.order(2, SetOptions(5, "m", ("notification-script", OTHERS)))
    assert runs(members, "notification_script") == [None, None, OTHERS]


def test_an_override_is_an_order_to_this_member(members):
    """What its `deny-scripts-reconfig` has allowed once is its own."""
    assert members.order(2, SetLocal(5, "m", ("notification-script", OWN))) is None
    members.cores[2].state.settings.deny_scripts_reconfig = True
    assert runs(members, "notification_script")[2] == OWN


@pytest.mark.parametrize("own", [None, OWN, OTHERS])
@pytest.mark.parametrize("shared", [None, OWN, OTHERS])
@pytest.mark.parametrize("is_replicated", [True, False])
def test_the_file_keeps_what_is_own_and_what_is_shared(own, shared, is_replicated, monkeypatch):
    """A restart makes no path its own, and never fails for one that is not there."""
    monkeypatch.setattr(directives, "is_executable", OWN.__eq__)
    if own == OTHERS:
        own = None  # a path that cannot be run is refused in the own file, as it was
    state = State(myid="a" * 40, raft=Raft(boot="x"))
    state.settings.raft_peers = ["127.0.0.1:1"]
    apply(state, f"sentinel monitor m {MASTER} 1 2")
    master = state.masters["m"]
    master.is_replicated = is_replicated
    master.shared.notification_script = shared
    master.own_scripts = {"notification_script": own} if own else {}
    again = State(myid="", raft=Raft(boot="x"))
    apply(again, *(line.text for line in directives.render(state) if line.required))
    assert again.masters["m"].shared.notification_script == shared
    assert again.masters["m"].own_scripts == master.own_scripts


def apply(state, *lines):
    statements = [
        Statement(tuple(split(line)), line, number, Origin.FILE, "")
        for number, line in enumerate(lines)
    ]
    directives.apply(statements, state, now=1, resolve=lambda _: None)
