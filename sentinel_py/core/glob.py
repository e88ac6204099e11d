r"""Glob patterns as Redis matches them, byte by byte: `*`, `?`, `[abc]`, `[a-z]`, `[^...]` and `\`.

Patterns come from outside, so a match must never take long: only the last star is ever tried again,
which is enough for globs and keeps the work below length of pattern x length of text. And a pattern
that needs more bytes than the text has is not even read: names are short, and a thousand patterns
of a kilobyte each cost as many looks at a number.
"""

from __future__ import annotations

from functools import lru_cache

MAX_PATTERN = 1024
"""A longer pattern matches nothing: no name is that long, and Redis gives up at 1000 stars."""

CACHED_PATTERNS = 2_000
"""Few patterns are in use at a time; a flood of different ones must not stay in memory."""

KNOWN_LENGTHS = 16_384
"""Patterns whose least length is kept: as many as all clients may have together, and some."""

_Token = frozenset[int] | None  # the bytes that one place of the pattern accepts; None is a star

_LITERALS = tuple(frozenset((byte,)) for byte in range(256))
_ANY = frozenset(range(256))
_NOTHING: frozenset[int] = frozenset()
_STAR, _QUESTION, _OPEN, _CLOSE, _BACKSLASH, _DASH = b"*?[]\\-"


def glob_match(pattern: bytes, text: bytes, *, ignore_case: bool = False) -> bool:
    """Whether the whole text matches the pattern."""
    if len(pattern) > MAX_PATTERN or least_length(pattern) > len(text):
        return False
    if ignore_case:
        pattern, text = pattern.lower(), text.lower()
    return _match(_parse(pattern), text)


@lru_cache(maxsize=KNOWN_LENGTHS)
def least_length(pattern: bytes) -> int:
    """Return a number of bytes below which no text matches; found without a look at each place.

    What stands behind a ``[`` is left out, and so is each backslash: never too many are counted.
    """
    plain, _, _ = pattern.partition(b"[")
    return len(plain) - plain.count(b"*") - plain.count(b"\\")


def _match(tokens: tuple[_Token, ...], text: bytes) -> bool:
    at = token_at = 0
    behind_star, star_ends_at = -1, 0
    while at < len(text):
        token = tokens[token_at] if token_at < len(tokens) else _NOTHING
        if token is None:
            token_at += 1
            behind_star, star_ends_at = token_at, at
        elif text[at] in token:
            token_at += 1
            at += 1
        elif behind_star >= 0:
            star_ends_at += 1
            token_at, at = behind_star, star_ends_at
        else:
            return False
    return all(token is None for token in tokens[token_at:])


@lru_cache(maxsize=CACHED_PATTERNS)
def _parse(pattern: bytes) -> tuple[_Token, ...]:
    tokens: list[_Token] = []
    at = 0
    while at < len(pattern):
        byte = pattern[at]
        at += 1
        if byte == _STAR:
            if tokens[-1:] != [None]:
                tokens.append(None)
        elif byte == _QUESTION:
            tokens.append(_ANY)
        elif byte == _OPEN:
            accepted, at = _parse_class(pattern, at)
            tokens.append(accepted)
        else:
            if byte == _BACKSLASH and at < len(pattern):
                byte = pattern[at]
                at += 1
            tokens.append(_LITERALS[byte])
    return tuple(tokens)


def _parse_class(pattern: bytes, at: int) -> tuple[frozenset[int], int]:
    """What a ``[`` before ``at`` accepts, and where it ends; the pattern's end closes it too."""
    negated = pattern[at : at + 1] == b"^"
    at += negated
    accepted: set[int] = set()
    while at < len(pattern) and pattern[at] != _CLOSE:
        low = high = pattern[at]
        if low == _BACKSLASH and at + 1 < len(pattern):
            low = high = pattern[at + 1]
            at += 2
        elif at + 2 < len(pattern) and pattern[at + 1] == _DASH:
            low, high = sorted((low, pattern[at + 2]))
            at += 3
        else:
            at += 1
        accepted.update(range(low, high + 1))
    return (_ANY - accepted if negated else frozenset(accepted)), at + 1
