"""Proof of contact: until when no other leader can have been at work, as one member knows it.

A follower asks the leader, with the time on its own clock; a leader that has the lease gives that
time back. So what the follower knows is never younger than what the leader has said, however long
either message was on its way. If the leader does not answer, the others are asked to pass the
question on: only the link to the leader may be broken, and that is no reason to stop a master.

The rule guarded: who answers has the lease in that moment, and remembers that it has answered.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable

ASK_EVERY_MS = 100
"""A third of the shortest fence lease that a sensible down-after makes."""

# The first byte of what the codec reads is its version, which is small.
_FRAME = struct.Struct("!BBQQ40s")  # 255, kind, the asker's time, commit index, the asker's id
_MARK = 255
_QUESTION, _ANSWER = 0, 1


class Contact:
    """What one member knows. ``now`` is the clock that its core has, too."""

    def __init__(
        self, own_id: str, send: Callable[[str, bytes], None], now: Callable[[], int]
    ) -> None:
        self._own_id = own_id
        self._send = send
        self._now = now
        self.at: int | None = None
        self.commit_index = 0  # the leader's, when it gave the last proof
        self.heard_at: dict[str, int] = {}  # whom we have answered
        self.relayed_at: dict[str, int] = {}  # whom we have answered through others

    def ask(self, members: Iterable[str]) -> None:
        question = _FRAME.pack(_MARK, _QUESTION, self._now(), 0, self._own_id.encode())
        for member in members:
            self._send(member, question)

    @property
    def is_late(self) -> bool:
        """Whether the leader should have answered by now."""
        return self.at is None or self._now() >= self.at + 2 * ASK_EVERY_MS

    def hold(self, members: Iterable[str]) -> None:
        """We have the lease; ``members`` are those that matter from now on."""
        self.at = self._now()
        for answered in (self.heard_at, self.relayed_at):
            for former in answered.keys() - set(members):
                del answered[former]

    def is_about(self, message: bytes) -> bool:
        return len(message) == _FRAME.size and message[0] == _MARK

    def take(
        self,
        peer: str,
        message: bytes,
        lease: Callable[[bool], int | None],
        leader: str | None,
    ) -> bool:
        """Take a question or an answer in; whether there is something to be told.

        ``lease`` is the commit index if we may answer, asked in this moment, and told whether the
        question came through another member. ``leader`` is where else it may be answered.
        """
        _, kind, asked_at, index, asker_bytes = _FRAME.unpack(message)
        asker = asker_bytes.decode(errors="replace")
        if kind == _QUESTION:
            return self._answer(peer, asker, message, lease, leader)
        if asker != self._own_id:
            self._send(asker, message)
            return False
        self.at = max(self.at or 0, min(asked_at, self._now()))
        self.commit_index = index
        return True

    def _answer(
        self,
        peer: str,
        asker: str,
        question: bytes,
        lease: Callable[[bool], int | None],
        leader: str | None,
    ) -> bool:
        is_relayed = asker != peer
        commit_index = lease(is_relayed)
        if commit_index is not None:
            answered = self.relayed_at if is_relayed else self.heard_at
            answered[asker] = self.at = self._now()
            _, _, asked_at, _, asker_bytes = _FRAME.unpack(question)
            self._send(peer, _FRAME.pack(_MARK, _ANSWER, asked_at, commit_index, asker_bytes))
        elif not is_relayed and leader not in (None, peer, self._own_id):
            assert leader is not None
            self._send(leader, question)
        return is_relayed and commit_index is not None
