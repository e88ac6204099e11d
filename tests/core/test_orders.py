"""Orders: what is checked in which sequence, what changes, what is saved, announced, answered."""

from __future__ import annotations

from random import Random

import pytest

from sentinel_py.core import orders, views
from sentinel_py.core.messages import (
    Answer,
    Close,
    ConfigSet,
    Debug,
    Flush,
    LinkUp,
    Monitor,
    Notice,
    Open,
    Refused,
    Remove,
    Reset,
    Resolve,
    Resolved,
    Save,
    SetOptions,
    SimulateFailure,
    Wake,
)
from sentinel_py.core.model import Address, LinkKind, Options, SimulatedFailure, State
from sentinel_py.core.roster import add_master, add_peer, add_replica
from sentinel_py.core.sentinel import Sentinel

NOW = 1_000_000
TICKET = 7
EXECUTABLE = "/bin/executable"


class Desk:
    """A core that takes orders, and what came of the last one."""

    def __init__(self):
        self.state = State(myid="a" * 40)
        self.core = Sentinel(self.state, Random(1), EXECUTABLE.__eq__)
        self.effects = []

    def step(self, order):
        self.effects = self.core.step(NOW, order)

    def outcome(self, order):
        """The one answer to an order: a value, or a refusal's error reply."""
        self.step(order)
        (answer,) = self.all(Answer)
        assert answer.ticket == TICKET
        return str(answer.value) if isinstance(answer.value, Refused) else answer.value

    def all(self, kind):
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def notices(self):
        return [f"{notice.name} {notice.text}" for notice in self.all(Notice)]

    @property
    def is_saved(self):
        saves = self.all(Save)
        assert not saves or self.effects[0] is saves[0]
        return bool(saves)

    def set(self, *words, name="mymaster"):
        return self.outcome(SetOptions(TICKET, name, words))

    def config_set(self, *words):
        return self.outcome(ConfigSet(TICKET, words))

    def debug(self, *words):
        return self.outcome(Debug(TICKET, words))

    def monitor(self, name="new", host="127.0.0.2", port="6379", quorum="2"):
        return self.outcome(Monitor(TICKET, name, host, port, quorum))

    def connect_all(self):
        for link in list(self.state.links.values()):
            self.step(LinkUp(link.id, "127.0.0.1"))


@pytest.fixture
def desk():
    """A core that watches one master with a replica and a peer; its links are being opened."""
    desk = Desk()
    options = Options(quorum=2, down_after_ms=5000, failover_timeout_ms=60000)
    master = add_master(desk.state, NOW, "mymaster", address(6379), options)
    add_replica(desk.state, NOW, master, address(6380))
    add_peer(desk.state, NOW, master, "b" * 40, address(26380))
    desk.core.start(NOW)
    return desk


def address(port):
    return Address("127.0.0.1", port, "127.0.0.1")


def options_of(desk):
    return desk.state.masters["mymaster"].options


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-1", -1),
        ("12", 12),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("9223372036854775808", None),
        ("+1", None),
        ("01", None),
        ("-0", None),
        (" 1", None),
        ("1\n", None),
        ("", None),
        ("\N{ARABIC-INDIC DIGIT ONE}", None),
    ],
)
def test_integers_are_strict(text, value):
    """Integers are plain decimal and have 64 bits."""
    assert orders.integer(text) == value


# MONITOR -----------------------------------------------------------------------------------------


