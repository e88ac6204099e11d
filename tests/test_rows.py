"""MASTERS from rows that are kept: whatever has changed, it tells what the views tell."""

from dataclasses import fields, replace
from enum import Enum

import pytest

from sentinel_py.core import overrides, views
from sentinel_py.core.model import Address, Failover, Link, LinkState, Master, Options, State
from sentinel_py.core.roster import add_master, add_peer, add_replica
from sentinel_py.resp import RESP2, RESP3, encode
from sentinel_py.server import rows as rows_module
from sentinel_py.server.rows import KNOWN_NUMBERS, MasterRows

NOW = 1_000_000
# What a rule about the type of the present value would not give.
OTHERS = {
    "address": Address("other.example", 6390, "127.0.0.9"),
    "failover": Failover(epoch=1, forced=True, started_at=NOW),
    "info": b"role:master",
    "notification_script": "/bin/true",
    "client_reconfig_script": "/bin/false",
    "auth_user": "me",
    "auth_pass": "100 %b",
    "leader": "a" * 40,
}


@pytest.fixture
def state():
    """Three masters, of which the middle one has a replica and a peer."""
    state = State(myid="a" * 40)
    for number in range(3):
        options = Options(quorum=2, down_after_ms=5000, failover_timeout_ms=60000)
        add_master(state, NOW, f"m%{number}", address(6379 + number), options)
    add_replica(state, NOW, state.masters["m%1"], address(6400))
    add_peer(state, NOW, state.masters["m%1"], "b" * 40, address(26379))
    for link in state.links.values():
        link.state = LinkState.UP
    return state


@pytest.fixture
def rows(state):
    """Rows that have been asked for before."""
    kept = MasterRows()
    for protocol in (RESP2, RESP3):
        kept.reply(state, NOW, protocol)
    return kept


def address(port):
    return Address("127.0.0.1", port, "127.0.0.1")


def is_exact(rows, state, now=NOW + 5):
    return all(
        rows.reply(state, now, protocol)
        == encode([dict(row) for row in views.masters(state, now)], protocol)
        for protocol in (RESP2, RESP3)
    )


def names(kind, *without):
    return [field.name for field in fields(kind) if field.name not in without]


def other(name, value):
    """Something else that this field could hold."""
    match value:
        case _ if name in OTHERS:
            return OTHERS[name]
        case bool():
            return not value
        case int():
            return value + 7
        case None:
            return NOW - 9
        case str():
            return f"{value}%"
        case Enum():
            kind = type(value)
            return next(member for member in kind if member is not value)
        case dict():
            return {**value, "other": next(iter(value.values()), None)}
    return value


@pytest.mark.parametrize("name", names(Master, "command", "channel", "options", "shared"))
def test_any_field_of_a_master(rows, state, name):
    """A change of any field shows at once, or is not in the row."""
    master = state.masters["m%1"]
    setattr(master, name, other(name, getattr(master, name)))
    if name == "overrides":
        master.overrides = {"quorum": 7}
        master.options = overrides.in_effect(master)
    assert is_exact(rows, state)


@pytest.mark.parametrize("name", names(Options))
def test_any_option(rows, state, name):
    """Options are replaced when one of them changes."""
    master = state.masters["m%1"]
    master.options = replace(master.options, **{name: other(name, getattr(master.options, name))})
    assert is_exact(rows, state)


@pytest.mark.parametrize("link", ["command", "channel"])
@pytest.mark.parametrize("name", names(Link, "owners"))
def test_any_field_of_a_link(rows, state, link, name):
    """What moves with every ping is written anew, and the state of links is noticed."""
    changed = getattr(state.masters["m%1"], link)
    setattr(changed, name, other(name, getattr(changed, name)))
    assert is_exact(rows, state)


def test_what_holds_for_all(rows, state):
    """Hosts are shown by name as soon as they are announced so; time goes on."""
    state.masters["m%1"].address = OTHERS["address"]
    assert is_exact(rows, state)
    state.settings.announce_hostnames = True
    assert is_exact(rows, state)
    assert is_exact(rows, state, NOW + 123_456)


def test_masters_come_and_go(rows, state):
    """A removed master is forgotten, and one of the same name is another one."""
    options = state.masters.pop("m%0").options
    assert is_exact(rows, state)
    add_master(state, NOW, "m%0", address(7000), options)
    add_master(state, NOW, "m%3", address(7001), options)
    assert is_exact(rows, state)


def test_numbers_are_bounded(rows, state):
    """Ages are as many as milliseconds; what was encoded of them does not stay for ever."""
    for passed in range(0, 2 * KNOWN_NUMBERS, 7):
        rows.reply(state, NOW + passed, RESP2)
    assert len(rows_module._numbers) <= KNOWN_NUMBERS
    assert is_exact(rows, state)
