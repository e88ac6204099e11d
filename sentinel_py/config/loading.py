"""A state while a configuration is applied to it, and how the words of its directives are read."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from sentinel_py.config.config import Origin
from sentinel_py.config.lines import DirectiveError
from sentinel_py.core import checks, roster
from sentinel_py.core.model import MAX_EPOCH, Address, Master, State

_NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?)0*([0-9]{0,20})", re.ASCII)


class Loading:
    """A state while statements are applied to it, and where the present one came from."""

    def __init__(self, state: State, now: int, resolve: Callable[[str], str | None]) -> None:
        self.state = state
        self.now = now
        self.origin = Origin.FILE
        self.in_file: set[str] = set()  # names of the masters that the config file itself has
        self._resolve = resolve

    def master(self, name: str) -> Master:
        try:
            return self.state.masters[name]
        except KeyError:
            raise DirectiveError("No such master with specified name.") from None

    def address(self, host: str, port_text: str) -> Address:
        port = port_of(port_text)
        ip = roster.numeric_ip(host)
        settings = self.state.settings
        if ip is None and not settings.resolve_hostnames:
            if not settings.raft_peers:
                raise DirectiveError("Can't resolve instance hostname.")
            return Address(host, port, "")  # the members may have changed the setting since
        return Address(host, port, self._look_up(host) if ip is None else ip)

    def _look_up(self, host: str) -> str:
        """The name's ip; empty if it has none now, which is tried again later."""
        ip = self._resolve(host)
        if ip:
            self.state.names[host] = ip
        return ip or ""

    def refuse_twice(self, reason: str) -> None:
        """Refuse what was said before, unless the file may have learnt it from the same place.

        What the command line says is written into the file, and at the next start is said twice.
        """
        if self.origin is Origin.FILE:
            raise DirectiveError(reason)


Rule = Callable[[Loading, Sequence[str]], None]
"""Applies the words of one directive, or raises DirectiveError."""


def port_of(text: str) -> int:
    port = atoi(text)
    if not 0 <= port <= checks.PORT_MAX:
        raise DirectiveError("Invalid port number.")
    return port


def number_of(text: str) -> int:
    """A number at the beginning of the text, whatever follows; 0 if there is none."""
    match = _NUMBER.match(text)
    assert match is not None, "the pattern matches the empty text"
    return int(f"{match[1]}{match[2] or '0'}")


def atoi(text: str) -> int:
    """An int of 32 bits; longer ones lose their high bits, as in C."""
    number = max(-(2**63), min(number_of(text), 2**63 - 1))
    return (number + 2**31) % 2**32 - 2**31


def epoch_of(text: str) -> int:
    epoch = number_of(text)
    if not 0 <= epoch <= MAX_EPOCH:
        raise DirectiveError(f"Epoch out of range, the largest one possible is {MAX_EPOCH}.")
    return epoch
