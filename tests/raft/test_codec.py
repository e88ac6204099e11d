"""Raft messages on the wire: what is said comes through, and everything else is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel_py.raft import codec, membership
from sentinel_py.raft.codec import CHUNK_LIMIT, COMMAND_LIMIT, MESSAGE_LIMIT, CodecError
from sentinel_py.raft.membership import Add, Remove
from sentinel_py.raft.snapshot import Entry

numbers = st.integers(0, 2**62 - 1)
flags = st.booleans()
members = st.text(min_size=1, max_size=40).filter(membership.is_id)
proposals = st.binary(max_size=50).map(lambda data: b"\0" + data)
changes = st.builds(
    lambda kind, it: membership.command_of(kind(it)), st.sampled_from([Add, Remove]), members
)
commands = st.one_of(proposals, st.just(b"\1"), changes)


@st.composite
def entry_lists(draw):
    start = draw(st.integers(0, 2**40))
    return [
        Entry(command, start + offset, draw(numbers))
        for offset, command in enumerate(draw(st.lists(commands, max_size=5)))
    ]


def messages_of(type_, names, **others):
    fields = dict.fromkeys(names.split(), numbers) | others
    return st.fixed_dictionaries({"type": st.just(type_), **fields})


messages = st.one_of(
    messages_of(
        "append_entries",
        "term commit_index prevLogIdx prevLogTerm sequence sent_at wanted_ms",
        entries=entry_lists(),
    ),
    messages_of(
        "append_entries",
        "term commit_index sequence sent_at wanted_ms",
        serialized=st.tuples(st.binary(max_size=100), flags, flags),
    ),
    messages_of(
        "next_node_idx",
        "term next_node_idx sequence sent_at promise_ms",
        reset=flags,
        success=flags,
    ),
    messages_of("nack", "term"),
    messages_of("request_vote", "term last_log_index last_log_term", forced=flags),
    messages_of("response_vote", "term"),
    messages_of("pre_vote", "term last_log_index last_log_term round"),
    messages_of("response_pre_vote", "term round", granted=flags),
    messages_of("timeout_now", "term"),
    messages_of("apply_command", "request_id", command=proposals),
    messages_of("apply_command_response", "request_id log_idx log_term"),
    messages_of("apply_command_response", "request_id error"),
)
HEARTBEAT = {
    "type": "append_entries",
    "term": 3,
    "commit_index": 2,
    "prevLogIdx": 5,
    "prevLogTerm": 1,
    "sequence": 9,
    "sent_at": 7,
    "wanted_ms": 300,
    "entries": [],
}
VOTE = {"type": "response_vote", "term": 3}
PROPOSAL = {"type": "apply_command", "request_id": 1, "command": b"\0x"}


@given(messages)
def test_what_is_said_comes_through(message):
    """Each message of each layout is read as it was written."""
    assert codec.decode(codec.encode(message)) == message


@given(messages, st.data())
def test_a_message_cut_short_is_refused(message, data):
    """No beginning of a message is a message."""
    encoded = codec.encode(message)
    length = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(CodecError):
        codec.decode(encoded[:length])


@given(messages, st.binary(min_size=1, max_size=9))
def test_nothing_may_follow(message, rest):
    """What is left over behind a message is an error, not ignored."""
    with pytest.raises(CodecError):
        codec.decode(codec.encode(message) + rest)


@given(messages, st.data())
def test_bytes_that_were_changed(message, data):
    """A changed message is refused, or it is another message that could have been sent."""
    encoded = bytearray(codec.encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = codec.decode(bytes(encoded))
    except CodecError:
        return
    assert codec.encode(decoded) == bytes(encoded)


@given(st.binary(max_size=300))
def test_garbage(data):
    """Any bytes are a message or a CodecError, and nothing else."""
    for prefix in (b"", b"\1\1", b"\1\2", b"\1\12"):
        try:
            codec.decode(prefix + data)
        except CodecError:
            continue


@pytest.mark.parametrize(
    "message",
    [
        {"type": "append_entries", "term": 1},
        {**VOTE, "extra": 1},
        {"type": "unheard_of", "term": 1},
        {"type": "append_entries", "term": 1, "commit_index": 1, "transmission": "start"},
        {"type": "response_vote", "term": -1},
        {"type": "response_vote", "term": 2**62},
        {**HEARTBEAT, "entries": [Entry(b"\0", 6, 1), Entry(b"\0", 8, 1)]},
        {**HEARTBEAT, "entries": [Entry(b"\0" * (COMMAND_LIMIT + 1), 6, 1)]},
        {**HEARTBEAT, "entries": [Entry(b"", 6, 1)]},
        {**HEARTBEAT, "entries": [Entry(b"\3x", 6, 1)]},
        {**HEARTBEAT, "entries": [Entry(b"\2?x", 6, 1)]},
        {**HEARTBEAT, "entries": [Entry(b"\2+", 6, 1)]},
        {**PROPOSAL, "command": b"\1"},
        {**PROPOSAL, "command": b"\2+x"},
        {**PROPOSAL, "command": b""},
        {
            "type": "append_entries",
            "term": 1,
            "commit_index": 1,
            "sequence": 1,
            "sent_at": 1,
            "wanted_ms": 300,
            "serialized": (b"x" * (CHUNK_LIMIT + 1), True, True),
        },
    ],
)
def test_what_cannot_be_said(message):
    """Unknown keys, gaps, and commands that a member could not carry out have no bytes."""
    with pytest.raises(CodecError):
        codec.encode(message)


def test_the_same_commands_are_refused_when_they_arrive():
    """What our side does not send, the other side does not take either."""
    good = codec.encode(PROPOSAL)
    for bad in (b"\0\0\0\1\1", b"\0\0\0\0", b"\0\0\0\1\3"):
        with pytest.raises(CodecError):
            codec.decode(good[:-6] + bad)
    assert codec.decode(good[:-6] + b"\0\0\0\1\0") == {**PROPOSAL, "command": b"\0"}


def test_other_versions_and_layouts_are_refused():
    """The first byte is the version, the second one says what follows."""
    encoded = codec.encode(VOTE)
    for bad in (b"\1" + encoded[1:], b"\3" + encoded[1:], b"\2\0" + encoded[2:], b"\2\x7f"):
        with pytest.raises(CodecError):
            codec.decode(bad)


def test_a_count_is_not_believed():
    """Four billion entries are refused when the bytes end, and cost nothing before."""
    encoded = codec.encode(HEARTBEAT)
    with pytest.raises(CodecError):
        codec.decode(encoded[:-4] + b"\xff\xff\xff\xff")


def test_longest_message():
    """What PySyncObj can put into one batch fits, and more than the limit is not even looked at."""
    entries = [Entry(b"\0" * COMMAND_LIMIT, 6 + it, 1) for it in range(33)]
    encoded = codec.encode({**HEARTBEAT, "entries": entries})
    assert codec.BATCH_LIMIT < len(encoded) <= MESSAGE_LIMIT
    with pytest.raises(CodecError):
        codec.decode(bytes(MESSAGE_LIMIT + 1))
