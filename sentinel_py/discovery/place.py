"""Host and port of a server, as sentinels, clients and configuration files name it.

The rule guarded: a host is text from outside that goes into files and orders of other programs, so
it has no character there that could mean anything to them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

_HOST = re.compile(r"[A-Za-z0-9._:%-]+")
_PORT_MAX = 65_535


@dataclass(frozen=True, slots=True)
class Place:
    """A ValueError says, in a text for the operator, that it is none."""

    host: str
    port: int

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.host) or not 0 < self.port <= _PORT_MAX:
            raise ValueError(f"{self.host!r} with {self.port!r} is no host and port")

    @classmethod
    def parse(cls, text: str, host: str = "") -> Self:
        """Read ``host:port``, or a port alone if there is a host to go with it."""
        before, colon, port = text.rpartition(":")
        if colon:
            host = before.removeprefix("[").removesuffix("]")
        try:
            return cls(host, int(port))
        except ValueError:
            raise ValueError(f"'{text}' is not of the form host:port") from None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