def test_monitor(desk):
    """A new master gets default options, is saved, announced, and connected at once."""
    assert desk.monitor() is None
    assert desk.is_saved
    assert desk.notices() == ["+monitor master new 127.0.0.2 6379 quorum 2"]
    assert [(o.kind, o.ip, o.port) for o in desk.all(Open)] == [
        (LinkKind.COMMAND, "127.0.0.2", 6379),
        (LinkKind.CHANNEL, "127.0.0.2", 6379),
    ]
    assert desk.state.masters["new"].options == Options(
        quorum=2, down_after_ms=30_000, failover_timeout_ms=180_000
    )


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"quorum": "x", "port": "x"}, "Invalid quorum"),
        ({"port": "x", "quorum": "0"}, "Invalid port"),
        ({"quorum": "0", "host": "x"}, "Quorum must be 1 or greater."),
        ({"quorum": "-1"}, "Quorum must be 1 or greater."),
        ({"host": "x", "port": "65536"}, "Invalid IP address or hostname specified"),
        ({"host": ""}, "Invalid IP address or hostname specified"),
        ({"port": "65536", "name": "mymaster"}, "Invalid port number."),
        ({"port": "-1"}, "Invalid port number."),
        ({"name": "mymaster"}, "Duplicate master name."),
    ],
)
def test_monitor_refused(desk, changed, error):
    """Of several mistakes, the one that redis-sentinel checks first is reported."""
    assert desk.monitor(**changed) == f"ERR {error}"
    assert list(desk.state.masters) == ["mymaster"]
    assert not desk.is_saved


def test_monitor_normalizes_the_ip(desk):
    """A short form of an address is shown in full."""
    assert desk.monitor(host="127.1", port="0") is None
    assert views.address_of(desk.state, "new", NOW) == ("127.0.0.1", "0")


def test_monitor_a_known_host_name(desk):
    """A name that was looked up before needs no waiting."""
    desk.state.settings.resolve_hostnames = True
    desk.state.names["redis.example"] = "10.0.0.1"
    assert desk.monitor(host="redis.example") is None
    assert desk.state.masters["new"].address == Address("redis.example", 6379, "10.0.0.1")


def wait_for_name(desk, host="redis.example", name="new"):
    desk.state.settings.resolve_hostnames = True
    desk.step(Monitor(TICKET, name, host, "6379", "2"))


def test_monitor_waits_for_a_host_name(desk):
    """A name that is not known yet is looked up; the answer comes when it is found."""
    wait_for_name(desk)
    assert desk.effects == [Resolve("redis.example")]
    assert desk.outcome(Resolved("redis.example", "10.0.0.1")) is None
    assert desk.is_saved
    assert desk.state.masters["new"].address == Address("redis.example", 6379, "10.0.0.1")
    assert desk.state.waiting == []


def test_monitor_a_name_without_address(desk):
    """A name that has no address is refused, and forgotten."""
    wait_for_name(desk)
    refused = desk.outcome(Resolved("redis.example", None))
    assert refused == "ERR Invalid IP address or hostname specified"
    assert list(desk.state.masters) == ["mymaster"]
    assert desk.state.waiting == []


def test_other_names_keep_waiting(desk):
    """Only the orders for the resolved name are carried out."""
    wait_for_name(desk)
    desk.step(Resolved("other.example", "10.0.0.2"))
    assert desk.all(Answer) == []
    assert len(desk.state.waiting) == 1


def test_a_name_taken_while_waiting(desk):
    """Who waited too long for an address may find the master's name used."""
    wait_for_name(desk)
    assert desk.monitor() is None
    refused = desk.outcome(Resolved("redis.example", "10.0.0.1"))
    assert refused == "ERR Duplicate master name."


def test_waiting_orders_are_bounded(desk):
    """A flood of names is refused instead of being remembered."""
    for number in range(orders.MAX_WAITING):
        wait_for_name(desk, name=f"new{number}")
    refused = desk.monitor(host="redis.example")
    assert refused == "ERR Too many host names are being looked up, try again later"
    assert len(desk.state.waiting) == orders.MAX_WAITING


# REMOVE, RESET, FLUSHCONFIG ----------------------------------------------------------------------


