"""Publish and subscribe: who listens to what, and the commands that change it.

The rule guarded: what a session holds and what is indexed here are the same at any time, so that a
message reaches each subscription once and nothing is left of a client that has gone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sentinel_py.core.glob import glob_match
from sentinel_py.resp import NO_REPLY, RESP2, RESP3, Error, Push, encode, to_text
from sentinel_py.server.commands import Answer, Channels, Command, Docs

if TYPE_CHECKING:
    from sentinel_py.server.session import Session

HELLO_CHANNEL = b"__sentinel__:hello"

# A client has a use for a few names; each costs memory in two tables for as long as it stays.
MAX_SUBSCRIPTIONS_PER_CLIENT = 100_000

# Each event is compared with every pattern. A client has a use for a few, and all together for some
# thousands; redis-sentinel has no limit, and a client that makes it slow.
MAX_PATTERNS_PER_CLIENT = 1_000
MAX_PATTERNS = 10_000

# Sessions in the order in which they subscribed: a dict is the ordered set.
_Index = dict[bytes, "dict[Session, None]"]


class PubSub:
    """The subscriptions of all sessions."""

    def __init__(self) -> None:
        self.channels: _Index = {}
        self.patterns: _Index = {}

    def publish(self, channel: bytes, payload: bytes) -> int:
        """Send to everyone who asked for it, once per subscription; return how many that were."""
        receivers = _send(self.channels.get(channel), Push([b"message", channel, payload]))
        for pattern in [it for it in self.patterns if glob_match(it, channel)]:
            message = Push([b"pmessage", pattern, channel, payload])
            receivers += _send(self.patterns.get(pattern), message)
        return receivers

    def count_subscribers(self) -> int:
        indexes = (*self.channels.values(), *self.patterns.values())
        return len(set().union(*indexes))

    def forget(self, session: Session) -> None:
        """Drop all subscriptions of a session that has ended."""
        _drop(self.channels, session.channels, session)
        _drop(self.patterns, session.patterns, session)


def _send(subscribers: dict[Session, None] | None, message: Push) -> int:
    if not subscribers:
        return 0
    encoded = {protocol: encode(message, protocol) for protocol in (RESP2, RESP3)}
    # A copy, as a subscriber that is too slow is closed by what it is sent.
    sessions = list(subscribers)
    for session in sessions:
        session.deliver(encoded[session.protocol])
    return len(sessions)


def _drop(index: _Index, names: dict[bytes, None], session: Session) -> None:
    for name in names:
        _remove(index, name, session)
    names.clear()


def _remove(index: _Index, name: bytes, session: Session) -> None:
    subscribers = index[name]
    del subscribers[session]
    if not subscribers:
        del index[name]


def _subscribe(session: Session, word: bytes, names: list[bytes], kind: _Kind) -> Answer:
    index, held = kind(session)
    answer: Answer = NO_REPLY
    for name in names:
        if name not in held:
            if _is_full(session, index, held):
                answer = Error("ERR too many subscriptions")
                break
            held[name] = None
            index.setdefault(name, {})[session] = None
        session.push(_confirmation(session, word, name))
    session.refresh()
    return answer


def _is_full(session: Session, index: _Index, held: dict[bytes, None]) -> bool:
    if session.subscription_count >= MAX_SUBSCRIPTIONS_PER_CLIENT:
        return True
    if held is not session.patterns:
        return False
    return len(held) >= MAX_PATTERNS_PER_CLIENT or len(index) >= MAX_PATTERNS


def _unsubscribe(session: Session, word: bytes, names: list[bytes], kind: _Kind) -> Answer:
    index, held = kind(session)
    if not names and not held:
        session.push(_confirmation(session, word, None))
    for name in names or list(held):
        if name in held:
            del held[name]
            _remove(index, name, session)
        session.push(_confirmation(session, word, name))
    session.refresh()
    return NO_REPLY


def _confirmation(session: Session, word: bytes, name: bytes | None) -> bytes:
    return encode(Push([word, name, session.subscription_count]), session.protocol)


# The index of all, and what this session holds.
_Kind = Callable[["Session"], tuple[_Index, dict[bytes, None]]]


def _channels(session: Session) -> tuple[_Index, dict[bytes, None]]:
    return session.server.pubsub.channels, session.channels


def _patterns(session: Session) -> tuple[_Index, dict[bytes, None]]:
    return session.server.pubsub.patterns, session.patterns


def subscribe(session: Session, args: list[bytes]) -> Answer:
    return _subscribe(session, b"subscribe", args[1:], _channels)


def unsubscribe(session: Session, args: list[bytes]) -> Answer:
    return _unsubscribe(session, b"unsubscribe", args[1:], _channels)


def psubscribe(session: Session, args: list[bytes]) -> Answer:
    return _subscribe(session, b"psubscribe", args[1:], _patterns)


def punsubscribe(session: Session, args: list[bytes]) -> Answer:
    return _unsubscribe(session, b"punsubscribe", args[1:], _patterns)


def publish(session: Session, args: list[bytes]) -> Answer:
    """Clients publish hello messages only; events come from the node itself."""
    if args[1] != HELLO_CHANNEL:
        return Error("ERR Only HELLO messages are accepted by Sentinel instances.")
    session.server.host.receive_hello(to_text(args[2]))
    return 1


_FLAGS = ("pubsub", "noscript", "loading", "stale")

PUBSUB_COMMANDS = (
    Command(
        "subscribe",
        -2,
        subscribe,
        flags=_FLAGS,
        channels=Channels.ALL,
        docs=Docs(
            "Listens for messages published to channels.",
            "2.0.0",
            "pubsub",
            "O(N) where N is the number of channels to subscribe to.",
            "channel ...",
        ),
    ),
    Command(
        "unsubscribe",
        -1,
        unsubscribe,
        flags=_FLAGS,
        docs=Docs(
            "Stops listening to messages posted to channels.",
            "2.0.0",
            "pubsub",
            "O(N) where N is the number of channels to unsubscribe.",
            "[channel ...]",
        ),
    ),
    Command(
        "psubscribe",
        -2,
        psubscribe,
        flags=_FLAGS,
        channels=Channels.ALL_PATTERNS,
        docs=Docs(
            "Listens for messages published to channels that match one or more patterns.",
            "2.0.0",
            "pubsub",
            "O(N) where N is the number of patterns to subscribe to.",
            "pattern:pattern ...",
        ),
    ),
    Command(
        "punsubscribe",
        -1,
        punsubscribe,
        flags=_FLAGS,
        docs=Docs(
            "Stops listening to messages published to channels that match patterns.",
            "2.0.0",
            "pubsub",
            "O(N) where N is the number of patterns to unsubscribe.",
            "[pattern:pattern ...]",
        ),
    ),
    Command(
        "publish",
        3,
        publish,
        flags=("pubsub", "loading", "stale", "fast"),
        channels=Channels.FIRST,
        overlaps=True,
        docs=Docs("Posts a message to a channel.", "2.0.0", "pubsub", arguments="channel message"),
    ),
)
