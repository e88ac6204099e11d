"""The reader of replies: what it accepts, however it is cut, and what it refuses."""

from itertools import pairwise

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel_py import links as links_module
from sentinel_py import resp
from sentinel_py.core.messages import ErrorReply
from sentinel_py.links import ReplyReader

NONSENSE = {
    "no type": b"hello\r\n",
    "bulk length": b"$-7\r\n",
    "integer": b":one\r\n",
    "16 GiB of elements": b"*2147483647\r\n",
    "hidden 16 GiB": b"+OK\r\n*2\r\n$1\r\nx\r\n*2147483647\r\n",
    "more than memory": b"*4294967295\r\n",
    "more than any memory": b"*9223372036854775807\r\n",
    "depth": b"*1\r\n" * 100_000,
    "wide depth": b"*2\r\n:1\r\n" * 10_000,
    "complete nesting": b"*1\r\n*1\r\n:1\r\n",
    "bulk end": b"$1\r\nxyz",
    "map": b"%1\r\n+a\r\n:1\r\n",
    "map as key": b"%1\r\n%1\r\n+a\r\n:1\r\n:1\r\n",
    "truth": b"#t\r\n",
    "falsehood": b"#f\r\n",
    "double": b",1.5\r\n",
    "push": b">2\r\n+a\r\n+b\r\n",
    "endless status": b"+" + b"x" * links_module.MAX_LINE_BYTES,
    "endless integer": b":" + b"1" * links_module.MAX_LINE_BYTES,
    "bulk of 1 GB": b"$1000000000\r\n",
}


def read(chunks):
    reader = ReplyReader()
    return [value for chunk in chunks for value in reader.read(chunk)]


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE)
@pytest.mark.parametrize("chunk", [3, 1_000, 1_000_000])
def test_nonsense_is_refused(nonsense, chunk):
    """However it is cut into chunks, each kind of nonsense is an error, soon."""
    with pytest.raises(resp.ProtocolError):
        read(nonsense[at : at + chunk] for at in range(0, len(nonsense), chunk))


def test_unread_bytes_are_bounded(monkeypatch):
    """However a reply that does not end is made up, it is given up."""
    monkeypatch.setattr(links_module, "MAX_REPLY_BYTES", 1_000_000)
    element = b"$100000\r\n%b\r\n" % (b"x" * 100_000)
    assert len(read([b"*9\r\n", *[element] * 9])) == 1
    with pytest.raises(resp.ProtocolError, match="endless reply"):
        read([b"*11\r\n", *[element] * 10])
    with pytest.raises(resp.ProtocolError, match="length out of range"):
        read([b"$1000001\r\n"])


def test_null_replies():
    """RESP2 has two ways to say nothing; an aborted EXEC uses the second."""
    assert read([b"$-1\r\n*-1\r\n*2\r\n$-1\r\n*-1\r\n"]) == [None, None, [None, None]]


def test_a_large_info_is_read():
    """Large replies are fine, and the count starts anew behind each."""
    text = b"field:value\r\n" * 300_000
    reader = ReplyReader()
    for _ in range(12):
        assert reader.read(b"$%d\r\n%b\r\n" % (len(text), text)) == [text]


scalars = st.none() | st.integers(-(2**63), 2**63 - 1) | st.binary()
values = scalars | st.lists(scalars, max_size=9)


@given(st.lists(values), st.data())
def test_chunks_do_not_matter(replies, data):
    """Whatever replies there are, and however they are cut, the same values come out."""
    wire = b"".join(resp.encode(reply, resp.RESP2) for reply in replies)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)))))
    chunks = [wire[slice(*ends)] for ends in pairwise([0, *cuts, len(wire)])]
    assert read(chunks) == replies


TOKENS = (
    b"+OK\r\n|-ERR x\r\n|:1\r\n|:-0\r\n|$1\r\n|$-1\r\n|*2\r\n|*0\r\n|*-1\r\n|x|\r\n|\r|\n|$|*|1"
)


@given(st.lists(st.sampled_from(TOKENS.split(b"|"))))
def test_as_hiredis(tokens):
    """What is accepted has the meaning that hiredis gives it."""
    try:
        ours = read(tokens)
    except resp.ProtocolError:
        return
    reader = hiredis.Reader(replyError=ErrorReply, notEnoughData=Ellipsis)
    reader.feed(b"".join(tokens))
    assert ours == [reader.gets() for _ in ours]
