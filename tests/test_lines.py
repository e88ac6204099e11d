"""Words and lines: what is joined is split again, and bare words stay bare."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel_py.config.lines import join, key_of, split

ANY_BYTES = st.binary().map(lambda data: data.decode(errors="surrogateescape"))


@given(st.lists(ANY_BYTES, min_size=1))
def test_words_survive(words):
    """Any words, of any bytes, are read back from their line."""
    assert split(join(words)) == words


@given(st.lists(ANY_BYTES, min_size=1))
def test_words_make_one_line(words):
    """No word can end its line, or begin a comment that was none."""
    line = join(words)
    assert "\n" not in line
    assert line == line.strip(" \t\r\n")


@pytest.mark.parametrize("word", ["pa#ss", "a\\b", "/x/ü.sh", "[::1]", "a,b;c$"])
def test_no_quotes_without_need(word):
    """What can stand bare does, so that a file looks as its operator wrote it."""
    assert join([word]) == word


@pytest.mark.parametrize("word", ["", "a b", "a\tb", 'a"b', "a'b", "\n", "\x00"])
def test_quotes_where_needed(word):
    """What a reader would take apart is quoted."""
    assert join([word]).startswith('"')


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["PORT", "1"], "port"),
        (["sentinel"], "sentinel"),
        (["SENTINEL", "Monitor", "MM"], "sentinel monitor"),
        (["sentinel", "known-slave", "m"], "sentinel known-replica"),
        (
            ["sentinel", "primary-reboot-down-after-period", "m"],
            "sentinel master-reboot-down-after-period",
        ),
    ],
)
def test_keys(words, key):
    """Lines of the same key can take each other's place, whatever the spelling."""
    assert key_of(words) == key
