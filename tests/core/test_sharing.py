"""Masters of a member's own file that the Raft log does not take."""

from sentinel_py.core import explain
from sentinel_py.core.model import Address, Options
from sentinel_py.core.roster import add_master

from .test_consensus import MASTER, Members

BAD = 2**40


def with_master(**options):
    """A led cluster, one member of which has a master in its file."""
    members = Members()
    state = members.cores[1].state
    address = Address(MASTER, 1, MASTER)
    add_master(state, members.now, "m", address, Options(2, 1000, 6000, **options))
    members.lead(0)
    return members, state.masters["m"]


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
