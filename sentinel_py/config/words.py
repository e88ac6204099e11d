"""How the lines that a sentinel writes about its state are made of their words."""

from __future__ import annotations

from functools import lru_cache

from sentinel_py.config.lines import CACHED_LINES, Line, join
from sentinel_py.core.model import Address, OptionValue, State


@lru_cache(CACHED_LINES)
def directive(name: str, *args: str | int, required: bool = True) -> Line:
    key = f"sentinel {name}"
    return Line(key, f"{key} {join(map(str, args))}", required)


def word_of(value: OptionValue) -> str | int:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else value


def host_and_port(state: State, address: Address) -> tuple[str, int]:
    return state.shown(address) or address.host, address.port
