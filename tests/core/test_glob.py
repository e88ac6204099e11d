"""Globs match byte for byte as Redis matches them, and never take long."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel_py.core import glob
from sentinel_py.core.glob import MAX_PATTERN, glob_match

MATCHING = [
    (b"mymaster", b"mymaster"),
    (b"*", b"mymaster"),
    (b"*", b""),
    (b"**", b"a"),
    (b"my*er", b"mymaster"),
    (b"*a*a*", b"banana"),
    (b"m?", b"my"),
    (b"m??", "m\N{LATIN SMALL LETTER E WITH ACUTE}".encode()),
    (b"[ab]c", b"bc"),
    (b"[a-c]x", b"bx"),
    (b"[c-a]x", b"bx"),
    (b"[^a-c]x", b"dx"),
    (b"[^]", b"a"),
    (b"[a-]", b"]"),
    (b"[abc", b"c"),
    (b"[a-", b"-"),
    (rb"[\]]", b"]"),
    (b"[a\\", b"\\"),
    (rb"\*", b"*"),
    (b"a\\", b"a\\"),
    (b"", b""),
]

OTHERS = [
    (b"mymaster", b"MyMaster"),
    (b"mymaster", b"mymaster2"),
    (b"my*er", b"mymastery"),
    (b"m?", b"m"),
    (b"?", b""),
    (b"[]", b"]"),
    (b"[]a]", b"a"),
    (b"[^a]", b"a"),
    (b"[", b"["),
    (rb"\*", b"x"),
    (b"", b"a"),
    (b"a", b""),
    (b"*a", b"ab"),
]


@pytest.mark.parametrize(("pattern", "text"), MATCHING)
def test_matches(pattern, text):
    """What Redis matches is matched."""
    assert glob_match(pattern, text)


@pytest.mark.parametrize(("pattern", "text"), OTHERS)
def test_does_not_match(pattern, text):
    """What Redis does not match is not matched."""
    assert not glob_match(pattern, text)


def test_case_can_be_ignored():
    """Option names are matched whatever their case, ranges included."""
    assert glob_match(b"ANNOUNCE-[H-J]?", b"announce-ip", ignore_case=True)


def test_stars_do_not_multiply_the_work():
    """A pattern made to backtrack fails at once."""
    started_at = time.perf_counter()
    assert not glob_match(b"*a" * (MAX_PATTERN // 2 - 1) + b"b", b"a" * 2000)
    assert time.perf_counter() - started_at < 1


def test_long_patterns_match_nothing():
    """A pattern over the limit is not even parsed."""
    assert glob_match(b"*" * MAX_PATTERN, b"a")
    assert not glob_match(b"*" * (MAX_PATTERN + 1), b"a")


@given(
    st.binary(max_size=12) | st.text("ab*?[]^-\\\\", max_size=12).map(str.encode),
    st.binary(max_size=8),
)
def test_the_least_length_is_never_too_large(pattern, text):
    """A pattern that is passed over for its length would not have matched."""
    if glob._match(glob._parse(pattern), text):
        assert glob.least_length(pattern) <= len(text)


@pytest.mark.parametrize("pattern", [b"a*" * 512, b"?" * 1024, b"*a" * 512, b"x" * 1024])
def test_a_long_pattern_is_not_read_for_a_short_name(monkeypatch, pattern):
    """A thousand of them cost a look at a number each."""
    monkeypatch.setattr(glob, "_parse", lambda _pattern: pytest.fail("was read"))
    assert not glob.glob_match(pattern, b"+switch-master")
