"""The two ends of a stream between sentinels: the one that dialled, and the one that accepted.

A connection is dialled by the sentinel that has something to say; the other one only answers. It
begins as a client's connection on the sentinel's port (HELLO, PROVE; where there is no raft-secret,
AUTH before these) and then carries frames. What is said is not known here. The rules guarded: bytes
that make no sense, and an end that does not read, cost no more than the one connection; and no more
than `framing` and this module name is kept for either.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, cast

from sentinel_py.core.messages import ErrorReply, Value
from sentinel_py.links import SOCKET_OPTIONS, LinkOptions, ReplyReader, reason_of
from sentinel_py.raft import questions
from sentinel_py.raft.framing import FrameReader, FrameWriter, Kind
from sentinel_py.raft.handshake import End, Introduction, frame_key, is_proof, parse, proof
from sentinel_py.raft.questions import Answer, No, Question
from sentinel_py.resp import ProtocolError, encode_command, to_text
from sentinel_py.tasks import spawn

if TYPE_CHECKING:
    from sentinel_py.server.session import Session

GREETING_DEADLINE_S = 2.0
"""Connecting, logging in and proving; a host that is up answers within milliseconds."""

UNSENT_MAX_BYTES = 32 * 1024 * 1024
"""Two of the largest frames: whoever has not read those has a new stream when it reads again."""

UNSENT_ANSWERS_MAX_BYTES = 1024 * 1024
"""Eight of the largest answers: whoever asks and does not read has its stream ended."""

QUESTIONS_MAX = 64
"""Unanswered ones on a stream; operators ask them, and we at most a few times a second."""

DEAD_AFTER_MS = 1_000
"""A host that does not acknowledge what was sent is gone: dial again instead of resending ever
more rarely, which after a cut of some seconds would take as long again."""

_OPTIONS: Final = (
    *SOCKET_OPTIONS,
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_AFTER_MS),
)


class Caller(Protocol):
    """What the dialling end needs to know, and tells."""

    def introduction(self) -> Introduction:
        """Who we are, with a fresh nonce."""

    def key(self) -> bytes:
        """What ``raft-secret`` stands for."""

    def login(self) -> tuple[str, ...]:
        """The AUTH command for a peer; empty where it needs none, or where there is a secret."""

    def conflict(self, stream: Outgoing, peer: Introduction) -> str:
        """Why these two can have nothing to say to each other; empty if they can."""

    def accept(self, stream: Outgoing, peer: Introduction) -> None:
        """Take note of a peer that has proved who it is."""

    def opened(self, stream: Outgoing) -> None: ...


class Callee(Protocol):
    """What the accepting end tells of its frames."""

    def limits(self, peer: Introduction) -> Mapping[Kind, int]:
        """The longest payloads that this peer may send."""

    def received(self, stream: Incoming, kind: Kind, payload: bytes) -> None: ...
    def lost(self, stream: Incoming) -> None: ...


class Outgoing(asyncio.Protocol):
    """One attempt to reach a sentinel, and the stream that comes of it.

    ``over`` is called once, with the reason, when there is nothing more to hope for.
    """

    def __init__(self, caller: Caller, over: Callable[[Outgoing, str], None]) -> None:
        self._caller = caller
        self._over: Callable[[Outgoing, str], None] | None = over
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.call_later(GREETING_DEADLINE_S, self.fail, "no answer in time")
        self._attempt: asyncio.Task[object] | None = None
        self._transport: asyncio.Transport | None = None
        self._replies = ReplyReader()
        self._frames: FrameReader | None = None
        self._writer: FrameWriter | None = None
        self._readers: list[Callable[[Value], None]] = []  # of the replies that are still to come
        self._asked: dict[int, asyncio.Future[Answer]] = {}
        self._last_ticket = 0
        self.own = caller.introduction()
        self.peer: Introduction | None = None
        self.found_nobody = False  # the host is there, and nothing listens
        self.was_refused = False  # by one end or the other, as long as nothing is changed there

    @property
    def is_open(self) -> bool:
        return self._frames is not None and self._over is not None

    def connect(self, ip: str, port: int, options: LinkOptions) -> None:
        source = options.bind_source_addr
        self._attempt = spawn(
            self._connect(ip, port, options.ssl_context, (source, 0) if source else None)
        )

    async def _connect(
        self, ip: str, port: int, tls: ssl.SSLContext | None, source: tuple[str, int] | None
    ) -> None:
        try:
            await self._loop.create_connection(lambda: self, ip, port, ssl=tls, local_addr=source)
        except (OSError, ValueError) as error:
            self.found_nobody = isinstance(error, ConnectionRefusedError)
            self.fail(reason_of(error))

    def _refuse(self, reason: str) -> None:
        self.was_refused = True
        self.fail(reason)

    def fail(self, reason: str) -> None:
        """End it at once."""
        self._end(reason)
        if self._transport:
            self._transport.abort()
        elif self._attempt:
            self._attempt.cancel()

    def close(self) -> None:
        """End it once everything is sent; ``over`` is not called."""
        self._over = None
        self._end("")
        if self._transport:
            self._transport.close()
        elif self._attempt:
            self._attempt.cancel()

    def _end(self, reason: str) -> None:
        self._deadline.cancel()
        asked, self._asked = self._asked, {}
        for future in asked.values():
            if not future.done():
                future.set_result(No(reason or "the connection was closed"))
        over, self._over = self._over, None
        if over:
            over(self, reason)

    # What is said

    def send(self, kind: Kind, payload: bytes) -> None:
        if not self.is_open:
            return
        assert self._transport
        assert self._writer
        if self._transport.get_write_buffer_size() > UNSENT_MAX_BYTES:
            self.fail("it does not read what is sent to it")
        else:
            self._transport.write(self._writer.encode(kind, payload))

    def ask(self, question: Question, within_s: float) -> asyncio.Future[Answer]:
        """The answer; a No of our own if there is none in time."""
        future: asyncio.Future[Answer] = self._loop.create_future()
        if not self.is_open or len(self._asked) >= QUESTIONS_MAX:
            future.set_result(No("not connected" if not self.is_open else "too many questions"))
            return future
        self._last_ticket += 1
        ticket = self._last_ticket
        self._asked[ticket] = future
        self._loop.call_later(within_s, self._answer, ticket, No("no answer in time"))
        self.send(Kind.QUESTION, questions.encode(question, ticket))
        return future

    def _answer(self, ticket: int, answer: Answer) -> None:
        future = self._asked.pop(ticket, None)
        if future and not future.done():
            future.set_result(answer)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._over:
            self._transport.abort()
            return
        for option in _OPTIONS:
            transport.get_extra_info("socket").setsockopt(*option)
        if login := self._caller.login():
            # A peer without a password refuses AUTH and takes the rest.
            self._request(login, lambda _reply: None)
        self._request(("SENTINEL", "RAFT", "HELLO", *self.own.words()), self._take_introduction)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(reason_of(exc) if exc else "closed by the other end")

    def data_received(self, data: bytes) -> None:
        try:
            if self._frames is None:
                self._read_replies(data)
            else:
                self._read_frames(self._frames, data)
        except ProtocolError as error:
            self.fail(f"protocol error: {error}")

    def _read_replies(self, data: bytes) -> None:
        for value in self._replies.read(data):
            if not self._over:
                return
            if not self._readers:
                raise ProtocolError("a reply that nobody asked for")
            self._readers.pop(0)(value)

    def _read_frames(self, frames: FrameReader, data: bytes) -> None:
        for kind, payload in frames.read(data):
            value, ticket = questions.decode(payload) if kind is Kind.ANSWER else (None, 0)
            if not isinstance(value, Answer):
                raise ProtocolError("no answer")
            self._answer(ticket, value)

    # Getting to know each other

    def _request(self, words: tuple[str, ...], read: Callable[[Value], None]) -> None:
        assert self._transport
        self._readers.append(read)
        self._transport.write(encode_command(words))

    def _take_introduction(self, reply: Value) -> None:
        peer = parse([to_text(word) for word in _texts(reply)])
        if peer is None:
            self._refuse(_refusal(reply))
            return
        if reason := self._caller.conflict(self, peer):
            self._refuse(reason)
            return
        answer = proof(self._caller.key(), End.DIALER, self.own, peer)
        take_proof = partial(self._take_proof, peer)
        self._request(("SENTINEL", "RAFT", "PROVE", answer), take_proof)

    def _take_proof(self, peer: Introduction, reply: Value) -> None:
        key = self._caller.key()
        if not isinstance(reply, bytes):
            self._refuse(_refusal(reply))
        elif not is_proof(to_text(reply), key, End.ACCEPTOR, self.own, peer):
            self._refuse("its proof is wrong: raft-secret differs")
        else:
            self._caller.accept(self, peer)
            self.peer = peer
            self._deadline.cancel()
            self._frames = FrameReader(frame_key(key, End.ACCEPTOR, self.own, peer))
            self._writer = FrameWriter(frame_key(key, End.DIALER, self.own, peer))
            self._caller.opened(self)


def _texts(reply: Value) -> list[bytes]:
    return [word for word in reply if isinstance(word, bytes)] if isinstance(reply, list) else []


def _refusal(reply: Value) -> str:
    if not isinstance(reply, ErrorReply):
        return "protocol error: not an introduction"
    if "unknown" in reply.text.lower():
        return f"it is not sentinel_py, or an older one: {reply.text}"
    return reply.text


class Incoming(asyncio.Protocol):
    """A stream that a peer has opened to us, on what was a client's connection."""

    def __init__(
        self,
        session: Session,
        callee: Callee,
        own: Introduction,
        peer: Introduction,
        key: bytes,
    ) -> None:
        self._session = session
        self._callee = callee
        self._frames = FrameReader(frame_key(key, End.DIALER, peer, own))
        self._writer = FrameWriter(frame_key(key, End.ACCEPTOR, peer, own))
        self._is_over = False
        self.own = own
        self.peer = peer
        self._transport = session.hand_over(self)

    def answer(self, ticket: int, answer: Answer) -> None:
        if self._is_over:
            return
        if self._transport.get_write_buffer_size() > UNSENT_ANSWERS_MAX_BYTES:
            self.abort()
        else:
            payload = questions.encode(answer, ticket)
            self._transport.write(self._writer.encode(Kind.ANSWER, payload))

    def close(self) -> None:
        """End it once what we have said is sent; what was received and not read is forgotten."""
        self._is_over = True
        self._session.close()

    def abort(self) -> None:
        self._is_over = True
        self._session.abort()

    def data_received(self, data: bytes) -> None:
        self._frames.limits = self._callee.limits(self.peer)
        try:
            for kind, payload in self._frames.read(data):
                if self._is_over:
                    return
                self._callee.received(self, kind, payload)
        except ProtocolError:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_over = True
        self._session.connection_lost(exc)
        self._callee.lost(self)