def test_remove(desk):
    """A removed master is announced, disconnected, and saved as gone."""
    assert desk.outcome(Remove(TICKET, "mymaster")) is None
    assert desk.is_saved
    assert desk.notices() == ["-monitor master mymaster 127.0.0.1 6379"]
    assert desk.state.masters == {}
    assert desk.state.links == {}
    assert len(desk.all(Close)) == 5


@pytest.mark.parametrize("order", [Remove(TICKET, "x"), SetOptions(TICKET, "x", ("a", "b"))])
def test_unknown_master(desk, order):
    """Orders about a master that nobody watches are refused."""
    assert desk.outcome(order) == "ERR No such master with that name"
    assert not desk.is_saved


def test_reset(desk):
    """A reset forgets replicas and peers, and is saved."""
    assert desk.outcome(Reset(TICKET, "my*")) == 1
    assert desk.is_saved
    assert desk.notices() == ["+reset-master master mymaster 127.0.0.1 6379"]
    master = desk.state.masters["mymaster"]
    assert (master.replicas, master.peers) == ({}, {})
    assert views.address_of(desk.state, "mymaster", NOW) == ("127.0.0.1", "6379")


def test_a_reset_lasts_long_enough_to_be_seen(desk):
    """The master's links open again at the next period, not before the answer can be read."""
    desk.outcome(Reset(TICKET, "my*"))
    assert not desk.all(Open)
    opened = [desk.core.step(NOW + passed_ms, Wake()) for passed_ms in (500, 1000)]
    assert [effect.port for effects in opened for effect in effects] == [6379, 6379]


def test_reset_of_nothing(desk):
    """Where no name matches, nothing happens."""
    assert desk.outcome(Reset(TICKET, "MY*")) == 0
    assert not desk.is_saved
    assert desk.notices() == []


def test_flush(desk):
    """FLUSHCONFIG saves."""
    assert desk.outcome(Flush(TICKET)) is None
    assert desk.is_saved


# SET ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "field", "value"),
    [
        ("down-after-milliseconds", "down_after_ms", 1),
        ("failover-timeout", "failover_timeout_ms", 2000),
        ("parallel-syncs", "parallel_syncs", 3),
        ("quorum", "quorum", 4),
        ("master-reboot-down-after-period", "reboot_down_after_ms", 0),
        ("primary-reboot-down-after-period", "reboot_down_after_ms", 5),
    ],
)
def test_set_a_number(desk, option, field, value):
    """Numbers are stored, saved and announced; option names are in any case."""
    assert desk.set(option.upper(), str(value)) is None
    assert getattr(options_of(desk), field) == value
    assert desk.is_saved
    text = f"master mymaster 127.0.0.1 6379 {option.upper()} {value}"
    assert desk.notices() == [f"+set {text}"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("down-after-milliseconds", "0"),
        ("failover-timeout", "-1"),
        ("parallel-syncs", "0"),
        ("Quorum", "2x"),
        ("master-reboot-down-after-period", "-1"),
    ],
)
def test_set_a_bad_number(desk, option, value):
    """The refusal repeats value and option as they were typed."""
    before = str(options_of(desk))
    assert desk.set(option, value) == f"ERR Invalid argument '{value}' for SENTINEL SET '{option}'"
    assert str(options_of(desk)) == before
    assert not desk.is_saved


@pytest.mark.parametrize(
    "words", [("Bogus", "1"), ("quorum",), ("rename-command", "PING"), ("", "")]
)
def test_set_unknown_or_incomplete(desk, words):
    """Unknown options and missing values are the same mistake."""
    error = f"ERR Unknown option or number of arguments for SENTINEL SET '{words[0]}'"
    assert desk.set(*words) == error


def test_set_stops_at_the_first_bad_option(desk):
    """Options before the bad one stay and are saved, later ones are not looked at."""
    error = desk.set("quorum", "5", "parallel-syncs", "x", "failover-timeout", "1")
    assert error == "ERR Invalid argument 'x' for SENTINEL SET 'parallel-syncs'"
    assert (options_of(desk).quorum, options_of(desk).failover_timeout_ms) == (5, 60000)
    assert desk.is_saved
    assert desk.notices() == ["+set master mymaster 127.0.0.1 6379 quorum 5"]


