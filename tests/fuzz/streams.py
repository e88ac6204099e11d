"""Bytes of a connection, which arrive in chunks of any size, and mean the same however they do."""

from sentinel_py.core import entry_checks, ledger
from sentinel_py.core.ledger import Claim, Command
from sentinel_py.links import ReplyReader
from sentinel_py.raft import codec, questions
from sentinel_py.raft.codec import CodecError
from sentinel_py.raft.framing import FrameReader, FrameWriter, Kind
from sentinel_py.raft.membership import REGULAR
from sentinel_py.raft.questions import AskStanding, Forwarded, Prepare
from sentinel_py.raft.snapshot import Entry
from sentinel_py.resp import ProtocolError
from sentinel_py.server.request_parser import RequestParser

# What an argument may cost beside its bytes until its request is complete.
ARGUMENT_BYTES = 64

PING = b"*1\r\n$4\r\nPING\r\n"
REQUESTS = [
    PING * 2,
    b"PING\r\n",
    b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n*0\r\n*-1\r\n",
    b'"a b" c\r\n' + PING,
    b"*1\r\n$7\r\n\r\n$4\r\n*\r\n" + PING,
    PING + b"+OK\r\n:1\r\n",
    b"*2147483647\r\n$1\r\na\r\n",
    b"*1\r\n%1\r\n$1\r\na\r\n$1\r\nb\r\n",
    b"*1\r\n$536870913\r\n",
]
REPLIES = [
    b"+PONG\r\n",
    b"-ERR x\r\n:-12\r\n",
    b"*3\r\n$7\r\nmessage\r\n$18\r\n__sentinel__:hello\r\n$1\r\nx\r\n",
    b"*6\r\n+OK\r\n+OK\r\n+OK\r\n:1\r\n:0\r\n*-1\r\n",
    b"$-1\r\n*0\r\n$5\r\nrole:\r\n",
    b"*4294967296\r\n$1\r\na\r\n",
]


def split(data):
    """The stream in these bytes whole, and in chunks of the size that the first byte says."""
    size, stream = max(1, data[0]) if data else 1, data[1:]
    return [stream], [stream[at : at + size] for at in range(0, len(stream), size)]


def seeds(samples):
    return [bytes([size]) + sample for sample in samples for size in (1, 7, 255)]


def requests(data):
    """A client's bytes; the lowest bit of the first byte says whether it has logged in."""
    whole, chunks = split(data)
    is_known = bool(data[0] & 1) if data else True
    assert _requests_of(whole, is_known) == _requests_of(chunks, is_known)


def _requests_of(chunks, is_known):
    parser = RequestParser()
    parser.authenticated = is_known
    found = []
    try:
        for chunk in chunks:
            found += parser.feed(chunk)
        held = sum(map(len, chunks))
        assert parser.pending_bytes <= held * ARGUMENT_BYTES
    except ProtocolError as error:
        found.append(str(error))
    assert all(type(word) is bytes for it in found if type(it) is list for word in it)
    return found


def replies(data):
    """What a server, or whatever listens at its address, answers us."""
    whole, chunks = split(data)
    assert _replies_of(whole) == _replies_of(chunks)


def _replies_of(chunks):
    reader = ReplyReader()
    try:
        return [value for chunk in chunks for value in reader.read(chunk)]
    except ProtocolError:
        return None


def raft(data):
    """What a member, or whoever has taken its place, says on a Raft stream."""
    whole, chunks = split(data)
    frames, _ = outcome = _frames_of(whole)
    assert outcome == _frames_of(chunks)
    for kind, payload in frames:
        if kind is Kind.RAFT:
            _read_message(payload)
        else:
            _read_question(payload)


class _TrustingReader(FrameReader):
    """A reader that takes every code for right, since a fuzzer cannot make one."""

    def _payload(self, buffer, start, end):
        return buffer[start + 5 : end - 16]


def _frames_of(chunks):
    reader = _TrustingReader(b"key")
    found = []
    try:
        for chunk in chunks:
            found += reader.read(chunk)
    except ProtocolError as error:
        return found, str(error)
    return found, None


def _read_message(payload):
    try:
        message = codec.decode(payload)
    except CodecError:
        return
    assert codec.encode(message) == payload
    for command, _, _ in message.get("entries", []):
        if command[:1] == REGULAR:
            entry_id, entry = ledger.decode(command[1:])
            why = entry_checks.why_not(entry)
            if not isinstance(entry, ledger.Unreadable):
                assert ledger.decode(ledger.encode(entry_id, entry)) == (entry_id, entry)
            else:
                assert why


def _read_question(payload):
    try:
        value, ticket = questions.decode(payload)
    except ProtocolError:
        return
    assert questions.decode(questions.encode(value, ticket)) == (value, ticket)


def _raft_samples():
    entries = [
        Entry(REGULAR + ledger.encode("a:x:1", entry), 5 + at, 2)
        for at, entry in enumerate(
            [Claim("m", 7, "a" * 40, True, False), Command("set", ("m", "quorum", "2"))]
        )
    ]
    numbers = {"term": 3, "commit_index": 2, "sequence": 9, "sent_at": 7}
    sent = {"type": "append_entries", "wanted_ms": 300} | numbers
    messages = [
        sent | {"prevLogIdx": 4, "prevLogTerm": 1, "entries": entries},
        sent | {"serialized": (b"x" * 20, True, False)},
        {"type": "pre_vote", "term": 4, "last_log_index": 5, "last_log_term": 2, "round": 1},
        {"type": "apply_command", "request_id": 1, "command": REGULAR + b"{}"},
        {"type": "response_vote", "term": 3},
    ]
    writer = FrameWriter(b"key")
    asked = [
        AskStanding(),
        Prepare("c", {"a" * 40: "10.0.0.1:26379"}, False),
        Forwarded(("ADD", "x")),
    ]
    return [
        *(writer.encode(Kind.RAFT, codec.encode(message)) for message in messages),
        *(writer.encode(Kind.QUESTION, questions.encode(value, 1)) for value in asked),
    ]


SEEDS = {
    "requests": seeds(REQUESTS),
    "replies": seeds(REPLIES),
    "raft": seeds(_raft_samples()),
}
