"""Wrong logins: whoever guesses is looked at slowly, for a while.

Nothing here knows of requests. The rule it guards: an address has few guesses in a minute, and what
is kept of it is bounded and holds no secret.

Only proofs that differ count: a Prometheus or a page with an old token sends one and the same. All
clients behind a proxy have its address. Who guesses there slows the others down, too: what comes
from there is looked at one by one, a second apart, so that the right password still opens, and a
guesser has one try in a second. Loopback is no exception, since that is where a proxy with TLS
usually is: without a limit, all the world could guess through it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_network

MAX_WRONG = 10
"""Somebody who mistypes has enough of them, and a program has 14,400 in a day."""

WINDOW_S = 60.0
"""An address is free again at its end, also if it has gone on trying."""

LANE_S = 1.0
"""From one look at what a guesser's address sends to the next."""

LANE_MAX = 5
"""So many wait for that; the others are told to come again. Each holds a connection."""

MAX_ADDRESSES = 1_000
"""About 1 MB. Whoever has more addresses than this has enough of them to guess anyway."""

IPV6_NETWORK = 64
"""Bits of an address; a host can take as many in its network as it likes."""


@dataclass(slots=True)
class _Tries:
    over_at: float
    wrong: set[int] = field(default_factory=set)
    looked_at: float = 0.0  # when it is this address's turn again


class Guesses:
    """The wrong logins of the last minute, by address; ``now`` is a clock in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._tries: dict[str, _Tries] = {}  # by the end of their windows

    def wait_s(self, address: str) -> int:
        """For how many seconds what comes from there is looked at slowly."""
        tries = self._tries.get(_origin(address))
        if tries is None or len(tries.wrong) < MAX_WRONG:
            return 0
        return max(0, math.ceil(tries.over_at - self._now()))

    def turn_s(self, address: str) -> float | None:
        """Take a turn among those of a guesser's address: after how long; None if all are taken."""
        tries, now = self._tries[_origin(address)], self._now()
        turn_at = max(now, tries.looked_at)
        if turn_at > now + (LANE_MAX - 1) * LANE_S:
            return None
        tries.looked_at = turn_at + LANE_S
        return turn_at - now

    def failed(self, address: str, proof: str) -> None:
        """This was wrong."""
        origin = _origin(address)
        tries = self._tries.get(origin)
        if tries is None or tries.over_at <= self._now():
            tries = self._begin(origin)
        tries.wrong.add(hash(proof))  # with the key of this process: of no use outside

    def succeeded(self, address: str) -> None:
        """Who has come in has not guessed."""
        self._tries.pop(_origin(address), None)

    def _begin(self, origin: str) -> _Tries:
        self._tries.pop(origin, None)
        while len(self._tries) >= MAX_ADDRESSES:
            del self._tries[next(iter(self._tries))]
        tries = self._tries[origin] = _Tries(self._now() + WINDOW_S)
        return tries


def _origin(address: str) -> str:
    """What one host has for itself: an IPv4 address, or an IPv6 network."""
    if ":" not in address:
        return address
    return str(ip_network((address.partition("%")[0], IPV6_NETWORK), strict=False))