def test_a_shorter_down_after_counts_at_once(desk):
    """Who has been silent for longer than the new limit is down in the same step."""
    desk.state.masters["mymaster"].command.ok_at = NOW - 1000
    desk.set("down-after-milliseconds", "900")
    assert "+sdown master mymaster 127.0.0.1 6379" in desk.notices()


SCRIPTS = [
    ("notification-script", "notification_script", "Notification script"),
    ("client-reconfig-script", "client_reconfig_script", "Client reconfiguration script"),
]


@pytest.mark.parametrize(("option", "field", "what"), SCRIPTS)
def test_scripts(desk, option, field, what):
    """A script must be executable; an empty path removes it."""
    desk.state.settings.deny_scripts_reconfig = False
    error = desk.set(option, "/nowhere")
    assert error == f"ERR {what} seems non existing or non executable"
    assert desk.set(option, EXECUTABLE) is None
    assert getattr(options_of(desk), field) == EXECUTABLE
    assert desk.set(option, "") is None
    assert getattr(options_of(desk), field) is None


@pytest.mark.parametrize("option", [option for option, _, _ in SCRIPTS])
def test_scripts_are_denied_by_default(desk, option):
    """Whoever may SET must not thereby run programs."""
    assert desk.set(option, EXECUTABLE) == (
        "ERR Reconfiguration of scripts path is denied for security reasons. Check the "
        "deny-scripts-reconfig configuration directive in your Sentinel configuration"
    )


def test_a_password_is_not_shown(desk):
    """The event hides the password, and data nodes are logged in to anew."""
    desk.connect_all()
    assert desk.set("auth-pass", "secret") is None
    assert options_of(desk).auth_pass == "secret"
    assert desk.notices() == ["+set master mymaster 127.0.0.1 6379 auth-pass ******"]
    master = desk.state.masters["mymaster"]
    replica = master.replicas["127.0.0.1:6380"]
    links = (*master.links(), *replica.links())
    assert {close.link for close in desk.all(Close)} == {link.id for link in links}
    assert len(desk.all(Open)) == 4


def test_a_user_is_cleared(desk):
    """An empty value means none."""
    assert desk.set("auth-user", "sentinel") is None
    assert options_of(desk).auth_user == "sentinel"
    assert desk.set("auth-user", "") is None
    assert options_of(desk).auth_user is None


def test_rename_command(desk):
    """A command may have another name; its own name, in any case, takes that back."""
    assert desk.set("rename-command", "Ping", "PONG") is None
    assert options_of(desk).renamed == {"ping": "PONG"}
    assert desk.notices() == ["+set master mymaster 127.0.0.1 6379 rename-command Ping PONG"]
    assert desk.set("rename-command", "PING", "ping") is None
    assert options_of(desk).renamed == {}


@pytest.mark.parametrize("names", [("", "x"), ("x", ""), ("", "")])
def test_rename_command_needs_two_names(desk, names):
    """Neither name may be empty."""
    error = desk.set("rename-command", *names)
    assert error == "ERR Invalid argument '' for SENTINEL SET 'rename-command'"


# CONFIG SET --------------------------------------------------------------------------------------


