"""What a conversation is: requests in the words of a client, or bytes that break rules.

A request whose effect lasts is undone where it stands, so that conversations do not depend on each
other. Names with a dollar sign are those of the world that both sentinels watch.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Conversation:
    """Requests, one per line; `=> n` behind one says that it has n replies instead of one."""

    title: str
    requests: str
    protocols: tuple[int, ...] = (2, 3)


@dataclass(frozen=True)
class Bytes:
    """What is sent as it stands, each on a connection of its own."""

    title: str
    chunks: tuple[bytes, ...]
