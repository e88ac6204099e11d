"""Addresses as text, and the tables of names."""

from random import Random

import pytest

from sentinel_py.core import roster
from sentinel_py.core.messages import Resolved
from sentinel_py.core.model import Address, State
from sentinel_py.core.roster import NAMES_MAX, instance_name, look_up, numeric_ip
from sentinel_py.core.sentinel import Sentinel


@pytest.mark.parametrize(
    ("text", "ip"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("10.258", "10.0.1.2"),
        ("10.1.258", "10.1.1.2"),
        ("2130706433", "127.0.0.1"),
        ("0", "0.0.0.0"),
        ("0x7f.1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("0xffffffff", "255.255.255.255"),
        ("::1", "::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("10.0.0", "10.0.0.0"),
    ],
)
def test_numeric_addresses(text, ip):
    """All that inet_aton and inet_pton read, in its normal form."""
    assert numeric_ip(text) == ip


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "localhost",
        "10.0.0.256",
        "10.0.0.1.2",
        "10..1",
        "256.1",
        "10.16777216",
        "4294967296",
        "-1",
        "+1",
        "1_0",
        "08",
        "0x",
        "0xg",
        " 10.0.0.1",
        "10.0.0.1 ",
        "\u0661\u0660.0.0.1",
        ":::",
        "db.example",
        "9" * 5000,
    ],
)
def test_what_is_no_address(text):
    """Names, numbers out of range, and digits of other scripts."""
    assert numeric_ip(text) is None


def test_names_need_resolve_hostnames():
    """A name stands for an ip if names are allowed and this one has been looked up."""
    state = State(myid="a" * 40, names={"db": "10.0.0.1"})
    assert look_up(state, "db", 6379) is None
    state.settings.resolve_hostnames = True
    assert look_up(state, "db", 6379) == Address("db", 6379, "10.0.0.1")
    assert look_up(state, "other", 6379) is None


def test_row_names():
    """IPv6 stands in brackets; the name is shown when names are announced."""
    state = State(myid="a" * 40)
    assert instance_name(state, Address("db", 6379, "10.0.0.1")) == "10.0.0.1:6379"
    assert instance_name(state, Address("::1", 6379, "::1")) == "[::1]:6379"
    state.settings.announce_hostnames = True
    assert instance_name(state, Address("db", 6379, "10.0.0.1")) == "db:6379"


def test_names_are_limited():
    """Hellos with ever new names do not fill the memory; known names still move."""
    core = Sentinel(State(myid="a" * 40), Random(1))
    for number in range(NAMES_MAX + 5):
        core.step(0, Resolved(f"host{number}", "10.0.0.1"))
    core.step(0, Resolved("host0", "10.0.0.2"))
    assert len(core.state.names) == NAMES_MAX
    assert core.state.names["host0"] == "10.0.0.2"


def test_a_failed_look_up_keeps_the_last_good_ip():
    """DNS that is away for a while takes nothing from us."""
    core = Sentinel(State(myid="a" * 40, names={"db": "10.0.0.1"}), Random(1))
    core.step(0, Resolved("db", None))
    assert core.state.names == {"db": "10.0.0.1"}


def test_default_options():
    """A new master starts with the time constants as they are now."""
    state = State(myid="a" * 40)
    state.constants.default_down_after = 7
    options = roster.default_options(state, 3)
    assert (options.quorum, options.down_after_ms, options.failover_timeout_ms) == (3, 7, 180_000)
