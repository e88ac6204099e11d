"""Masters of a member's own file that the Raft log does not take."""

import pytest

from sentinel_py.core import explain, sharing
from sentinel_py.core.messages import Wake
from sentinel_py.core.model import Address, Options, Role
from sentinel_py.core.roster import add_master

from .test_consensus import MASTER, Members

BAD = 2**40


def with_master(host=MASTER, role=Role.MASTER, *, is_heard=True, **options):
    """A led cluster, one member of which has a master in its file."""
    members = Members()
    state = members.cores[1].state
    address = Address(host, 1, host)
    master = add_master(state, members.now, "m", address, Options(2, 1000, 6000, **options))
    master.role, master.info_at = role, members.now if is_heard else None
    master.master_host, master.master_port = "10.0.0.9", 6379
    members.lead(0)
    return members, state.masters["m"]


def watched_by(members):
    return ["m" in core.state.masters for core in members.cores]


def test_a_good_one_is_shared():
    """All members watch it."""
    members, _ = with_master()
    assert all("m" in core.state.masters for core in members.cores)


def test_one_that_is_refused_is_watched_alone():
    """It is not offered again and again, and EXPLAIN says why; when it is mended, all have it."""
    members, master = with_master(max_promotion_lag=-1)
    assert [core.state.masters.keys() for core in members.cores] == [set(), {"m"}, set()]
    before = len(members.log)
    members.lead(0)
    assert len(members.log) == before
    state = members.cores[1].state
    [found] = [it for it in explain.conditions(state, master, 1) if it.name == "shared"]
    assert not found.is_met
    assert "max_promotion_lag" in found.value
    master.shared.max_promotion_lag = 0
    members.lead(0)
    assert all("m" in core.state.masters for core in members.cores)
    assert not [it for it in explain.conditions(state, master, 1) if it.name == "shared"]


def test_what_is_too_long_for_an_entry_is_not_shared():
    """Each option may be as long as it is; together they have to fit."""
    text = "\udcff" * 16_000
    members, master = with_master(auth_pass=text, auth_user=text)
    assert [core.state.masters.keys() for core in members.cores] == [set(), {"m"}, set()]
    assert "more than" in master.unshared[1]


def test_one_that_has_not_spoken_is_waited_for_and_then_shared():
    """It may be down, and is to be failed over."""
    members, _ = with_master(is_heard=False)
    assert watched_by(members) == [False, True, False]
    members.now += sharing.ANSWER_MS
    members.lead(0)
    members.step(1, Wake())
    assert watched_by(members) == [True] * 3


@pytest.mark.parametrize(
    ("host", "role", "why"),
    [
        (MASTER, Role.REPLICA, "it is a replica of 10.0.0.9 6379"),
        ("127.0.0.1", Role.MASTER, "on other hosts 127.0.0.1 is another server"),
    ],
)
def test_what_is_no_master_for_all_is_not_offered(host, role, why):
    """Whoever offers first decides for all members; a wrong file is to decide nothing."""
    members, master = with_master(host, role)
    assert watched_by(members) == [False, True, False]
    assert master.unshared == ("", why)
    master.role, master.address = Role.MASTER, Address(MASTER, 1, MASTER)
    members.lead(0)
    members.step(1, Wake())
    assert watched_by(members) == [True] * 3
