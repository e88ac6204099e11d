"""Bytes of a client -> requests, without IO.

Two readers share the work. hiredis takes a chunk that is a whole number of well-formed requests,
which is nearly every chunk. All else (inline requests, a request cut in two, anything odd) goes to
the scanner below, which knows the limits and says in the words of Redis what is wrong. hiredis
alone would not do: it rejects inline requests, accepts every RESP type as an argument and has its
own error texts.

The rule guarded: whatever the chunks were, the requests and the error are those of redis-sentinel,
and an argument is always bytes.
"""

import re
from collections.abc import Iterator
from typing import TypeAlias

import hiredis

from sentinel_py.quoting import split_args
from sentinel_py.resp import ProtocolError, parse_integer

Request: TypeAlias = list[bytes]

# Of Redis: a line without its end may not grow beyond this.
MAX_LINE_BYTES = 64 * 1024
MAX_ARGUMENTS = 2**31 - 1
DEFAULT_MAX_BULK_BYTES = 512 * 1024 * 1024
DEFAULT_MAX_REQUEST_BYTES = 1024 * 1024 * 1024

# Of Redis: before a client is authenticated it gets room for an AUTH or HELLO, and no more.
UNAUTHENTICATED_MAX_ARGUMENTS = 10
UNAUTHENTICATED_MAX_BULK_BYTES = 16 * 1024

# What one short argument costs us beside its bytes, so that many empty ones count too.
_ARGUMENT_OVERHEAD_BYTES = 64

_ASTERISK = ord("*")

# hiredis makes a list of as many places as a count announces, before there is anything to put
# there; a count of billions would keep us busy for seconds. It is not given any from here on, nor
# anything else that has a count: pushes, sets, maps and attributes have no place in a request.
_DUBIOUS = re.compile(rb"\*[0-9+-]{5}|(?:\A|\n)[>~%|]")


# Clients say the same few things again and again. A look-up costs an eighth of reading, so short
# chunks are kept with what they mean.
_known_chunks: dict[bytes, list[Request]] = {}
MAX_KNOWN_CHUNKS = 256
MAX_KNOWN_CHUNK_BYTES = 1024
# Requests with a password are AUTH, or longer than this; no password is to stay in memory.
_MAX_KNOWN_WORDS = 3


class RequestTooLargeError(ProtocolError):
    """An unfinished request outgrew the query buffer limit; the client is closed without a word."""


