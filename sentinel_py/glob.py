"""Glob patterns as Redis matches them: `*`, `?`, `[a-z]`, `[^x]` and backslash.

Pure. Used for PSUBSCRIBE, ACL channels and every command that takes a pattern. Patterns come from
outsiders, so matching never takes more than pattern length x text length steps.
"""

from functools import lru_cache

# One token per pattern position: the set of bytes it accepts, or None for a star.
_Token = frozenset[int] | None

_ANY = frozenset(range(256))
_STAR, _QUESTION, _OPEN, _CLOSE, _BACKSLASH = b"*?[]\\"

# Patterns in use are few; a flood of different ones must not stay in memory.
CACHED_PATTERNS = 256


def glob_match(pattern: bytes, text: bytes, *, ignore_case: bool = False) -> bool:
    """Tell whether the whole text matches the pattern."""
    if ignore_case:
        pattern, text = pattern.lower(), text.lower()
    tokens = _tokens(pattern)
    token_at = text_at = 0
    after_star, star_took_to = -1, 0
    while text_at < len(text):
        token = tokens[token_at] if token_at < len(tokens) else _NOTHING
        if token is None:
            token_at += 1
            after_star, star_took_to = token_at, text_at
        elif text[text_at] in token:
            token_at += 1
            text_at += 1
        elif after_star >= 0:
            # Only the last star has to be reconsidered: let it take one byte more.
            star_took_to += 1
            token_at, text_at = after_star, star_took_to
        else:
            return False
    return all(token is None for token in tokens[token_at:])


_NOTHING: frozenset[int] = frozenset()


@lru_cache(maxsize=CACHED_PATTERNS)
def _tokens(pattern: bytes) -> tuple[_Token, ...]:
    tokens: list[_Token] = []
    at = 0
    while at < len(pattern):
        byte = pattern[at]
        at += 1
        if byte == _STAR:
            tokens.append(None)
        elif byte == _QUESTION:
            tokens.append(_ANY)
        elif byte == _OPEN:
            accepted, at = _char_class(pattern, at)
            tokens.append(accepted)
        else:
            if byte == _BACKSLASH and at < len(pattern):
                byte = pattern[at]
                at += 1
            tokens.append(frozenset((byte,)))
    return tuple(tokens)


def _char_class(pattern: bytes, at: int) -> tuple[frozenset[int], int]:
    """Read what follows a `[`; an unclosed class ends with the pattern, as Redis takes it."""
    negated = pattern[at : at + 1] == b"^"
    at += negated
    accepted: set[int] = set()
    while at < len(pattern) and pattern[at] != _CLOSE:
        if pattern[at] == _BACKSLASH and at + 1 < len(pattern):
            accepted.add(pattern[at + 1])
            at += 2
        elif pattern[at + 1 : at + 2] == b"-" and at + 2 < len(pattern):
            low, high = sorted((pattern[at], pattern[at + 2]))
            accepted.update(range(low, high + 1))
            at += 3
        else:
            accepted.add(pattern[at])
            at += 1
    return (_ANY - accepted if negated else frozenset(accepted)), at + 1
