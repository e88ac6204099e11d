"""Which replicas can be promoted, by what is known of them at that instant."""

from random import Random

import pytest

from sentinel_py.core import choice, roster
from sentinel_py.core.model import Address, LinkState, Options, Role, State
from sentinel_py.core.turn import Turn

NOW = 100_000


@pytest.fixture
def turn():
    return Turn(NOW, State(myid="0" * 40), Random(0), lambda _: True)


@pytest.fixture
def replica(turn):
    """A replica in the best of health, of a master with a down-after of a second."""
    options = Options(2, 1000, 6000)
    master = roster.add_master(turn.state, 0, "m", Address("10.0.0.1", 1, "10.0.0.1"), options)
    replica = roster.add_replica(turn.state, 0, master, Address("10.0.0.2", 1, "10.0.0.2"))
    link = replica.command
    link.state, link.ping_since = LinkState.UP, None
    link.ok_at = link.heard_at = replica.info_at = NOW - 10
    return replica


def test_a_replica_that_answers_can_be_promoted(turn, replica):
    """It is connected, and its pongs and its INFO are fresh."""
    assert choice.is_healthy(turn, replica)


@pytest.mark.parametrize(("silent_ms", "is_healthy"), [(499, True), (500, False)])
def test_an_order_is_not_given_to_a_connection_that_hangs(turn, replica, silent_ms, is_healthy):
    """What is sent on it would be dropped with it, in the same step."""
    link = replica.command
    link.heard_at = link.ok_at = link.ping_since = NOW - silent_ms
    assert choice.is_healthy(turn, replica) is is_healthy


@pytest.mark.parametrize(("role", "is_healthy"), [(Role.REPLICA, False), (Role.MASTER, True)])
def test_priority_0_is_for_replicas(turn, replica, role, is_healthy):
    """Who was made a master by hand says no priority any more; it may have the only data."""
    replica.priority, replica.role = 0, role
    assert choice.is_healthy(turn, replica) is is_healthy
