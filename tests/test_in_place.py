"""Saving a file in place: after a crash at any point it is the old text or the new one."""

import os
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel_py import in_place

SECTOR = 16
"""Bytes that are on the disk together or not at all; small, so that short texts have many."""


class Platter:
    """A file whose unsynced writes may be lost in a crash, sector by sector, or cut short."""

    def __init__(self, data):
        self.data = bytearray(data)
        self.synced = bytes(data)
        self.states = []  # at each point, what there is and what is certain
        self.room = None  # bytes that the file may have
        self.steps_left = None

    def read(self):
        return bytes(self.data)

    def write(self, at, data):
        for begin in range(0, len(data), SECTOR):
            part = data[begin : begin + SECTOR]
            if self.room is not None and at + begin + len(part) > self.room:
                raise OSError(28, os.strerror(28))
            self._note()
            end = at + begin + len(part)
            self.data.extend(bytes(max(0, end - len(self.data))))
            self.data[at + begin : end] = part
        self._note()

    def cut(self, size):
        self._note()
        del self.data[size:]
        self._note()

    def sync(self):
        self.synced = bytes(self.data)
        self._note()

    def _note(self):
        self.states.append((self.synced, bytes(self.data)))


def after_crash(synced, data, kept):
    """What is on the platter when of all sectors that differ those in ``kept`` had come there.

    The length is the one or the other, and where nothing was ever written there are zeros.
    """
    size = len(data) if kept(-1) else len(synced)
    found = bytearray(size)
    for number, at in enumerate(range(0, size, SECTOR)):
        source = data if kept(number) else synced
        part = source[at : at + SECTOR][: size - at]
        found[at : at + len(part)] = part
    return bytes(found)


def lines(text):
    """A text but for blank lines at its end, which mean nothing in a config file."""
    return text.rstrip(b"\n")


TEXTS = st.lists(
    st.sampled_from([b"port 26379", b"# a comment", b"", b"#", b"\xff\xfe", b"x" * 70, b"#| y"]),
    max_size=8,
).map(lambda parts: b"".join(part + b"\n" for part in parts))


@given(TEXTS, TEXTS, st.integers(0, 2**32))
def test_a_crash_leaves_the_old_text_or_the_new_one(old, new, seed):
    """Whatever came to the disk of what was not synced; and the next save repairs the file."""
    rng = Random(seed)
    file = Platter(old)
    in_place.overwrite(file, new)
    assert file.read() == file.synced == new
    for synced, data in file.states:
        found = after_crash(synced, data, lambda _sector: rng.random() < 0.5)
        assert lines(in_place.whole(found)) in (lines(old), lines(new))
        again = Platter(found)
        in_place.overwrite(again, b"third\n")
        assert again.read() == b"third\n"
        for state in rng.choices(again.states, k=3):
            found = after_crash(*state, lambda _sector: rng.random() < 0.5)
            kept = [lines(text) for text in (old, new, b"third\n")]
            assert lines(in_place.whole(found)) in kept


@given(TEXTS, TEXTS)
def test_what_is_synced_is_there(old, new):
    """The log alone, once it is whole, is the new text: nothing of it has to be written again."""
    file = Platter(old)
    in_place.overwrite(file, new)
    logged = next(synced for synced, _ in file.states if synced != old or synced == new)
    assert lines(in_place.whole(logged)) == lines(new)


@given(TEXTS, TEXTS, st.integers(0, 2_000))
def test_a_full_disk_keeps_the_old_text(old, new, room):
    """What there is no room for is not left behind in part."""
    file = Platter(old)
    file.room = max(room, len(old))
    try:
        in_place.overwrite(file, new)
    except OSError:
        assert file.read() == old
    else:
        assert file.read() == new


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"port 1\n#| a comment of somebody\n",
        in_place.BEGIN + b"sentinel monitor m 127.0.0.1 1 2\n",
        b"port 1\n" + in_place.BEGIN + b"#| port 2\nport 3\n",
        b"port 1\n\0\nport 2\n",
    ],
)
def test_what_somebody_else_has_written_is_never_taken_away(text):
    """A log is taken for one only if nothing else is in it or behind it."""
    assert in_place.whole(text) == text


def test_a_real_file(tmp_path):
    """Its number, and so its mount, stays."""
    path = tmp_path / "c.conf"
    path.write_bytes(b"old and longer than the new one\n")
    before = path.stat().st_ino
    fd = os.open(path, os.O_RDWR)
    try:
        in_place.overwrite(in_place.Descriptor(fd), b"new\n")
    finally:
        os.close(fd)
    assert path.read_bytes() == b"new\n"
    assert path.stat().st_ino == before
