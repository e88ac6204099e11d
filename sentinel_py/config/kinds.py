"""The kinds of value that a generic directive can have: words to value, value to words.

No directive is named here, they stand in `settings`. The rule it guards: what `parse` refuses is
refused with the words of redis-sentinel, and what `render` writes is read by every version of it.
"""

import re
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from sentinel_py.config.lines import DirectiveError, join, quoted, split
from sentinel_py.server.options import OutputLimit
from sentinel_py.values import dataclass

T = TypeVar("T")

INT_MAX = 2**31 - 1
UINT_MAX = 2**32 - 1
LONG_MAX = 2**63 - 1
ULONG_MAX = 2**64 - 1

# No more digits than 64 bits can have: Python itself refuses to read very long numbers.
_DECIMAL = re.compile(r"0|-?[1-9][0-9]{0,18}")
_OCTAL = re.compile(r"[0-7]{1,22}")
_MEMORY = re.compile(r"([0-9]{1,20})(b|kb?|mb?|gb?|)", re.IGNORECASE | re.ASCII)
_PERCENT = re.compile(r"(0|[1-9][0-9]{0,18})%")
_SECONDS = re.compile(r"[0-9]{1,18}")
_TITLE = re.compile(
    r"(?:[^{]|\{\{|\{(?:title|listen-addr|server-mode|port|tls-port|unixsocket|config-file)\})+"
)
_UNITS = {
    "": 1,
    "b": 1,
    "k": 10**3,
    "kb": 2**10,
    "m": 10**6,
    "mb": 2**20,
    "g": 10**9,
    "gb": 2**30,
}
_BIND_MAX = 16  # as redis-sentinel
_CLIENT_CLASSES = {
    "normal": "normal",
    "replica": "replica",
    "slave": "replica",
    "pubsub": "pubsub",
}


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """How values of one kind are read and written.

    A kind with `many` takes any number of words; then one quoted word may stand for all of them.
    `render` gives what follows the name, once for each line; `merge` joins a value with what an
    earlier line of the same directive said.
    """

    parse: Callable[[Sequence[str]], T]
    render: Callable[[T], list[str]]
    many: bool = False
    merge: Callable[[T, T], T] | None = None

    def read(self, given: Sequence[str]) -> T:
        """The value that the words behind a directive's name stand for."""
        if self.many and len(given) == 1 and given[0]:
            given = split(given[0]) or [""]
        elif not self.many and len(given) != 1:
            raise DirectiveError("wrong number of arguments")
        return self.parse(given)


OutputLimits = dict[str, OutputLimit]
"""By class of client: `normal`, `replica`, `pubsub`."""


def _parse_flag(words: Sequence[str]) -> bool:
    try:
        return {"yes": True, "no": False}[words[0].lower()]
    except KeyError:
        raise DirectiveError("argument must be 'yes' or 'no'") from None


FLAG = Kind(_parse_flag, lambda value: ["yes" if value else "no"])


def integer(low: int, high: int) -> Kind[int]:
    def parse(words: Sequence[str]) -> int:
        if not _DECIMAL.fullmatch(words[0]) or abs(int(words[0])) > LONG_MAX:
            raise DirectiveError("argument couldn't be parsed into an integer")
        return _bounded(int(words[0]), low, high)

    return Kind(parse, lambda value: [str(value)])


def octal(low: int, high: int) -> Kind[int]:
    def parse(words: Sequence[str]) -> int:
        if not _OCTAL.fullmatch(words[0]):
            raise DirectiveError("argument couldn't be parsed as an octal number")
        return _bounded(int(words[0], 8), low, high, "o")

    return Kind(parse, lambda value: [f"{value:o}"])


def memory(low: int, high: int) -> Kind[int]:
    def parse(words: Sequence[str]) -> int:
        size = _bytes(words[0])
        if size is None:
            raise DirectiveError("argument must be a memory value")
        return _bounded(size, low, high)

    return Kind(parse, lambda value: [_in_units(value)])


