"""RESP2 and RESP3 between bytes and values, without IO.

`encode` turns what a handler returns into the bytes of the client's protocol, `encode_command`
writes an outgoing request. What comes in is parsed in `request_parser.py`. Nothing here knows
commands or clients. The rule guarded: a reply is complete and well-formed for any value, so no text
of a client can break out of the line it is put on.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias

RESP2, RESP3 = 2, 3

# Text is UTF-8 where it can be; other bytes survive the way through str unchanged.
_UTF8 = ("utf-8", "surrogateescape")

# Replies consist of the same field names and addresses again and again; what was encoded lately is
# looked up. The longest texts are INFO texts, a few kilobytes each.
KNOWN_TEXTS = 1024

_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_INT64 = range(-(2**63), 2**63)


class ProtocolError(Exception):
    """The peer's bytes were wrong; the text is what goes behind `-ERR ` on the wire."""


class Raw(bytes):
    """Bytes that are already encoded; empty means that nothing is sent."""

    __slots__ = ()


class Simple(str):
    """A simple string such as `+OK`."""

    __slots__ = ()


class Error(str):
    """An error reply; the text begins with its code, as in `ERR syntax error`."""

    __slots__ = ()


class Verbatim(str):
    """Text that RESP3 marks as `txt`; RESP2 sends a bulk string."""

    __slots__ = ()


class Set(list["Reply"]):
    """Members in a fixed order; RESP2 sends an array."""

    __slots__ = ()


class Push(list["Reply"]):
    """An out-of-band message; RESP2 sends an array."""

    __slots__ = ()


class NullArray:
    """The type of NULL_ARRAY: `*-1` in RESP2, where None is `$-1`."""

    __slots__ = ()


Reply: TypeAlias = (
    "int | float | str | bytes | NullArray | Sequence[Reply] | Mapping[str, Reply] | None"
)

NULL_ARRAY: Final = NullArray()
NO_REPLY: Final = Raw()
OK: Final = Raw(b"+OK\r\n")
SYNTAX_ERROR: Final = Error("ERR syntax error")
NOT_AN_INTEGER: Final = Error("ERR value is not an integer or out of range")


def to_bytes(text: str) -> bytes:
    return text.encode(*_UTF8)


def to_text(data: bytes) -> str:
    return data.decode(*_UTF8)


def parse_integer(digits: bytes | bytearray) -> int | None:
    """Read a 64-bit integer as Redis does: no sign `+`, no leading zero, no blank."""
    if not _INTEGER.fullmatch(digits):
        return None
    value = int(digits)
    return value if value in _INT64 else None


def encode(value: Reply, protocol: int) -> bytes:
    """Encode a reply; which RESP type it becomes is decided by its exact Python type."""
    return _ENCODERS[type(value)](value, protocol)


def encode_command(words: Iterable[bytes | str | int]) -> bytes:
    """Encode a request to another server."""
    bulks = [_bulk(_word(word)) for word in words]
    return b"*%d\r\n%b" % (len(bulks), b"".join(bulks))


def _word(word: bytes | str | int) -> bytes:
    return word if isinstance(word, bytes) else to_bytes(str(word))


def _bulk(data: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(data), data)


@lru_cache(maxsize=KNOWN_TEXTS)
def _text(text: str, _protocol: int) -> bytes:
    return _bulk(to_bytes(text))


def _line(marker: bytes) -> Callable[[str, int], bytes]:
    """Make an encoder for what must stay on one line, whatever a client put into it."""

    def encode_line(text: str, _protocol: int) -> bytes:
        line = to_bytes(text).strip(b"\r\n").replace(b"\r", b" ").replace(b"\n", b" ")
        return b"%b%b\r\n" % (marker, line)

    return encode_line


def _elements(marker: bytes) -> Callable[[Sequence[Reply], int], bytes]:
    """Make an encoder for a sequence type that RESP2 has no other word for than array."""

    def encode_elements(items: Sequence[Reply], protocol: int) -> bytes:
        parts = [b"%b%d\r\n" % (marker if protocol == RESP3 else b"*", len(items))]
        for item in items:
            parts.append(_ENCODERS[type(item)](item, protocol))
        return b"".join(parts)

    return encode_elements


def _map(pairs: Mapping[str, Reply], protocol: int) -> bytes:
    encoded = [encode(part, protocol) for pair in pairs.items() for part in pair]
    if protocol == RESP3:
        return b"%%%d\r\n%b" % (len(pairs), b"".join(encoded))
    return b"*%d\r\n%b" % (len(encoded), b"".join(encoded))


def _double(value: float, protocol: int) -> bytes:
    text = repr(value).removesuffix(".0").encode()
    return b",%b\r\n" % text if protocol == RESP3 else _bulk(text)


def _verbatim(text: str, protocol: int) -> bytes:
    data = to_bytes(text)
    if protocol == RESP3:
        return b"=%d\r\ntxt:%b\r\n" % (len(data) + 4, data)
    return _bulk(data)


# Any: each encoder takes exactly the type it stands beside.
_ENCODERS: dict[type, Callable[[Any, int], bytes]] = {
    Raw: lambda data, _protocol: bytes(data),
    str: _text,
    bytes: lambda data, _protocol: _bulk(data),
    int: lambda number, _protocol: b":%d\r\n" % number,
    float: _double,
    type(None): lambda _none, protocol: b"_\r\n" if protocol == RESP3 else b"$-1\r\n",
    NullArray: lambda _null, protocol: b"_\r\n" if protocol == RESP3 else b"*-1\r\n",
    list: _elements(b"*"),
    tuple: _elements(b"*"),
    Set: _elements(b"~"),
    Push: _elements(b">"),
    dict: _map,
    Simple: _line(b"+"),
    Error: _line(b"-"),
    Verbatim: _verbatim,
}
