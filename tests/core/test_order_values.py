"""Orders with words that are not kept: control characters, no text, too much."""

import pytest

from .test_orders import desk, options_of

__all__ = ["desk"]

REFUSAL = "ERR Invalid argument at index {} for SENTINEL {}: control characters are not allowed"


@pytest.mark.parametrize(
    "bad", ["a\nb", "\x00", "\t", "b\x7f", "\r\nsentinel monitor x 1.1.1.1 1 1"]
)
def test_control_characters_are_refused(desk, bad):
    """As in Valkey 9.1, with the place of the word in the command; nothing is applied."""
    before = repr(options_of(desk)), repr(desk.state.settings), list(desk.state.masters)
    assert desk.set("auth-pass", bad) == REFUSAL.format(4, "SET")
    assert desk.set(bad, "2") == REFUSAL.format(3, "SET")
    assert desk.set("quorum", "1", "auth-user", bad) == REFUSAL.format(6, "SET")
    assert desk.set("rename-command", "PING", bad) == REFUSAL.format(5, "SET")
    assert desk.set("auth-pass", bad, name="other") == "ERR No such master with that name"
    assert desk.config_set("announce-ip", bad) == REFUSAL.format(4, "CONFIG SET")
    assert desk.config_set("announce-port", "1", bad, "x") == REFUSAL.format(5, "CONFIG SET")
    assert desk.monitor(name=bad) == REFUSAL.format(2, "MONITOR")
    assert desk.monitor(host=bad) == REFUSAL.format(3, "MONITOR")
    assert desk.monitor(port=bad, quorum="0") == REFUSAL.format(4, "MONITOR")
    assert desk.monitor(quorum=bad) == REFUSAL.format(5, "MONITOR")
    assert not desk.is_saved
    assert (repr(options_of(desk)), repr(desk.state.settings), list(desk.state.masters)) == before


def test_bytes_above_ascii_are_none(desk):
    """Passwords are any bytes, as they were."""
    assert desk.set("auth-pass", "a\udc80\udc9f\udcffb") is None
    assert options_of(desk).auth_pass == "a\udc80\udc9f\udcffb"


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("\ud800", "it is no text that a file can hold"),
        ("\udcc3\udca9", "it is no text that a file can hold"),
        ("x" * 16385, "it has more than 16384 bytes"),
    ],
)
def test_what_no_file_can_hold_is_refused(desk, bad, why):
    """A later save would fail, or the text come back as another one."""
    refusal = "ERR Invalid argument at index {} for SENTINEL {}: " + why
    assert desk.set("auth-pass", bad) == refusal.format(4, "SET")
    assert desk.config_set("announce-ip", bad) == refusal.format(4, "CONFIG SET")
    assert desk.monitor(name=bad) == refusal.format(2, "MONITOR")


def test_a_name_is_no_option_of_a_script(desk):
    """Scripts get the name as an argument."""
    assert desk.monitor(name="-x") == (
        "ERR The name of a master begins with '-', as options of programs do."
    )
    assert desk.monitor(name="x" * 4097) == "ERR The name of a master has more than 4096 bytes."
    assert list(desk.state.masters) == ["mymaster"]


@pytest.mark.parametrize(
    "option",
    [
        *("quorum", "parallel-syncs", "down-after-milliseconds", "failover-timeout"),
        *("master-reboot-down-after-period", "master-loading-down-after-period"),
    ],
)
def test_numbers_fit_into_the_file(desk, option):
    """redis-sentinel takes more and reads another number from its file, or does not start."""
    assert desk.set(option, "2147483647") is None
    assert desk.set(option, "2147483648").startswith("ERR Invalid argument '2147483648' for")


def test_a_quorum_fits_into_the_file(desk):
    """The same for the one that MONITOR brings."""
    assert desk.monitor(quorum="2147483648") == "ERR Invalid quorum"


def test_renamed_commands_have_an_end(desk):
    """An operator needs a few; a loop that goes wrong does not fill the file."""
    for number in range(256):
        assert desk.set("rename-command", f"c{number}", "x") is None
    refusal = "ERR At most 256 commands of a master can be renamed"
    assert desk.set("rename-command", "c256", "x") == refusal
