"""What we let PySyncObj do: no pickle, no other version, no sets that decide."""

import pysyncobj.journal
import pysyncobj.pickle
import pytest
from pysyncobj import syncobj

from sentinel_py.raft import adapters, guarded, journal, membership
from sentinel_py.raft.adapters import LibraryError
from sentinel_py.raft.membership import Add, command_of
from tests.raft.group import Group


def test_the_order_of_members_is_the_same_in_every_run():
    """PySyncObj keeps members in sets, and the hash of a string changes from run to run."""
    assert hash(adapters.member("abc")) == 0x352441C2


@pytest.mark.parametrize(
    "function",
    [
        pysyncobj.pickle.loads,
        pysyncobj.pickle.load,
        pysyncobj.pickle.dumps,
        pysyncobj.pickle.dump,
        pysyncobj.journal.loads,
        pysyncobj.journal.dumps,
    ],
)
def test_nothing_is_pickled(function):
    """Whoever still reaches PySyncObj's pickle stops there."""
    with pytest.raises(AssertionError):
        function(b"")


def test_another_library_does_not_start(replace):
    """A version that the guards were not made for, or without a name that they use, is refused."""
    replace(guarded, "VERSION", "0.3.18")
    with pytest.raises(LibraryError, match=r"^PySyncObj 0\.3\.17 is needed, and this is 0\.3\.18$"):
        guarded._check_library()
    replace(guarded, "VERSION", "0.3.17")
    replace(guarded, "_METHODS", ["noSuchMethod"])
    with pytest.raises(LibraryError):
        guarded._check_library()
    replace(guarded, "_FIELDS", ["noSuchField"])
    with pytest.raises(LibraryError, match="has no noSuchField"):
        Group("a")


def test_members_have_a_limit():
    """A leader does not add more than it can serve."""
    ids = [f"m{it:02}" for it in range(membership.MEMBERS_LIMIT)]
    group = Group(ids)
    leader = group.leader()
    group.engines[leader].connected("one more")
    refused = []
    group.core(leader).submit(command_of(Add("one more")), lambda _, error: refused.append(error))
    group.step()
    assert refused == [syncobj.FAIL_REASON.REQUEST_DENIED]
    assert journal.exists(group.disks[leader])
