"""One server asked from the terminal: a sentinel of any make, or a Redis that it watches.

Requests go out as they are and replies come back as plain values, in the shape that RESP2 gives
them; an error reply is a value, too, since the answer of an older server often is one. The rule
guarded: whatever keeps a server from answering becomes one line that names the server.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self, TypeAlias

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    RedisError,
    ResponseError,
)

ANSWER_WITHIN_S = 3.0
_LOOK_EVERY_S = 1.0

# Controls of both sets but tabs and line ends, and what changes the direction of writing.
_CONTROLS = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
_DIRECTIONS = r"\u200e\u200f\u202a-\u202e\u2066-\u2069"
_OBEYED = re.compile(rf"[{_CONTROLS}{_DIRECTIONS}]|\r(?!\n)")

Answer: TypeAlias = "str | int | ErrorText | list[Answer] | None"


class Unreachable(Exception):  # noqa: N818 - it names what happened
    """A server gave no answer; the text is for the user and names it."""


class Denied(Unreachable):
    """It is there, and wants another password."""


@dataclass(frozen=True, slots=True)
class ErrorText:
    """An error reply; ``is_denied`` if the user has not the right to ask that."""

    text: str
    is_denied: bool = False

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Login:
    """How to connect: the options of redis-cli."""

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    cacert: str | None = None
    cert: str | None = None
    key: str | None = None
    key_password: str | None = field(default=None, repr=False)
    insecure: bool = False

    def words(self) -> dict[str, Any]:
        """The same for redis-py."""
        words: dict[str, Any] = {"username": self.user, "password": self.password}
        if self.tls:
            words |= {
                "ssl": True,
                "ssl_ca_certs": self.cacert,
                "ssl_certfile": self.cert,
                "ssl_keyfile": self.key,
                "ssl_password": self.key_password,
                "ssl_cert_reqs": "none" if self.insecure else "required",
                "ssl_check_hostname": False,  # as Redis: an authority says who may be a server
            }
        return words


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server is, and how to connect to it."""

    host: str
    port: int
    login: Login = Login()

    def __str__(self) -> str:
        return address(self.host, self.port)

    def beside(self, host: str, port: int) -> Place:
        """Another server that takes the same login."""
        return replace(self, host=host, port=port)


@dataclass(frozen=True, slots=True)
class Notice:
    """What a sentinel has published."""

    name: str
    text: str


def address(host: str, port: int | str) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Connection:
    """A connection for questions, opened by the first one."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._client: Any = Redis(
            host=place.host,
            port=place.port,
            protocol=2,
            decode_responses=True,
            encoding_errors="replace",
            socket_timeout=None,  # on Python 3.11 it can swallow the cancellation of a task
            retry=Retry(NoBackoff(), 0),
            **place.login.words(),
        )
        self._client.response_callbacks.clear()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def ask(self, *words: str, within_s: float | None = ANSWER_WITHIN_S) -> Answer:
        """The reply to one request."""
        return (await self.ask_all([words], within_s=within_s))[0]

    async def ask_all(
        self, requests: Sequence[Sequence[str]], within_s: float | None = ANSWER_WITHIN_S
    ) -> list[Answer]:
        """The replies to several requests that leave together."""
        pipeline = self._client.pipeline(transaction=False)
        for words in requests:
            pipeline.execute_command(*words)
        async with _answering(self.place, within_s):
            return [_plain(reply) for reply in await pipeline.execute(raise_on_error=False)]

    @asynccontextmanager
    async def notices(self) -> AsyncIterator[AsyncIterator[Notice]]:
        """Everything that the server publishes from now on, over a connection of its own."""
        subscription: PubSub = self._client.pubsub()
        try:
            async with _answering(self.place, ANSWER_WITHIN_S):
                await subscription.psubscribe("*")
                while await subscription.get_message(timeout=_LOOK_EVERY_S) is None:
                    pass
            yield self._listen(subscription)
        finally:
            await subscription.aclose()  # type: ignore[no-untyped-call]

    async def _listen(self, subscription: PubSub) -> AsyncIterator[Notice]:
        while True:
            async with _answering(self.place, within_s=None):
                message = await subscription.get_message(timeout=_LOOK_EVERY_S)
            if message is not None and message["type"] == "pmessage":
                yield Notice(shown(message["channel"]), shown(message["data"]))


@asynccontextmanager
async def _answering(place: Place, within_s: float | None) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(within_s):
            yield
    except TimeoutError:
        raise Unreachable(f"no answer from {place} within {within_s or 0:g} s") from None
    except AuthenticationError as error:
        raise Denied(f"{place} does not let us in: {_one_line(error)}") from None
    except (RedisError, OSError) as error:
        raise Unreachable(f"cannot talk to {place}: {_cause(error)}") from None


def _cause(error: BaseException) -> str:
    """What the system says, which redis-py wraps into more words."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, ssl.SSLError):
            return f"TLS failed: {inner.reason or _one_line(inner)}"
        if isinstance(inner, OSError) and inner.errno:
            return os.strerror(inner.errno) if inner.errno > 0 else str(inner.strerror)
        inner = inner.__cause__ or inner.__context__
    return _one_line(error)


def shown(text: str) -> str:
    """Return a server's text without what a terminal would obey or turn around.

    Such characters are shown as Python writes them. Line ends stay: an INFO has many.
    """
    return _OBEYED.sub(lambda it: ascii(it[0])[1:-1], text) if _OBEYED.search(text) else text


def _one_line(error: BaseException) -> str:
    return shown(" ".join(str(error).split()).rstrip(".")) or type(error).__name__


def _plain(reply: Any) -> Answer:
    if isinstance(reply, ResponseError):
        return ErrorText(_one_line(reply), isinstance(reply, NoPermissionError))
    if isinstance(reply, RedisError):
        raise reply
    if isinstance(reply, list | tuple):
        return [_plain(item) for item in reply]
    return reply if isinstance(reply, int) or reply is None else shown(str(reply))


def pairs(answer: Answer) -> dict[str, str]:
    """A flat list of names and values, as rows are in RESP2."""
    if not isinstance(answer, list):
        return {}
    flat = [str(item) for item in answer]
    return dict(zip(flat[::2], flat[1::2], strict=False))


def rows(answer: Answer) -> list[dict[str, str]]:
    return [pairs(row) for row in answer] if isinstance(answer, list) else []


def info_fields(answer: Answer) -> dict[str, str]:
    """The fields of an INFO; a value may contain colons."""
    lines = answer.splitlines() if isinstance(answer, str) else []
    return dict(line.split(":", 1) for line in lines if ":" in line and line[:1] != "#")
