"""Addresses compared, majorities counted."""

import pytest

from sentinel_py.core import members
from sentinel_py.core.model import Address, Options, State
from sentinel_py.core.roster import add_master, add_peer

HOME = Address("db.example", 6379, "10.0.0.1")


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (Address("db.example", 6379, "10.0.0.1"), True),
        (Address("10.0.0.1", 6379, "10.0.0.1"), True),
        (Address("DB.Example", 6379, "10.9.9.9"), True),
        (Address("DB.Example", 6379, ""), True),
        (Address("db.example", 6380, "10.0.0.1"), False),
        (Address("other.example", 6379, "10.0.0.2"), False),
        (Address("other.example", 6379, ""), False),
    ],
)
def test_same_as(other, same):
    """Ports equal, and ips or host texts equal whatever their case, in both directions."""
    assert HOME.same_as(other) is same
    assert other.same_as(HOME) is same


def test_unknown_ips_are_not_alike():
    """Two names that nobody could look up are two hosts."""
    assert not Address("a", 1, "").same_as(Address("b", 1, ""))


def test_is_named():
    """A text from outside means an address by its ip or by its own words."""
    assert HOME.is_named("10.0.0.1", 6379, "10.0.0.1")
    assert HOME.is_named("db.example", 6379, None)
    assert not HOME.is_named("10.0.0.2", 6379, "10.0.0.2")


@pytest.mark.parametrize(("peers", "majority"), [(0, 1), (1, 2), (2, 2), (3, 3), (4, 3)])
def test_majority(peers, majority):
    """More than half of all known sentinels, ourselves included."""
    state = State(myid="a" * 40)
    options = Options(quorum=2, down_after_ms=1000, failover_timeout_ms=6000)
    master = add_master(state, 0, "m", Address("10.0.0.1", 6379, "10.0.0.1"), options)
    for number in range(peers):
        add_peer(state, 0, master, f"{number:040}", Address("10.0.1.1", number, "10.0.1.1"))
    assert members.voters(state, master) == peers + 1
    assert members.majority(state, master) == majority
