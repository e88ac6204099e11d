"""Places behind `maxclients` that are for other sentinels alone.

Clients that never close their connections fill `maxclients` in the end. Then no vote could be asked
for and no member of the Raft cluster be reached, and there would be no failover. So whoever comes
when all is full is let in on trial, if there are other sentinels at all: for a short time, and to
say nothing but what a sentinel begins with. It is one if

- it calls itself by the id of a sentinel that we know (CLIENT SETNAME sentinel-<id>-cmd),
- or sends what sentinels alone send: a hello, or the question whether a master is down,
- or proves itself as a member (SENTINEL RAFT PROVE);

always as a user who may do that. Everybody else is told what `maxclients` has had told at once. The
rule guarded: who lies about it gets no more than a place of this kind, of which there are few; and
whoever only waits is sent away for the next one who comes.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentinel_py.server.commands import Command
    from sentinel_py.server.session import Session

PLACES = 64
"""Two connections of each of fifteen members, and as many again that are on trial."""

TRIAL_S = 2.0
"""A sentinel says who it is with its first packet; this is a round trip and a busy host."""

HELLO_CHANNEL = b"__sentinel__:hello"

_NAME = re.compile(rb"sentinel-([0-9a-f]{8})-(?:cmd|pubsub)")
_BEFORE_LOGIN = {"auth", "hello"}
_QUESTIONS = {"sentinel|is-master-down-by-addr", "sentinel|is-primary-down-by-addr"}
_RAFT_WORDS = {b"hello", b"prove"}


class Reserve:
    """Who is in these places. ``known`` tells the first eight characters of sentinels' ids."""

    def __init__(self, turn_away: Callable[[Session], None]) -> None:
        self.known: Callable[[], set[bytes]] = set
        self._turn_away = turn_away
        self._on_trial: dict[Session, asyncio.TimerHandle] = {}  # in the order of coming
        self._proved: set[Session] = set()

    def __len__(self) -> int:
        return len(self._on_trial) + len(self._proved)

    @property
    def is_open(self) -> bool:
        """Whether one more may come in on trial."""
        return len(self._proved) < PLACES and bool(self.known())

    def take_on_trial(self, session: Session) -> None:
        """Let a client in for a while; if need be, for one who has been waiting for longer."""
        for other in list(self._on_trial):
            if len(self) < PLACES:
                break
            self._time_is_over(other)
        if len(self) >= PLACES:
            self._turn_away(session)
            return
        loop = asyncio.get_running_loop()
        self._on_trial[session] = loop.call_later(TRIAL_S, self._time_is_over, session)
        session.is_on_trial = True
        session.refresh()

    def _time_is_over(self, session: Session) -> None:
        if session.is_handed_over:
            self._admit(session)
        else:
            self._turn_away(session)

    def forget(self, session: Session) -> None:
        """It has gone, or is about to."""
        self._proved.discard(session)
        if timer := self._on_trial.pop(session, None):
            timer.cancel()

    def close(self) -> None:
        for session in list(self._on_trial):
            self.forget(session)

    # What one on trial says

    def may_say(self, command: Command, args: Sequence[bytes]) -> bool:
        """Whether this is a thing that a sentinel begins with."""
        if command.name == "sentinel|raft":
            return len(args) > 2 and args[2].lower() in _RAFT_WORDS
        return command.name in _BEFORE_LOGIN or self._is_proof(command, args)

    def said(self, session: Session, command: Command, args: Sequence[bytes]) -> None:
        """It was allowed to say this, which may show that it is a sentinel."""
        if self._is_proof(command, args):
            self._admit(session)
            session.refresh()

    def _is_proof(self, command: Command, args: Sequence[bytes]) -> bool:
        if command.name == "client|setname":
            name = _NAME.fullmatch(args[2])
            return name is not None and name[1] in self.known()
        return command.name in _QUESTIONS or (
            command.name == "publish" and args[1] == HELLO_CHANNEL
        )

    def _admit(self, session: Session) -> None:
        self.forget(session)
        self._proved.add(session)
        session.is_on_trial = False
