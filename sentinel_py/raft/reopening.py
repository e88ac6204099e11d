"""After the journal could not be written: tried again at growing intervals, until it can be.

A disk is full for a moment, or a network volume away. A member that stood still until somebody
starts it again would be one less for good, while it answers clients as if nothing had happened.
Whoever looks is told meanwhile: CKQUORUM, INFO, EXPLAIN and the health pages say NOQUORUM or the
reason, and no vote is given.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

FIRST_S = 0.5
LONGEST_S = 10.0
"""Between two tries; each reads the journal, and writes it anew."""

_log = logging.getLogger(__name__)


class Reopening:
    """The tries. ``reopen`` returns why it failed, or nothing; what it raises ends the process."""

    def __init__(self, reopen: Callable[[], str]) -> None:
        self._reopen = reopen
        self._timer: asyncio.TimerHandle | None = None
        self._pause_s = FIRST_S
        self._tried_at = 0.0

    def begin(self) -> None:
        """Try after a while; a journal that fails again soon is tried later and later."""
        if self._timer is not None:
            return
        loop = asyncio.get_running_loop()
        if loop.time() > self._tried_at + 2 * LONGEST_S:
            self._pause_s = FIRST_S
        self._timer = loop.call_later(self._pause_s, self._try)

    def close(self) -> None:
        if self._timer:
            self._timer.cancel()

    def _try(self) -> None:
        self._timer = None
        self._tried_at = asyncio.get_running_loop().time()
        self._pause_s = min(2 * self._pause_s, LONGEST_S)
        if why := self._reopen():
            _log.warning("Raft: the journal can still not be written: %s", why)
            self.begin()
        else:
            _log.warning("Raft: the journal can be written again, and this member goes on")
