"""Bytes to requests: see `sentinel_py.request_parser`."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel_py.resp import ProtocolError, encode_command
from sentinel_py.server import request_parser
from sentinel_py.server.request_parser import (
    MAX_KNOWN_CHUNK_BYTES,
    MAX_KNOWN_CHUNKS,
    MAX_LINE_BYTES,
    RequestParser,
    RequestTooLargeError,
)


def parser(**limits):
    made = RequestParser(**limits)
    made.authenticated = True
    return made


def outcome(made, *chunks):
    """All requests, and the error text at the end if there is one."""
    found = []
    try:
        for chunk in chunks:
            found += made.feed(chunk)
    except ProtocolError as error:
        found.append(str(error))
    return found


def bytewise(data):
    return [data[i : i + 1] for i in range(len(data))]


PING = b"*1\r\n$4\r\nPING\r\n"
BAD_COUNT = "Protocol error: invalid multibulk length"
BAD_LENGTH = "Protocol error: invalid bulk length"


def expected_dollar(char):
    return f"Protocol error: expected '$', got '{char}'"


HOSTILE = [
    (b"*1\r\n%c150000000\r\n" % kind, [expected_dollar(chr(kind))]) for kind in b">~%|*(_#,=!:+-"
]

CASES = [
    *HOSTILE,
    (b"*+99999\r\n", [BAD_COUNT]),
    (PING, [[b"PING"]]),
    (PING * 3, [[b"PING"]] * 3),
    (b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n", [[b"GET", b""]]),
    (b"PING\r\n", [[b"PING"]]),
    (b"PING\n", [[b"PING"]]),
    (b"\r\n\nPING a\r\n", [[b"PING", b"a"]]),
    (b"*0\r\n*-1\r\n*-7\r\n" + PING, [[b"PING"]]),
    (PING + b'"a b" c\r\n' + PING, [[b"PING"], [b"a b", b"c"], [b"PING"]]),
    (b"*1\r\n$4\r\nPINGxx" + PING, [[b"PING"], [b"PING"]]),
    (b"*1\r\n$7\r\n\r\n$4\r\n*\r\n" + PING, [[b"\r\n$4\r\n*"], [b"PING"]]),
    (b"*1\r\n$6\r\n*99999\r\n" + PING, [[b"*99999"], [b"PING"]]),
    (PING + b"+OK\r\n:1\r\n", [[b"PING"], [b"+OK"], [b":1"]]),
    (b'"a\r\n', ["Protocol error: unbalanced quotes in request"]),
    (PING + b"*x\r\n" + PING, [[b"PING"], BAD_COUNT]),
    (b"*2147483648\r\n", [BAD_COUNT]),
    (b"*01\r\n", [BAD_COUNT]),
    (b"*\r\n", [BAD_COUNT]),
    (b"*1\r\nPING\r\n", [expected_dollar("P")]),
    (b"*1\r\n\r\n", [expected_dollar("\r")]),
    (PING + b"*1\r\n+PING\r\n", [[b"PING"], expected_dollar("+")]),
    (b"*1\r\n:1\r\n", [expected_dollar(":")]),
    (b"*1\r\n*1\r\n$1\r\na\r\n", [expected_dollar("*")]),
    (b"*1\r\n%1\r\n$1\r\na\r\n$1\r\nb\r\n", [expected_dollar("%")]),
    (b"*2\r\n$4\r\nPING\r\n$-1\r\n", [BAD_LENGTH]),
    (b"*1\r\n$abc\r\n", [BAD_LENGTH]),
    (b"*1\r\n$536870913\r\n", [BAD_LENGTH]),
]


@pytest.mark.parametrize(("data", "found"), CASES)
def test_requests_and_errors_are_those_of_redis(data, found):
    """Well-formed requests come out, and the first mistake is named in the words of Redis."""
    assert outcome(parser(), data) == found


@pytest.mark.parametrize(("data", "found"), CASES)
def test_it_does_not_matter_how_bytes_arrive(data, found):
    """One byte at a time gives the same as one chunk."""
    assert outcome(parser(), *bytewise(data)) == found


REQUESTS = st.lists(st.lists(st.binary(max_size=20), min_size=1, max_size=4), max_size=5)


@given(REQUESTS, st.lists(st.integers(0, 300)))
def test_any_arguments_in_any_chunks(requests, cuts):
    """Whatever the arguments are and wherever the stream is cut, they arrive unchanged."""
    data = b"".join(map(encode_command, requests))
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    chunks = [data[a:b] for a, b in pairwise(edges) if a < b]
    assert outcome(parser(), *chunks) == requests


@given(st.binary(max_size=60))
def test_noise_gives_bytes_or_a_protocol_error(noise):
    """No input makes anything else of an argument than bytes, whole or in pieces."""
    for first in (b"", b"*2\r\n", PING):
        whole = outcome(parser(), first + noise)
        assert whole == outcome(parser(), *bytewise(first + noise))
        requests = [it for it in whole if not isinstance(it, str)]
        assert all(isinstance(word, bytes) for request in requests for word in request)


def test_a_count_of_billions_costs_nothing():
    """Memory is taken for arguments that are there, not for those that are announced."""
    made = parser()
    started = time.process_time()
    assert outcome(made, b"*2147483647\r\n", b"$1\r\na\r\n") == []
    assert time.process_time() - started < 1
    assert made.pending_bytes < 1000


@pytest.mark.parametrize(
    ("start", "text"),
    [
        (b"", "Protocol error: too big inline request"),
        (b"*", "Protocol error: too big mbulk count string"),
        (b"*1\r\n$", "Protocol error: too big bulk count string"),
    ],
)
def test_a_line_without_end_is_cut_off(start, text):
    """No line is collected beyond its limit."""
    made = parser()
    assert outcome(made, start + b"1" * (MAX_LINE_BYTES - 1)) == []
    assert outcome(made, b"11") == [text]


def test_an_unfinished_request_is_limited():
    """Arguments that are already there count, empty ones too."""
    many = b"*100000\r\n" + b"$0\r\n\r\n" * 20
    made = parser(max_request_bytes=1000)
    with pytest.raises(RequestTooLargeError):
        list(made.feed(many))


def test_bulks_are_limited_by_configuration():
    """proto-max-bulk-len is taken at its word."""
    made = parser(max_bulk_bytes=10)
    assert outcome(made, b"*1\r\n$10\r\n0123456789\r\n*1\r\n$11\r\n") == [
        [b"0123456789"],
        BAD_LENGTH,
    ]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"*11\r\n", "Protocol error: unauthenticated multibulk length"),
        (b"*1\r\n$16385\r\n", "Protocol error: unauthenticated bulk length"),
    ],
)
def test_strangers_get_little_room(data, text):
    """Before authentication requests are small."""
    assert outcome(RequestParser(), data) == [text]
    assert outcome(parser(), data) == []


def test_authentication_counts_for_what_follows_in_the_chunk():
    """The limits are those at the time when a request is read, not when it arrived."""
    made = RequestParser()
    requests = made.feed(PING + encode_command(["a"] * 11) + PING)
    assert next(requests) == [b"PING"]
    made.authenticated = True
    assert list(requests) == [[b"a"] * 11, [b"PING"]]
    assert made.pending_bytes == 0


def test_no_password_is_kept():
    """Chunks are remembered for speed, but not those that may have a secret in them."""
    made = parser()
    secrets = (
        ["AUTH", "secret"],
        ["auth", "user", "secret"],
        ["HELLO", "3", "AUTH", "user", "secret"],
        ["ACL", "SETUSER", "u", ">secret"],
        ["SENTINEL", "SET", "m", "auth-pass", "secret"],
    )
    for words in secrets:
        chunk = PING + encode_command(words)
        for _ in range(2):
            assert len(outcome(made, chunk)) == 2
    assert not [chunk for chunk in request_parser._known_chunks if b"secret" in chunk]


def test_few_and_short_chunks_are_kept():
    """A flood of different requests does not stay in memory."""
    made = parser()
    for number in range(3 * MAX_KNOWN_CHUNKS):
        outcome(made, encode_command(["PING", number]))
    outcome(made, PING * MAX_KNOWN_CHUNK_BYTES)
    assert len(request_parser._known_chunks) <= MAX_KNOWN_CHUNKS
    assert max(map(len, request_parser._known_chunks)) <= MAX_KNOWN_CHUNK_BYTES


@pytest.mark.parametrize("data", [data for data, _ in HOSTILE])
def test_counts_of_other_types_do_not_come_to_hiredis(monkeypatch, data):
    """It would make room for what they announce: 1.2 GB for sixteen bytes."""
    monkeypatch.setattr(request_parser.hiredis, "Reader", lambda: pytest.fail("was asked"))
    if data[4:5] in b">~%|":
        assert parser()._read_well_formed(data) is None
