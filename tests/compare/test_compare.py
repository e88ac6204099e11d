"""Clients cannot tell us from redis-sentinel by any reply, but for what the table explains."""

import pytest

from sentinel_py.local import LocalError, redis_server

from .comparison import Comparison, Difference, Line, World, original_program
from .explained import REPLY_FIRST, Explained
from .masks import Masks


@pytest.fixture(scope="module")
def comparison():
    try:
        redis_server()
        original_program()
    except LocalError as error:
        pytest.skip(str(error))
    with World.made() as world:
        return Comparison(world)


def test_every_difference_is_explained(comparison):
    """Each line of a reply that is not as redis-sentinel's stands in the table."""
    assert comparison.requests > 500
    assert not comparison.unexplained


def test_the_table_has_no_idle_rows(comparison):
    """A row that explains nothing would hide a difference that comes later."""
    assert comparison.differences
    # Notices wait for the end of the loop's round, so either may come first.
    assert not [row for row in comparison.unused if row.reason != REPLY_FIRST]


def test_a_replacement_needs_both_lines():
    """A row with two sides does not excuse one of them alone."""
    row = Explained("PING…", "+PONG", "+… PONG", "louder")
    lines = [Line("-", "+PONG"), Line("+", "  +VERY LOUD PONG"), Line("-", "+PONG")]
    difference = Difference("PING", 2, lines)
    assert row.explain(difference)
    assert not row.explain(difference)
    assert [line.reason for line in lines] == ["louder", "louder", ""]
    assert not Explained("PONG", "+PONG", "").explain(difference)


def test_masks_hide_measurements_and_nothing_else():
    """What is measured differs from run to run; the fields themselves, and all else, are kept."""
    lines = ["$runid", "$" + "a" * 40, "$flags", "$master", "hz:13", "tcp_port:4711"]
    assert Masks({4711: "master"}).apply("PING", lines) == [
        *("$runid", "<measured>", "$flags", "$master", "hz:<measured>", "tcp_port:<master>")
    ]
