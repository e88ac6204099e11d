"""Words on a line: the quoting rules that inline requests and `sentinel.conf` share.

Pure functions on bytes. The rule guarded here is that `split_args(quote(x)) == [x]` for every x,
and that a line means here what it means to redis-sentinel.
"""

import re

_NEEDS_SCAN = re.compile(rb"[\"'\0\v\f]")
_BLANKS = b" \n\r\t"
_SPACES = b" \n\r\t\v\f"
_ESCAPES = {
    ord("n"): b"\n",
    ord("r"): b"\r",
    ord("t"): b"\t",
    ord("b"): b"\b",
    ord("a"): b"\a",
}
_HEX_PAIR = re.compile(rb"x([0-9a-fA-F]{2})")
_DOUBLE, _SINGLE, _BACKSLASH = b"\"'\\"


def split_args(line: bytes) -> list[bytes] | None:
    """Split a line into its words; None if a quote is not closed, or is closed inside a word."""
    if not _NEEDS_SCAN.search(line):
        return line.split()
    return _Splitter(line.partition(b"\0")[0]).split()


def quote(word: bytes) -> bytes:
    """Write a word in double quotes so that `split_args` gives it back."""
    return b'"' + b"".join(map(_REPRESENTATIONS.__getitem__, word)) + b'"'


def _representation(byte: int) -> bytes:
    if byte in (_DOUBLE, _BACKSLASH):
        return b"\\%c" % byte
    for letter, meaning in _ESCAPES.items():
        if meaning[0] == byte:
            return b"\\%c" % letter
    return b"%c" % byte if 0x20 <= byte < 0x7F else b"\\x%02x" % byte


_REPRESENTATIONS = [_representation(byte) for byte in range(256)]


class _Splitter:
    """One pass over a line that has quotes; each method moves `_at` past what it read."""

    def __init__(self, line: bytes) -> None:
        self._line = line
        self._at = 0

    def split(self) -> list[bytes] | None:
        words = []
        while self._skip_spaces():
            word = self._word()
            if word is None:
                return None
            words.append(word)
        return words

    def _skip_spaces(self) -> bool:
        while self._at < len(self._line) and self._line[self._at] in _SPACES:
            self._at += 1
        return self._at < len(self._line)

    def _word(self) -> bytes | None:
        word = bytearray()
        while self._at < len(self._line) and (byte := self._line[self._at]) not in _BLANKS:
            self._at += 1
            if byte not in (_DOUBLE, _SINGLE):
                word.append(byte)
                continue
            # A quote may open in the middle of a word, but ends the word where it closes.
            if not self._quoted(byte, word):
                return None
            break
        return bytes(word)

    def _quoted(self, mark: int, word: bytearray) -> bool:
        """Read up to the closing mark; False if it is missing or a word goes on behind it."""
        while self._at < len(self._line):
            byte = self._line[self._at]
            self._at += 1
            if byte == mark:
                return self._at == len(self._line) or self._line[self._at] in _SPACES
            if byte == _BACKSLASH:
                word += self._escape(mark)
            else:
                word.append(byte)
        return False

    def _escape(self, mark: int) -> bytes:
        rest = self._line[self._at : self._at + 3]
        if mark == _SINGLE:
            # Inside single quotes a backslash escapes nothing but the quote itself.
            if rest[:1] != b"'":
                return b"\\"
            self._at += 1
            return b"'"
        if hex_pair := _HEX_PAIR.match(rest):
            self._at += 3
            return bytes.fromhex(hex_pair[1].decode())
        self._at += len(rest[:1])
        return _ESCAPES.get(rest[0], rest[:1]) if rest else b"\\"
