"""Config lines and words: how a line falls into words, and how words make a line.

What the words mean is for `config`, `settings` and `directives` to say. The rule it guards:
`split(join(words)) == words`, for redis-sentinel as much as for us.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sentinel_py.quoting import quote, split_args

CACHED_LINES = 16_384
"""Lines that a rewrite need not make or take apart again. A file that has more is written six times
as slowly; that of 1,000 masters has 7,000 lines, and takes 25 ms."""

# Redis reads any byte but these bare. What an operator wrote without quotes stays without.
_NEEDS_QUOTES = re.compile(r"[\x00-\x20\x7f\"']")

# Old and other names of sentinel directives; what is written is read by every version.
_SAME_AS = {
    "known-slave": "known-replica",
    "primary-reboot-down-after-period": "master-reboot-down-after-period",
}


_COMMENTED = "#~ sentinel known-"
"""What a sentinel has learnt and redis-sentinel has no directive for: to that, it is a comment."""


class DirectiveError(Exception):
    """What is wrong with a directive's words, in the words of redis-sentinel."""


class Line(NamedTuple):
    """A line the file should have, in place of an old line of the same key if there is one.

    A line that is not `required` says what holds anyway: it is written only over an old line.
    """

    key: str
    text: str
    required: bool = True


def split(line: str) -> list[str] | None:
    """The words of a line; None if its quotes are unbalanced."""
    words = split_args(line.encode(errors="surrogateescape"))
    return None if words is None else [word.decode(errors="surrogateescape") for word in words]


def commented(line: Line) -> Line:
    """The line as one that redis-sentinel does not read, and that we do."""
    text = f"#~ {line.text}"
    assert text.startswith(_COMMENTED), text
    return line._replace(text=text)


def is_comment(line: str) -> bool:
    return line.startswith("#") and not line.startswith(_COMMENTED)


def uncommented(line: str) -> str:
    return line[3:] if line.startswith(_COMMENTED) else line


def quoted(word: str) -> str:
    return quote(word.encode(errors="surrogateescape")).decode()


def join(words: Iterable[str]) -> str:
    """One line of these words, with quotes where they are needed."""
    return " ".join(
        quoted(word) if not word or _NEEDS_QUOTES.search(word) else word for word in words
    )


def key_of(words: Sequence[str]) -> str:
    """What lines have in common that can take each other's place: the directive's name."""
    name = words[0].lower()
    if name != "sentinel" or len(words) == 1:
        return name
    option = words[1].lower()
    return f"sentinel {_SAME_AS.get(option, option)}"