def _parse_memory_or_percent(words: Sequence[str]) -> int:
    if percent := _PERCENT.fullmatch(words[0]):
        if int(percent[1]) > 100:
            raise DirectiveError("percentage argument must be less or equal to 100")
        return -int(percent[1])
    size = _bytes(words[0])
    if size is None:
        raise DirectiveError("argument must be a memory or percent value")
    return _bounded(size, -100, LONG_MAX)


MEMORY_OR_PERCENT = Kind(
    _parse_memory_or_percent, lambda value: [f"{-value}%" if value < 0 else _in_units(value)]
)
"""Bytes; below zero, a share of the memory in percent."""


def _parse_text(words: Sequence[str]) -> str:
    if "\0" in words[0]:
        raise DirectiveError("argument must not contain a zero byte")
    return words[0]


TEXT = Kind(_parse_text, lambda value: [quoted(value)])
NAME = Kind(_parse_text, lambda value: [quoted(value)] if value else [])
"""Text that is unset when empty, and then has no line."""


def _parse_title(words: Sequence[str]) -> str:
    if not _TITLE.fullmatch(words[0]):
        raise DirectiveError("template format is invalid or contains unknown variables")
    return _parse_text(words)


TITLE = Kind(_parse_title, TEXT.render)


def choice(*values: str) -> Kind[str]:
    return Kind(lambda given: _chosen(given, values)[0], lambda value: [value])


def choices(*values: str) -> Kind[tuple[str, ...]]:
    return Kind(lambda given: _chosen(given, values), lambda value: [" ".join(value)], many=True)


def _chosen(given: Sequence[str], values: Sequence[str]) -> tuple[str, ...]:
    chosen = tuple(word.lower() for word in given)
    if not chosen or not set(chosen) <= set(values):
        raise DirectiveError(f"argument(s) must be one of the following: {', '.join(values)}")
    return chosen


def words(count: int | None = None) -> Kind[tuple[str, ...]]:
    """Words kept as they are; any number, if none is given."""

    def parse(given: Sequence[str]) -> tuple[str, ...]:
        if count is not None and len(given) != count:
            raise DirectiveError("wrong number of arguments")
        return tuple(given)

    return Kind(parse, lambda value: [join(value or ("",))], many=True)


def _parse_addresses(given: Sequence[str]) -> tuple[str, ...]:
    if len(given) > _BIND_MAX:
        raise DirectiveError("Too many bind addresses specified.")
    return () if list(given) == [""] else tuple(given)


ADDRESSES = Kind(_parse_addresses, words().render, many=True)


def _parse_output_limits(given: Sequence[str]) -> OutputLimits:
    if len(given) % 4:
        raise DirectiveError("Wrong number of arguments in buffer limit configuration.")
    limits = {}
    for at in range(0, len(given), 4):
        client_class = _CLIENT_CLASSES.get(given[at].lower())
        if client_class is None:
            raise DirectiveError("Invalid client class specified in buffer limit configuration.")
        limits[client_class] = _output_limit(given[at + 1 : at + 4])
    return limits


def _output_limit(given: Sequence[str]) -> OutputLimit:
    hard, soft = _bytes(given[0]), _bytes(given[1])
    if hard is None or soft is None or not _SECONDS.fullmatch(given[2]):
        raise DirectiveError(
            "Error in hard, soft or soft_seconds setting in buffer limit configuration."
        )
    return OutputLimit(hard, soft, int(given[2]))


OUTPUT_LIMITS: Kind[OutputLimits] = Kind(
    _parse_output_limits,
    lambda limits: [
        f"{name} {_in_units(limit.hard_bytes)} {_in_units(limit.soft_bytes)} {limit.soft_seconds}"
        for name, limit in limits.items()
    ],
    many=True,
    merge=lambda earlier, later: earlier | later,
)


def _bounded(value: int, low: int, high: int, radix: str = "d") -> int:
    if not low <= value <= high:
        raise DirectiveError(f"argument must be between {low:{radix}} and {high:{radix}} inclusive")
    return value


def _bytes(text: str) -> int | None:
    match = _MEMORY.fullmatch(text)
    return int(match[1]) * _UNITS[match[2].lower()] if match else None


def _in_units(size: int) -> str:
    for unit in ("gb", "mb", "kb"):
        if size and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return str(size)
