"""All streams of one sentinel: whom it dials, who has dialled it, and by which id they are known.

What is said on the streams is the owner's. The rules guarded:

- A sentinel that was given neither ``raft-peers`` nor ``raft-secret`` takes part in nothing: every
  word that begins a stream is refused.
- With a secret, whoever proves it may speak, from wherever he comes. Without one, nobody can prove
  anything: streams come from the addresses of listed sentinels and members only, and whoever can
  speak from there is believed. That is for loopback, and for who says ``raft-secret none``.
- To and from each peer there is one stream, and a new one ends the old with all that was not read
  of it. Raft messages pass only between two ends that named the same cluster when it began.
- Who is no member as far as we know gets few streams and short frames.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from random import Random
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

from sentinel_py.core.messages import Input, Resolved
from sentinel_py.links import LinkOptions
from sentinel_py.raft import addresses, questions
from sentinel_py.raft.framing import MAX_BYTES, STRANGER_MAX_BYTES, Kind
from sentinel_py.raft.handshake import (
    VERSION,
    End,
    Introduction,
    is_proof,
    is_secret,
    parse,
    proof,
    stretched,
)
from sentinel_py.raft.questions import Answer, No, Question
from sentinel_py.raft.stream import Incoming, Outgoing
from sentinel_py.resolver import Resolver, is_numeric
from sentinel_py.resp import Error, ProtocolError, Reply

if TYPE_CHECKING:
    from sentinel_py.endpoint import Endpoint
    from sentinel_py.server.session import Session

FIRST_RETRY_S = 0.05
LAST_RETRY_S = 0.5

_SAME_ONE = "it is this sentinel itself, or one that is reached already"

_NO_PART = (
    "this sentinel takes part in no Raft cluster: it has neither sentinel raft-peers nor "
    "sentinel raft-secret"
)

MAX_CALLERS = 16
"""Sentinels that talk to us and are no members by our log: few can be, and each has us dial it.
As many of them have a stream at a time, whether they are of our cluster or not."""

ANSWER_WITHIN_S = 3.0
"""As long as a host that is not reached is held for slow."""


class Owner(Protocol):
    """The member behind the streams."""

    def introduction(self) -> Introduction: ...
    def secret(self) -> str: ...
    def login(self) -> tuple[str, ...]: ...

    def takes_part(self) -> bool:
        """Whether this sentinel is, or may be, in a Raft cluster."""

    def knows(self, run_id: str) -> bool:
        """Whether this is the id of a member, or of one that we were told of when we joined."""

    def places(self) -> Iterable[str]:
        """The addresses of listed sentinels and of members."""

    def met(self, peer: Introduction) -> None:
        """A peer has proved who it is, on a stream of either direction."""

    def connected(self, run_id: str) -> None:
        """A fellow member can be told something now."""

    def disconnected(self, run_id: str) -> None: ...
    def died(self, run_id: str) -> None:
        """The process of this peer has ended for certain."""

    def parted(self, peer: Introduction) -> None:
        """The stream on which this peer has told us things is over."""

    def received(self, run_id: str, message: bytes) -> None: ...
    def asked(self, run_id: str, question: Question) -> Answer | asyncio.Future[Answer]: ...


class Peers:
    """The table of streams."""

    def __init__(self, owner: Owner, options: LinkOptions, rng: Random) -> None:
        self._owner = owner
        self._options = options
        self._rng = rng
        self._resolver = Resolver(self._resolved)
        self._dialers: dict[str, Dialer] = {}
        self._outgoing: dict[str, Outgoing] = {}
        self._incoming: dict[str, Incoming] = {}
        self._greeting: WeakKeyDictionary[Session, tuple[Introduction, Introduction]] = (
            WeakKeyDictionary()
        )

    # Whom we dial

    def dial(self, wanted: Iterable[str]) -> None:
        """Keep a stream to each of these addresses, and to no other."""
        wanted = list(wanted)
        for address in [it for it in self._dialers if it not in wanted]:
            self._dialers.pop(address).close()
        for address in wanted:
            if address not in self._dialers:
                self._dialers[address] = Dialer(address, self, self._rng)
                self._dialers[address].dial()

    def restart(self) -> None:
        """Begin all streams anew, because we are no longer who we were when they began."""
        wanted = list(self._dialers)
        self.close()
        self.dial(wanted)

    def close(self) -> None:
        self.dial(())
        self._greeting.clear()
        streams, self._incoming = list(self._incoming.values()), {}
        for stream in streams:
            stream.close()

    def found_at(self, address: str) -> str | None:
        """The id of the sentinel at this address, which may be ours; None if it was not reached."""
        return dialer.found if (dialer := self._dialers.get(address)) else None

    def trouble_at(self, address: str) -> str:
        """Why nobody was reached at this address."""
        return dialer.reason if (dialer := self._dialers.get(address)) else "not dialled"

    def is_decided(self, address: str) -> bool:
        """Whether it is known who is there, or that whoever is there will not talk to us.

        Who was there is not known to be there: a sentinel that is started anew may have another id.
        """
        dialer = self._dialers.get(address)
        if dialer is None or dialer.found is None:
            return dialer is not None and dialer.was_refused
        return dialer.is_resting or self.is_connected(dialer.found)

    def callers(self) -> list[str]:
        """Where those of our cluster say to be reached that talk to us, members or not."""
        streams = list(self._incoming.values())
        fellows = (it.peer.address for it in streams if _is_of_one_cluster(it.own, it.peer))
        return [address for address in fellows if address][-MAX_CALLERS:]

    def announced(self, run_id: str) -> str:
        """Where the sentinel with this id says that it can be reached; empty if it is not here."""
        stream = self._incoming.get(run_id)
        return stream.peer.address if stream else ""

    def is_connected(self, run_id: str) -> bool:
        stream = self._outgoing.get(run_id)
        return stream is not None and stream.is_open

    def send(self, run_id: str, message: bytes) -> None:
        """Tell a fellow member something of Raft; lost if there is no stream to it."""
        stream = self._outgoing.get(run_id)
        if stream and _is_of_one_cluster(stream.own, stream.peer):
            stream.send(Kind.RAFT, message)

    async def ask(
        self, run_id: str, question: Question, within_s: float = ANSWER_WITHIN_S
    ) -> Answer:
        """The answer; a No of our own if there is none."""
        stream = self._outgoing.get(run_id)
        return await stream.ask(question, within_s) if stream else No("not connected")

    # What dialers need

    def look_up(self, host: str) -> None:
        self._resolver.resolve(host)

    def _resolved(self, resolved: Input) -> None:
        assert isinstance(resolved, Resolved)
        for dialer in list(self._dialers.values()):
            dialer.resolved(resolved.host, resolved.ip)

    @property
    def options(self) -> LinkOptions:
        return self._options

    # Caller: what our end of an outgoing stream needs

    def introduction(self) -> Introduction:
        return replace(self._owner.introduction(), nonce=secrets.token_hex(16))

    def key(self) -> bytes:
        return stretched(self._owner.secret())

    def login(self) -> tuple[str, ...]:
        """Nothing with a secret: no password leaves before the other end has proved it."""
        return () if is_secret(self._owner.secret()) else self._owner.login()

    def conflict(self, stream: Outgoing, peer: Introduction) -> str:
        return _conflict(stream.own, peer)

    def accept(self, stream: Outgoing, peer: Introduction) -> None:
        """Take the stream; the other end has ended an earlier one, from another address, for it."""
        self._dialer_of(stream).found = peer.run_id
        if earlier := self._outgoing.get(peer.run_id):
            dialer = self._dialer_of(earlier)
            self.over(earlier)
            dialer.rest()
        self._outgoing[peer.run_id] = stream

    def opened(self, stream: Outgoing) -> None:
        assert stream.peer
        self._dialer_of(stream).opened()
        self._owner.met(stream.peer)
        if _is_of_one_cluster(stream.own, stream.peer):
            self._owner.connected(stream.peer.run_id)

    def found_nobody(self, run_id: str) -> None:
        """Nothing listens any more where this peer was found."""
        # One stream may break for many reasons; a process that has ended leaves none.
        if run_id not in self._outgoing and run_id not in self._incoming:
            self._owner.died(run_id)

    def over(self, stream: Outgoing) -> None:
        """An outgoing stream has ended, or did not come about."""
        peer = stream.peer
        if peer is None or self._outgoing.get(peer.run_id) is not stream:
            return
        del self._outgoing[peer.run_id]
        if _is_of_one_cluster(stream.own, peer):
            self._owner.disconnected(peer.run_id)
        for dialer in self._dialers.values():
            if dialer.found == peer.run_id and not dialer.stream:
                dialer.retry_soon()

    def _dialer_of(self, stream: Outgoing) -> Dialer:
        return next(it for it in self._dialers.values() if it.stream is stream)

    # Who dials us

    def greet(self, session: Session, words: list[str]) -> Reply:
        """``SENTINEL RAFT HELLO``: answer with our introduction, if this may become a stream."""
        if reason := self._shut_out(session):
            return Error(reason)
        peer = parse(words)
        if peer is None:
            return Error(_no_introduction(words))
        if dialer := self._dialer_that_said(peer):
            dialer.found, dialer.is_resting = peer.run_id, True
            return Error(f"ERR {_SAME_ONE}")
        own = self.introduction()
        if reason := _conflict(own, peer):
            return Error(f"ERR {reason}")
        self._greeting[session] = (own, peer)
        return list(own.words())

    def admit(self, session: Session, text: str) -> Reply:
        """``SENTINEL RAFT PROVE``: answer with our proof; from here on it is a stream."""
        if reason := self._shut_out(session):
            return Error(reason)
        greeting = self._greeting.pop(session, None)
        if greeting is None:
            return Error("ERR PROVE must follow HELLO")
        own, peer = greeting
        key = self.key()
        if not is_proof(text, key, End.DIALER, peer, own):
            return Error("NOPERM the proof is wrong: raft-secret differs")
        if peer.run_id == own.run_id:
            return Error(f"ERR another sentinel has the same id {own.run_id}")
        if old := self._incoming.get(peer.run_id):
            old.abort()
        elif not self._has_room_for(peer):
            return Error(f"ERR {MAX_CALLERS} sentinels that are no members have a stream already")
        session.depends_on_user = not is_secret(self._owner.secret())
        self._incoming[peer.run_id] = Incoming(session, self, own, peer, key)
        self._owner.met(peer)
        if peer.run_id not in self._outgoing and peer.address in self._dialers:
            self._dialers[peer.address].dial()
        return proof(key, End.ACCEPTOR, peer, own)

    def _shut_out(self, session: Session) -> str:
        """Return why nobody on this connection can begin a stream; empty if somebody may."""
        if not self._owner.takes_part():
            return f"ERR {_NO_PART}"
        if is_secret(self._owner.secret()) or self._is_listed(session.endpoint):
            return ""
        return (
            f"NOPERM {session.endpoint.address} is no address of a listed sentinel: "
            "without sentinel raft-secret nobody else can prove anything"
        )

    def _is_listed(self, endpoint: Endpoint) -> bool:
        if endpoint.is_unix:
            return False
        host, _ = addresses.split(endpoint.address)
        return any(_is_one_host(host, ip) for ip in map(self.ip_of, self._owner.places()) if ip)

    def ip_of(self, address: str) -> str:
        """The ip that this address stands for, as far as it was looked up; empty if it was not."""
        dialer = self._dialers.get(address)
        host, _ = addresses.split(address)
        return host if is_numeric(host) else dialer.ip if dialer else ""

    def _has_room_for(self, peer: Introduction) -> bool:
        strangers = sum(not self._owner.knows(run_id) for run_id in self._incoming)
        return self._owner.knows(peer.run_id) or strangers < MAX_CALLERS

    def _dialer_that_said(self, peer: Introduction) -> Dialer | None:
        """The dialler of ours that is at the other end; its nonce is known to nobody else yet."""
        ours = (it for it in self._dialers.values() if it.stream)
        return next((it for it in ours if it.stream and it.stream.own == peer), None)

    def limits(self, peer: Introduction) -> Mapping[Kind, int]:
        return MAX_BYTES if self._owner.knows(peer.run_id) else STRANGER_MAX_BYTES

    def received(self, stream: Incoming, kind: Kind, payload: bytes) -> None:
        """A frame of a peer; ProtocolError if it has no place here."""
        match kind:
            case Kind.RAFT if _is_of_one_cluster(stream.own, stream.peer):
                self._owner.received(stream.peer.run_id, payload)
            case Kind.QUESTION:
                question, ticket = questions.decode(payload)
                if not isinstance(question, Question):
                    raise ProtocolError("no question")
                _pass_on(self._owner.asked(stream.peer.run_id, question), stream, ticket)
            case _:
                raise ProtocolError(f"{kind.name} is out of place")

    def lost(self, stream: Incoming) -> None:
        if self._incoming.get(stream.peer.run_id) is stream:
            del self._incoming[stream.peer.run_id]
            self._owner.parted(stream.peer)


def _is_of_one_cluster(own: Introduction, peer: Introduction | None) -> bool:
    return peer is not None and own.cluster != "" and own.cluster == peer.cluster


def _no_introduction(words: list[str]) -> str:
    if words[:1] != [VERSION]:
        return (
            f"ERR another version of HELLO than {VERSION}: "
            "all members have to run the same version of sentinel_py"
        )
    return "ERR unknown form of HELLO"


def _is_one_host(one: str, other: str) -> bool:
    """Return whether two numeric addresses are the same; all of loopback is one host."""
    first, second = _plain(one), _plain(other)
    return first == second or (first.is_loopback and second.is_loopback)


def _plain(text: str) -> IPv4Address | IPv6Address:
    ip = ip_address(text)
    return getattr(ip, "ipv4_mapped", None) or ip


def _conflict(own: Introduction, peer: Introduction) -> str:
    """Why these two can have nothing to say to each other; empty if they can."""
    if own.cluster and peer.cluster and own.cluster != peer.cluster:
        names = " and ".join(sorted((own.cluster, peer.cluster)))
        return f"sentinels of different Raft clusters, {names}"
    if own.run_id == peer.run_id and own.boot != peer.boot:
        return f"another sentinel has the same id {own.run_id}"
    return ""


def _pass_on(answer: Answer | asyncio.Future[Answer], stream: Incoming, ticket: int) -> None:
    if isinstance(answer, asyncio.Future):
        answer.add_done_callback(lambda done: _pass_on(done.result(), stream, ticket))
    else:
        stream.answer(ticket, answer)


class Dialer:
    """Keeps a stream to one address: tries again, sooner at first and then twice a second."""

    def __init__(self, address: str, peers: Peers, rng: Random) -> None:
        self.stream: Outgoing | None = None
        self.found: str | None = None  # the id of who answered last
        self.ip = ""  # what the host stood for when it was dialled last
        self.reason = "not reached yet"
        self.was_refused = False
        self._peers = peers
        self._rng = rng
        self._host, self._port = addresses.split(address)
        self._delay_s = FIRST_RETRY_S
        self._timer: asyncio.TimerHandle | None = None
        self._is_resolving = False
        self._is_closed = False
        self.is_resting = False  # who is here needs no stream from here

    def dial(self) -> None:
        """Try now, unless it is being tried."""
        if self.stream or self._is_resolving or self._is_closed:
            return
        self._stop_timer()
        if is_numeric(self._host):
            self._connect(self._host)
        else:
            self._is_resolving = True
            self._peers.look_up(self._host)

    def resolved(self, host: str, ip: str | None) -> None:
        if host != self._host or not self._is_resolving:
            return
        self._is_resolving = False
        if ip:
            self._connect(ip)
        else:
            self._failed(f"{host} has no address")

    def opened(self) -> None:
        self._delay_s = FIRST_RETRY_S
        self.reason = ""

    def retry_soon(self) -> None:
        """Try again at first speed: whoever is there was reached a moment ago."""
        self._delay_s = FIRST_RETRY_S
        self.is_resting = False
        if not self.stream and not self._is_resolving:
            self._stop_timer()
            self._retry()

    def rest(self) -> None:
        """Leave it to another dialler, which has reached the same sentinel."""
        self.is_resting = True
        self._stop_timer()
        stream, self.stream = self.stream, None
        if stream:
            stream.close()

    def close(self) -> None:
        self._is_closed = True
        self._stop_timer()
        stream, self.stream = self.stream, None
        if stream:
            stream.close()
            self._peers.over(stream)

    def _connect(self, ip: str) -> None:
        self.ip = ip
        self.stream = Outgoing(self._peers, self._over)
        self.stream.connect(ip, self._port, self._peers.options)

    def _over(self, stream: Outgoing, reason: str) -> None:
        self.stream = None
        self.was_refused = stream.was_refused
        self._failed(reason)
        self._peers.over(stream)
        if stream.found_nobody and self.found is not None:
            self._peers.found_nobody(self.found)

    def _failed(self, reason: str) -> None:
        self.reason = reason
        self._retry()

    def _retry(self) -> None:
        if not self._is_closed and not self.is_resting:
            delay_s = self._delay_s * self._rng.uniform(0.5, 1.0)
            self._delay_s = min(2 * self._delay_s, LAST_RETRY_S)
            self._timer = asyncio.get_running_loop().call_later(delay_s, self.dial)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
