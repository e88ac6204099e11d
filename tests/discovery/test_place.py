"""Addresses that operators and sentinels give."""

import pytest

from sentinel_py.discovery.place import Place


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("redis-1.example:6379", Place("redis-1.example", 6379)),
        ("[::1]:6379", Place("::1", 6379)),
        ("6379", Place("127.0.0.1", 6379)),
        ("0.0.0.0:1", Place("0.0.0.0", 1)),
    ],
)
def test_what_is_read_is_shown_the_same(text, place):
    """A port alone goes with the host that is given."""
    assert Place.parse(text, "127.0.0.1") == place
    assert str(place).endswith(text)


@pytest.mark.parametrize(
    "text", ["", "x", "h:0", "h:65536", ":1", "h:-1", "a b:1", "a\n:1", "a,b:1"]
)
def test_what_is_none_is_refused(text):
    """Neither a port out of range nor a host that would mean something in a file."""
    with pytest.raises(ValueError, match="is not of the form host:port"):
        Place.parse(text)
    with pytest.raises(ValueError, match="host"):
        Place("a\n - b", 1)
