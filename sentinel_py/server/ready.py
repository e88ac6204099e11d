"""Replies that are ready to be sent again: from the bytes of a chunk to those of its replies.

Clients ask the same few things again and again, and what is asked about changes a few times in a
second. The rule guarded: what is found here is what carrying the requests out would give now. So
only commands whose entry in the table says how long their replies last are kept, the state's every
step drops all replies, and sessions that are not like most others do not look here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sentinel_py.resp import RESP2, RESP3
from sentinel_py.server.commands import Command, Lasts
from sentinel_py.values import dataclass

MAX_READY_BYTES = 4 * 1024 * 1024
"""All that is held; MASTERS with some thousand masters is not longer. When it is full, it is
emptied, as it is at the next step anyway."""


@dataclass(frozen=True, slots=True)
class ReadyReply:
    """The replies to a chunk of ``requests`` requests, the last of which calls ``command``."""

    data: bytes
    requests: int
    command: Command
    instant: float | None  # the only time of the loop's clock at which it is true, if it is one


Moment = tuple[float, int]
ByChunk = dict[bytes, ReadyReply]

NOTHING_READY: ByChunk = {}
"""For sessions that must not be answered without looking at them; stays empty."""


class ReadyReplies:
    """By protocol, then by chunk. Sessions hold one of the dicts and look into it themselves."""

    def __init__(self, commands: Iterable[Command]) -> None:
        self.by_protocol: dict[int, ByChunk] = {RESP2: {}, RESP3: {}}
        self.names = frozenset(it.name for it in commands if it.lasts is not Lasts.NOT)
        self._bytes = 0
        self._steps = 0
        self._is_enabled = False

    def enable(self) -> Callable[[], None]:
        """Begin to keep replies; what is returned has to be called at every step of the state."""
        self._is_enabled = True
        return self._step

    def moment(self, instant: float) -> Moment | None:
        """What differs after a step, and at another time of the loop's clock; None if unknown."""
        return (instant, self._steps) if self._is_enabled else None

    def keep(self, protocol: int, chunk: bytes, reply: ReadyReply) -> None:
        if not self._is_enabled:
            return
        self._bytes += len(chunk) + len(reply.data)
        if self._bytes > MAX_READY_BYTES:
            self._clear()
        else:
            self.by_protocol[protocol][chunk] = reply

    def _step(self) -> None:
        self._steps += 1
        self._clear()

    def _clear(self) -> None:
        if self._bytes:
            self._bytes = 0
            for replies in self.by_protocol.values():
                replies.clear()
