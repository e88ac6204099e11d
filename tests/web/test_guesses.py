"""Wrong logins by address: how many there may be, and for how long they are remembered."""

import itertools

import pytest

from sentinel_py.web.guesses import (
    LANE_MAX,
    LANE_S,
    MAX_ADDRESSES,
    MAX_WRONG,
    WINDOW_S,
    Guesses,
)

HERE, THERE = "192.0.2.1", "192.0.2.2"


class Tried:
    """Guesses with a clock that is set by hand."""

    def __init__(self):
        self.now_s = 1000.0
        self.proofs = itertools.count()
        self.guesses = Guesses(lambda: self.now_s)

    def fail(self, address=HERE, times=MAX_WRONG):
        for _ in range(times):
            self.guesses.failed(address, f"Bearer {next(self.proofs)}")

    def wait_s(self, address=HERE):
        return self.guesses.wait_s(address)


def test_too_many_shut_their_address_out_until_the_window_is_over():
    """No other one, and no longer."""
    tried = Tried()
    tried.fail(times=MAX_WRONG - 1)
    assert tried.wait_s() == 0
    tried.fail()
    assert tried.wait_s() == WINDOW_S
    assert tried.wait_s(THERE) == 0
    tried.now_s += WINDOW_S - 0.5
    assert tried.wait_s() == 1
    tried.now_s += 0.5
    assert tried.wait_s() == 0
    tried.fail()
    assert tried.wait_s() == WINDOW_S


def test_each_window_begins_anew():
    """What was wrong in the last one does not count."""
    tried = Tried()
    for _ in range(3):
        tried.fail(times=MAX_WRONG - 1)
        assert tried.wait_s() == 0
        tried.now_s += WINDOW_S


def test_the_same_wrong_login_is_one_guess():
    """A program with an old token shuts nobody out."""
    tried = Tried()
    for _ in range(10 * MAX_WRONG):
        tried.guesses.failed(HERE, "Bearer old")
    assert tried.wait_s() == 0


def test_a_right_login_forgives():
    """Of its own address."""
    tried = Tried()
    tried.fail(times=MAX_WRONG - 1)
    tried.fail(THERE)
    tried.guesses.succeeded(HERE)
    tried.guesses.succeeded("192.0.2.3")
    tried.fail(times=MAX_WRONG - 1)
    assert tried.wait_s() == 0
    assert tried.wait_s(THERE) == WINDOW_S


def test_the_table_is_bounded():
    """The oldest goes first, which is free the soonest."""
    tried = Tried()
    tried.fail(HERE)
    for number in range(MAX_ADDRESSES - 1):
        tried.fail(f"10.0.{number // 256}.{number % 256}")
    assert tried.wait_s()
    tried.fail(THERE)
    assert not tried.wait_s()
    assert tried.wait_s("10.0.0.0")
    assert tried.wait_s(THERE)


@pytest.mark.parametrize(
    ("one", "other", "is_one"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("", "10.0.0.2", False),
    ],
)
def test_a_host_has_one_place(one, other, is_one):
    """A whole network of IPv6 is one host's; an address that is unknown is one like others."""
    tried = Tried()
    tried.fail(one)
    assert tried.wait_s(one)
    assert bool(tried.wait_s(other)) is is_one


def test_what_comes_from_a_guesser_is_looked_at_one_by_one():
    """A second apart, and no more of them wait than hold few connections."""
    tried = Tried()
    tried.fail()
    turns = [tried.guesses.turn_s(HERE) for _ in range(LANE_MAX + 2)]
    assert turns == [*(float(number) * LANE_S for number in range(LANE_MAX)), None, None]
    tried.now_s += LANE_S
    assert tried.guesses.turn_s(HERE) == (LANE_MAX - 1) * LANE_S
    assert tried.guesses.turn_s(HERE) is None
