"""Words on a line: see `sentinel_py.quoting`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel_py.quoting import quote, split_args


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", []),
        (b" \t ", []),
        (b"PING", [b"PING"]),
        (b"  set  a\tb ", [b"set", b"a", b"b"]),
        (b'"a b" c', [b"a b", b"c"]),
        (b"'a b' c", [b"a b", b"c"]),
        (rb'"\n\r\t\b\a\x41\\\"\q"', [b'\n\r\t\b\aA\\"q']),
        (rb'"\xzz"', [b"xzz"]),
        (rb"'it\'s \n'", [rb"it's \n"]),
        (b'""', [b""]),
        (b'a"b c"', [b"ab c"]),
        (b'"a"\tb', [b"a", b"b"]),
        (b"a\vb", [b"a\vb"]),
        (b"PING\0 x", [b"PING"]),
    ],
)
def test_words_are_split_as_redis_does(line, words):
    """Blanks separate, double quotes know escapes, single quotes know only their own."""
    assert split_args(line) == words


@pytest.mark.parametrize("line", [b'"a', b"'a", b'"a"b', b"'a'b", b'"a\\"', b'x "', b'a"b"c'])
def test_unbalanced_quotes_are_refused(line):
    """A quote has to be closed, and a blank or the end has to follow."""
    assert split_args(line) is None


@given(st.binary())
def test_a_quoted_word_is_one_word_again(word):
    """Whatever the bytes are, quoting and splitting give them back."""
    assert split_args(b"x " + quote(word) + b" y") == [b"x", word, b"y"]


def test_quoting_is_printable():
    """Nothing but printable ASCII gets into a file."""
    assert quote(b'a"\\\n\x00\xff ~') == rb'"a\"\\\n\x00\xff ~"'
