"""Values to bytes: see `sentinel_py.resp`."""

import pytest

from sentinel_py.resp import (
    NO_REPLY,
    NULL_ARRAY,
    OK,
    RESP2,
    RESP3,
    Error,
    Push,
    Raw,
    Set,
    Simple,
    Verbatim,
    encode,
    encode_command,
    parse_integer,
    to_bytes,
    to_text,
)


@pytest.mark.parametrize(
    ("value", "resp2", "resp3"),
    [
        ("text", b"$4\r\ntext\r\n", None),
        ("\u00e9", b"$2\r\n\xc3\xa9\r\n", None),
        (b"\x00\r\n", b"$3\r\n\x00\r\n\r\n", None),
        (7, b":7\r\n", None),
        (0.5, b"$3\r\n0.5\r\n", b",0.5\r\n"),
        (2.0, b"$1\r\n2\r\n", b",2\r\n"),
        (None, b"$-1\r\n", b"_\r\n"),
        (NULL_ARRAY, b"*-1\r\n", b"_\r\n"),
        ([], b"*0\r\n", None),
        (
            ["a", [1, None]],
            b"*2\r\n$1\r\na\r\n*2\r\n:1\r\n$-1\r\n",
            b"*2\r\n$1\r\na\r\n*2\r\n:1\r\n_\r\n",
        ),
        (("a",), b"*1\r\n$1\r\na\r\n", None),
        ({"k": 1}, b"*2\r\n$1\r\nk\r\n:1\r\n", b"%1\r\n$1\r\nk\r\n:1\r\n"),
        (Set(["a"]), b"*1\r\n$1\r\na\r\n", b"~1\r\n$1\r\na\r\n"),
        (Push(["a"]), b"*1\r\n$1\r\na\r\n", b">1\r\n$1\r\na\r\n"),
        (Verbatim("hi"), b"$2\r\nhi\r\n", b"=6\r\ntxt:hi\r\n"),
        (Simple("hi"), b"+hi\r\n", None),
        (Error("ERR no"), b"-ERR no\r\n", None),
        (Raw(b"+x\r\n"), b"+x\r\n", None),
        (OK, b"+OK\r\n", None),
        (NO_REPLY, b"", None),
    ],
)
def test_each_type_has_its_bytes(value, resp2, resp3):
    """RESP3 differs from RESP2 only where it has a type of its own."""
    assert encode(value, RESP2) == resp2
    assert encode(value, RESP3) == (resp2 if resp3 is None else resp3)


def test_an_error_stays_on_its_line():
    """What a client wrote into an error text cannot become a reply of its own."""
    assert encode(Error("ERR a\r\n+OK\nb\r\n"), RESP2) == b"-ERR a  +OK b\r\n"


def test_a_value_without_a_wire_type_is_a_mistake():
    """Booleans do not exist in what a Sentinel says."""
    with pytest.raises(KeyError):
        encode(True, RESP3)


def test_bytes_survive_as_text():
    """What is no UTF-8 comes out as it went in."""
    data = bytes(range(256))
    assert to_bytes(to_text(data)) == data
    assert encode(to_text(data), RESP2) == b"$256\r\n" + data + b"\r\n"


def test_commands_are_arrays_of_bulks():
    """Outgoing requests take text, bytes and numbers."""
    assert encode_command(["SET", b"\xff", 12]) == b"*3\r\n$3\r\nSET\r\n$1\r\n\xff\r\n$2\r\n12\r\n"


@pytest.mark.parametrize(
    ("digits", "value"),
    [
        (b"0", 0),
        (b"-12", -12),
        (b"9223372036854775807", 2**63 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"9223372036854775808", None),
        (b"", None),
        (b"01", None),
        (b"-0", None),
        (b"+1", None),
        (b" 1", None),
        (b"1\n", None),
        ("\u0661".encode(), None),
    ],
)
def test_integers_are_strict(digits, value):
    """Only the one spelling that Redis writes itself is an integer."""
    assert parse_integer(digits) == value