def test_config_set(desk):
    """Several settings change together, and are saved without an event."""
    words = {
        "announce-ip": "10.0.0.9",
        "ANNOUNCE-PORT": "65535",
        "resolve-hostnames": "YES",
        "announce-hostnames": "yes",
        "loglevel": "Debug",
    }
    assert desk.config_set(*(word for pair in words.items() for word in pair)) is None
    settings = desk.state.settings
    assert (settings.announce_ip, settings.announce_port) == ("10.0.0.9", 65535)
    assert (settings.resolve_hostnames, settings.announce_hostnames) == (True, True)
    assert settings.loglevel == "debug"
    assert desk.is_saved
    assert desk.notices() == []


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("Bogus", "1"), "Invalid argument 'Bogus' to SENTINEL CONFIG SET"),
        (("announce-ip", "x", "loglevel"), "Missing argument 'loglevel' value"),
        (
            ("announce-ip", "x", "ANNOUNCE-IP"),
            "Duplicate argument 'ANNOUNCE-IP' to SENTINEL CONFIG SET",
        ),
        (("Loglevel", "loud"), "Invalid value 'loud' to SENTINEL CONFIG SET 'Loglevel'"),
        *(
            ((option, value), f"Invalid value '{value}' to SENTINEL CONFIG SET '{option}'")
            for option, value in (
                ("announce-port", "65536"),
                ("announce-port", "-1"),
                ("announce-port", "x"),
                ("resolve-hostnames", "1"),
            )
        ),
    ],
)
def test_config_set_refused(desk, words, error):
    """One mistake anywhere, and nothing is changed."""
    assert desk.config_set("announce-hostnames", "yes", *words) == f"ERR {error}"
    assert not desk.state.settings.announce_hostnames
    assert desk.state.settings.announce_ip == ""
    assert not desk.is_saved


@pytest.mark.parametrize("option", ["sentinel-user", "sentinel-pass"])
def test_peers_are_logged_in_to_anew(desk, option):
    """New credentials for peers take effect on the links that are there."""
    desk.connect_all()
    assert desk.config_set(option, "x") is None
    peer = desk.state.masters["mymaster"].peers["b" * 40]
    assert [close.link for close in desk.all(Close)] == [peer.command.id]


# DEBUG, SIMULATE-FAILURE -------------------------------------------------------------------------


def test_debug(desk):
    """Time constants change in any case of name, and nothing is saved."""
    assert desk.debug("info-period", "500", "Ping-Period", "100") is None
    assert (desk.state.constants.info_period, desk.state.constants.ping_period) == (500, 100)
    assert not desk.is_saved


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("bogus", "1"), "Unknown option or number of arguments"),
        (("info_period", "1"), "Unknown option or number of arguments"),
        (("tilt-period",), "Unknown option or number of arguments"),
        (("tilt-period", "0"), "Invalid argument '0'"),
        (("Tilt-Period", "x"), "Invalid argument 'x'"),
    ],
)
def test_debug_refused(desk, words, error):
    """What came before the mistake stays."""
    refused = desk.debug("ask-period", "5", *words)
    assert refused == f"ERR {error} for SENTINEL DEBUG '{words[0]}'"
    assert desk.state.constants.ask_period == 5
    assert desk.state.constants.tilt_period == 30_000


def simulate(desk, *words):
    return desk.outcome(SimulateFailure(TICKET, words))


def test_simulate_failure(desk):
    """Each order replaces the failures of the last one."""
    assert simulate(desk, "CRASH-AFTER-ELECTION", "crash-after-election") is None
    assert desk.state.simulated_failures == [SimulatedFailure.AFTER_ELECTION]
    assert simulate(desk, "crash-after-promotion") is None
    assert desk.state.simulated_failures == [SimulatedFailure.AFTER_PROMOTION]


def test_simulate_failure_help(desk):
    """``help`` lists the words, and words before it count."""
    listed = simulate(desk, "crash-after-promotion", "HELP", "bogus")
    assert listed == ["crash-after-election", "crash-after-promotion"]
    assert desk.state.simulated_failures == [SimulatedFailure.AFTER_PROMOTION]


def test_simulate_failure_refused(desk):
    """Words before an unknown one stay set."""
    refused = simulate(desk, "crash-after-election", "bogus")
    assert refused == "ERR Unknown failure simulation specified"
    assert desk.state.simulated_failures == [SimulatedFailure.AFTER_ELECTION]
