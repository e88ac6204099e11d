"""What a value has to be before it is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel_py.core import checks
from sentinel_py.core.checks import InvalidError
from sentinel_py.core.model import Address

CONTROLS = [chr(code) for code in (*range(0x20), 0x7F)]


def is_refused(check, *values):
    try:
        check(*values)
    except InvalidError:
        return True
    return False


def test_control_characters_are_those_of_c():
    """Every byte below the blank, and DEL; bytes above ASCII are none, as in the C locale."""
    found = [chr(code) for code in range(0x400) if checks.has_control(f"a{chr(code)}b")]
    assert found == CONTROLS
    assert not checks.has_control("\udc80\udc9f")


@given(st.text(st.characters(), max_size=8))
def test_what_is_storable_comes_back(text):
    """The verdict is what writing and reading the text in a file comes to."""
    try:
        read_back = text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        read_back = None
    assert checks.is_storable(text) == (read_back == text)
    assert checks.is_storable(checks.storable(text))


@given(st.binary(max_size=12))
def test_any_bytes_are_storable(data):
    """What clients and files have sent as bytes is no lone surrogate."""
    assert checks.is_storable(data.decode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\udcc3\udca9"])
def test_lone_surrogates_are_not(text):
    """Two that stand for bytes of one character would come back as that character."""
    assert not checks.is_storable(text)
    assert is_refused(checks.check_text, text, "it")


@pytest.mark.parametrize("name", ["mymaster", "", "a b", "db-1", "a,b", "é", "\udcff", "x" * 4096])
def test_names(name):
    """Whatever redis-sentinel has been called with."""
    checks.check_name(name)


@pytest.mark.parametrize("name", ["-x", "--", "a\nb", "\x7f", "\ud800", "x" * 4097, "é" * 2049])
def test_bad_names(name):
    """Options of programs, what is no text, and what is too long."""
    assert is_refused(checks.check_name, name)


@pytest.mark.parametrize(
    "address",
    [
        Address("10.0.0.1", 0, "10.0.0.1"),
        Address("db", 65535, "10.0.0.1"),
        Address("db", 1, ""),
        Address("127.1", 1, "127.0.0.1"),
        Address("::1", 1, "::1"),
    ],
)
def test_addresses(address):
    """Numeric ones and names, which may have no ip at the moment."""
    checks.check_address(address)


@pytest.mark.parametrize(
    "address",
    [
        Address("", 1, "10.0.0.1"),
        Address("a b", 1, "10.0.0.1"),
        Address("a\n", 1, "10.0.0.1"),
        Address("db", 65536, "10.0.0.1"),
        Address("db", -1, "10.0.0.1"),
        Address("db", 1, "nonsense"),
        Address("db", 1, "127.1"),
        Address("10.0.0.1", 1, "10.0.0.2"),
        Address("10.0.0.1", 1, ""),
        Address("x" * 257, 1, "10.0.0.2"),
    ],
)
def test_bad_addresses(address):
    """What nobody can connect to, or what is not what it says to be."""
    assert is_refused(checks.check_address, address)