class RequestParser:
    """The requests of one connection; its owner sets `authenticated` and so lifts tight limits."""

    def __init__(
        self,
        max_bulk_bytes: int = DEFAULT_MAX_BULK_BYTES,
        max_request_bytes: int = DEFAULT_MAX_REQUEST_BYTES,
    ) -> None:
        self.authenticated = False
        self._max_bulk_bytes = max_bulk_bytes
        self._max_request_bytes = max_request_bytes
        # Made when it is needed: most clients say nothing but what is known.
        self._reader: hiredis.Reader | None = None
        # The scanner's state: unread bytes, and what is known of the request that is being read.
        self._unread = bytearray()
        self._at = 0
        self._arguments_left = 0
        self._bulk_length: int | None = None
        self._request: Request = []
        self._request_bytes = 0

    @property
    def pending_bytes(self) -> int:
        """How much of an unfinished request is held."""
        return len(self._unread) - self._at + self._request_bytes

    @property
    def is_midway(self) -> bool:
        """Whether the next chunk begins with the rest of an unfinished request."""
        return bool(self._unread or self._arguments_left)

    def feed(self, data: bytes) -> Iterator[Request]:
        """Yield the requests that are complete now; raise ProtocolError behind the last good one.

        The iterator reads on as it is consumed, so that limits lifted by an AUTH hold for what
        stands behind it in the same chunk. It has to be exhausted before the next call.
        """
        if self.authenticated and not self.is_midway:
            requests = _known_chunks.get(data) or self._read_well_formed(data)
            if requests is not None:
                return iter(requests)
        self._unread += data
        return self._scan()

    def _read_well_formed(self, data: bytes) -> list[Request] | None:
        """Read a chunk with hiredis; None, and nothing consumed, if it is not beyond doubt."""
        if data[:1] != b"*" or _DUBIOUS.search(data):
            return None
        reader = self._reader = self._reader or hiredis.Reader()
        requests = []
        arguments = 0
        try:
            reader.feed(data)
            while (request := reader.gets()) is not False:
                if type(request) is not list:
                    break
                b"".join(request)  # TypeError if an element is not a string
                arguments += len(request)
                if request:
                    requests.append(request)
            else:
                # Only between requests can an empty one be read; the count tells whether there
                # were strings of another type than `$`.
                reader.feed(b"*0\r\n")
                if reader.gets() == [] and data.count(b"\r\n$") == arguments:
                    _remember(data, requests)
                    return requests
        except (hiredis.ProtocolError, TypeError):
            pass
        self._reader = None
        return None

    def _scan(self) -> Iterator[Request]:
        """Read what is unread, request by request, but for a long well-formed part of it."""
        is_part_taken = False
        try:
            while self._at < len(self._unread):
                if self.authenticated and not self._arguments_left and not is_part_taken:
                    is_part_taken = True
                    yield from self._well_formed_part()
                    continue
                request = self._next()
                if request is None:
                    break
                if request:
                    yield request
        finally:
            del self._unread[: self._at]
            self._at = 0
        if self.pending_bytes > self._max_request_bytes:
            raise RequestTooLargeError

    def _well_formed_part(self) -> list[Request]:
        """All requests before the last one, which is cut where the chunk ends."""
        last = self._unread.rfind(b"\n*", self._at) + 1
        requests = self._read_well_formed(bytes(self._unread[self._at : last]))
        if requests is None:
            return []
        self._at = last
        return requests

    def _next(self) -> Request | None:
        """Read one request; None if its end is not there yet, empty if it is one to be ignored."""
        if not self._arguments_left:
            if self._unread[self._at] != _ASTERISK:
                return self._inline()
            count = self._count()
            if count is None:
                return None
            self._arguments_left = max(count, 0)
        while self._arguments_left:
            argument = self._argument()
            if argument is None:
                return None
            self._request.append(argument)
            self._request_bytes += len(argument) + _ARGUMENT_OVERHEAD_BYTES
            self._arguments_left -= 1
        request, self._request, self._request_bytes = self._request, [], 0
        return request

    def _inline(self) -> Request | None:
        end = self._unread.find(b"\n", self._at)
        if end < 0:
            if len(self._unread) - self._at > MAX_LINE_BYTES:
                raise ProtocolError("Protocol error: too big inline request")
            return None
        line = bytes(self._unread[self._at : end]).removesuffix(b"\r")
        self._at = end + 1
        words = split_args(line)
        if words is None:
            raise ProtocolError("Protocol error: unbalanced quotes in request")
        return words

    def _count(self) -> int | None:
        line = self._line("too big mbulk count string")
        if line is None:
            return None
        count = parse_integer(line[1:])
        if count is None or count > MAX_ARGUMENTS:
            raise ProtocolError("Protocol error: invalid multibulk length")
        if count > UNAUTHENTICATED_MAX_ARGUMENTS and not self.authenticated:
            raise ProtocolError("Protocol error: unauthenticated multibulk length")
        return count

    def _argument(self) -> bytes | None:
        if self._bulk_length is None:
            self._bulk_length = self._length()
            if self._bulk_length is None:
                return None
        end = self._at + self._bulk_length
        if len(self._unread) < end + 2:
            return None
        argument = bytes(self._unread[self._at : end])
        # The two bytes behind a bulk are skipped unread, as redis-sentinel does.
        self._at = end + 2
        self._bulk_length = None
        return argument

    def _length(self) -> int | None:
        line = self._line("too big bulk count string")
        if line is None:
            return None
        if line[:1] != b"$":
            found = chr(line[0]) if line else "\r"
            raise ProtocolError(f"Protocol error: expected '$', got '{found}'")
        length = parse_integer(line[1:])
        if length is None or not 0 <= length <= self._max_bulk_bytes:
            raise ProtocolError("Protocol error: invalid bulk length")
        if length > UNAUTHENTICATED_MAX_BULK_BYTES and not self.authenticated:
            raise ProtocolError("Protocol error: unauthenticated bulk length")
        return length

    def _line(self, too_big: str) -> bytes | None:
        end = self._unread.find(b"\r", self._at)
        if end < 0 and len(self._unread) - self._at > MAX_LINE_BYTES:
            raise ProtocolError(f"Protocol error: {too_big}")
        # The byte behind the CR is taken for the LF, but has to be there.
        if end < 0 or end + 1 == len(self._unread):
            return None
        line = bytes(self._unread[self._at : end])
        self._at = end + 2
        return line


def known_requests(chunk: bytes) -> list[Request] | None:
    """What a short chunk means that was read lately, and has no password in it."""
    return _known_chunks.get(chunk)


def _remember(chunk: bytes, requests: list[Request]) -> None:
    if len(chunk) > MAX_KNOWN_CHUNK_BYTES:
        return
    if any(len(it) > _MAX_KNOWN_WORDS or it[0].lower() == b"auth" for it in requests):
        return
    if len(_known_chunks) >= MAX_KNOWN_CHUNKS:
        _known_chunks.clear()
    _known_chunks[chunk] = requests
